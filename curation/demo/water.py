"""Scenes of water for the demo film: a boat on the sea by day or by night, fish over a reef."""

import math

import cv2
import numpy as np

from curation.demo.land import ridge
from curation.demo.paint import (
    COLUMNS,
    HEIGHT_PX,
    ROWS,
    WIDTH_PX,
    Draw,
    gradient,
    lay,
    mix,
    noise,
    paste,
    polygons,
    shadow,
    smoothstep,
    sprite,
    window,
)


def sea(seed: int, *, night: bool) -> Draw:
    """A sailing boat crosses a choppy sea from left to right; by night under a moon."""
    rng = np.random.default_rng(seed)
    horizon = 150
    if night:
        sky = gradient([(0.02, 0.03, 0.07), (0.05, 0.07, 0.13)])
        cloud_rgb, deep, crest = (0.09, 0.10, 0.15), (0.01, 0.02, 0.05), (0.09, 0.12, 0.18)
        foam = 0.08
    else:
        sky = gradient([(0.50, 0.62, 0.74), (0.74, 0.80, 0.84), (0.80, 0.84, 0.85)])
        cloud_rgb, deep, crest = (0.95, 0.95, 0.94), (0.05, 0.22, 0.27), (0.46, 0.66, 0.68)
        foam = 0.5
    clouds = noise(rng, height=HEIGHT_PX, width=900, cell=(70, 220), octaves=5)
    swell = noise(rng, height=512, width=512, cell=(40, 70), octaves=5, falloff=0.6)
    # mirrored both ways, so that it repeats without a seam
    swell = np.concatenate([swell, swell[::-1]], axis=0)
    swell = np.concatenate([swell, swell[:, ::-1]], axis=1)
    depth = np.arange(1, HEIGHT_PX - horizon + 1, dtype=np.float32)[:, None]
    nearness = smoothstep(depth, 0, 190)
    across = (COLUMNS[0] - WIDTH_PX / 2) * 170 / (depth + 25)
    away = np.broadcast_to(26000 / (depth + 25), across.shape)
    boat = _boat(night=night)

    def draw(time_s: float) -> np.ndarray:
        picture = mix(sky, cloud_rgb, 0.8 * smoothstep(window(clouds, x=12 * time_s), 0.4, 0.9))
        moved = across + 22 * time_s
        wave = 0.5 * (1 - nearness) * np.ones_like(across)
        for x, y in ((moved, away + 40 * time_s), (97 - 0.7 * moved, 0.8 * away + 65 * time_s)):
            wave += nearness * 0.5 * cv2.remap(swell, wrap(x), wrap(y), cv2.INTER_LINEAR)
        water = mix(deep, crest, np.clip(0.62 - 0.35 * nearness + 1.5 * (wave - 0.5), 0, 1))
        water += (smoothstep(wave, 0.70, 0.86) * nearness)[..., None] * np.float32(foam)
        if night:
            moon = np.hypot(COLUMNS - 470, ROWS - 66)
            picture = mix(picture, (0.60, 0.62, 0.66), 0.55 * np.exp(-moon / 30))
            picture = mix(picture, (1.0, 1.0, 0.92), smoothstep(-moon, -23, -21))
            path = np.exp(-(((COLUMNS[0] - 470) / (14 + 0.35 * depth)) ** 2))
            water += 0.7 * (path * smoothstep(wave, 0.5, 0.75))[..., None]
        picture[horizon:] = water
        x, bob = 120 + 80 * time_s, math.sin(2.4 * time_s)
        paste(picture, boat, x=x, y=160 + 3 * bob, angle_deg=4 * math.sin(2.4 * time_s + 1))
        return picture

    return draw


def wrap(places: np.ndarray) -> np.ndarray:
    """Into the 1024 pixels of the swell; cheaper than remap's own wrapping and than a remainder."""
    return places - 1023 * np.floor(places / 1023)


def reef(seed: int) -> Draw:
    """Orange fish swim left over a reef while bubbles rise and light plays through the water."""
    rng = np.random.default_rng(seed)
    water = gradient([(0.30, 0.72, 0.78), (0.10, 0.47, 0.62), (0.04, 0.26, 0.42)])
    rays = noise(rng, height=HEIGHT_PX, width=1100, cell=(900, 45), octaves=4)
    slant = np.array([[1, 0.45, 0], [0, 1, 0]], np.float32)
    rays = cv2.warpAffine(rays, slant, (1100, HEIGHT_PX), borderMode=cv2.BORDER_REFLECT)
    far = ridge(
        rng,
        width=1000,
        top=330,
        relief=110,
        cell=150,
        colour=(0.10, 0.34, 0.44),
        haze=(0.06, 0.28, 0.42),
        grain=0.6,
    )
    near = ridge(
        rng,
        width=1000,
        top=372,
        relief=110,
        cell=90,
        colour=(0.52, 0.34, 0.40),
        haze=(0.30, 0.26, 0.32),
        grain=1.2,
    )
    fish = _fish()
    bubble = shadow(14, opacity=0.5)
    bubble[..., :3] = bubble[..., 3:] * np.array([0.85, 0.97, 1.0], np.float32)
    # (start x, y, size, speed in px/s, phase)
    school = [
        (float(x), float(y), float(s), 55 + 60 * float(s), float(p))
        for x, y, s, p in rng.uniform((240, 60, 0.5, 0), (900, 260, 1.2, 6), (9, 4))
    ]
    school.sort(key=lambda one: one[2])
    bubbles = rng.uniform((0, 0, 0.2, 30), (WIDTH_PX, 460, 0.6, 80), (24, 4))

    def draw(time_s: float) -> np.ndarray:
        picture = water.copy()
        beam = (
            smoothstep(window(rays, x=30 + 26 * time_s), 0.55, 1.0)
            * np.linspace(0.5, 0, HEIGHT_PX)[:, None]
        )
        picture = mix(picture, (0.80, 0.96, 0.92), beam)
        lay(picture, window(far, x=180 - 14 * time_s))
        lay(picture, window(near, x=300 - 36 * time_s))
        for x, y, size, speed, phase in school:
            wag = math.sin(9 * time_s + phase)
            x, y = x - speed * time_s, y + 7 * math.sin(time_s + phase)
            paste(picture, fish, x=x, y=y, scale=size, angle_deg=5 * wag, squash=1 + 0.06 * wag)
        for x, y, size, speed in bubbles:
            rise = (y - speed * time_s) % 460 - 50
            paste(picture, bubble, x=x + 6 * math.sin(3 * time_s + y), y=rise, scale=size)
        return picture

    return draw


def _boat(*, night: bool) -> np.ndarray:
    dim = 0.16 if night else 1.0
    parts = [
        ([(60, 8), (60, 100), (16, 100)], (0.96, 0.95, 0.90)),
        ([(64, 18), (64, 98), (104, 98)], (0.88, 0.30, 0.22)),
        ([(61, 4), (63, 4), (63, 108), (61, 108)], (0.30, 0.20, 0.12)),
        ([(12, 106), (112, 104), (98, 122), (28, 122)], (0.16, 0.20, 0.42)),
        ([(12, 106), (112, 104), (110, 108), (14, 109)], (0.90, 0.88, 0.82)),
    ]
    return polygons(
        [(p, (r * dim, g * dim, b * dim)) for p, (r, g, b) in parts], height=126, width=124
    )


def _fish() -> np.ndarray:
    height, width = 56, 104
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    body = np.hypot((x - 40) / 38, (y - 28) / 20)
    tail = [
        ([(70, 28), (100, 6), (92, 28), (100, 50)], (0.90, 0.42, 0.08)),
        ([(30, 12), (62, 2), (58, 16)], (0.90, 0.45, 0.1)),
    ]
    fins = polygons(tail, height=height, width=width)
    scales = mix((0.98, 0.80, 0.45), (0.93, 0.42, 0.06), smoothstep(-y, -38, -16))
    for centre in (24, 50):
        scales = mix(
            scales,
            (0.97, 0.96, 0.92),
            smoothstep(-np.abs(x - centre + 0.02 * (y - 28) ** 2), -6, -4),
        )
    eye = np.hypot(x - 13, y - 24)
    scales = mix(
        mix(scales, (1, 1, 1), smoothstep(-eye, -5, -4)),
        (0.05, 0.05, 0.05),
        smoothstep(-eye, -3.2, -2.4),
    )
    round_ = np.sqrt(np.clip(1.08 - body**2, 0.1, 1))[..., None]
    lay(fins[..., :3], sprite(scales * round_, np.clip((1 - body) * 20, 0, 1)))
    fins[..., 3] = np.maximum(fins[..., 3], np.clip((1 - body) * 20, 0, 1))
    return fins
