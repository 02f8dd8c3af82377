"""Scenes of land for the demo film: mountains at dusk, a snowy range, red hills, fields from above.

Each is a function of a seed that prepares its textures once and returns draw(time_s) -> picture.
They are meant to pass for footage: shading, texture at every size, parallax, several moving things.
"""

import math

import cv2
import numpy as np

from curation.demo.paint import (
    COLUMNS,
    HEIGHT_PX,
    ROWS,
    WIDTH_PX,
    Colour,
    Draw,
    ball,
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


def mountains(seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    sky = gradient([(0.20, 0.22, 0.42), (0.62, 0.42, 0.48), (0.98, 0.66, 0.40), (1.0, 0.8, 0.55)])
    clouds = noise(rng, height=HEIGHT_PX, width=900, cell=(40, 300), octaves=5)
    speeds = (9.0, 20.0, 42.0, 85.0)
    layers = [
        ridge(
            rng,
            width=WIDTH_PX + int(v * 6),
            top=t,
            relief=r,
            cell=c,
            colour=rgb,
            haze=haze,
            grain=g,
        )
        for v, t, r, c, rgb, haze, g in zip(
            speeds,
            (225, 262, 305, 350),
            (80, 75, 65, 60),
            (260, 210, 170, 120),
            ((0.48, 0.42, 0.56), (0.33, 0.34, 0.50), (0.20, 0.27, 0.38), (0.10, 0.18, 0.20)),
            ((0.92, 0.66, 0.55), (0.66, 0.52, 0.55), (0.36, 0.38, 0.46), (0.12, 0.20, 0.22)),
            (0.25, 0.4, 0.6, 0.8),
            strict=True,
        )
    ]
    balloon = _balloon()

    def draw(time_s: float) -> np.ndarray:
        picture = sky.copy()
        sun = np.hypot(COLUMNS - 455 + 4 * time_s, ROWS - 168)
        cloud = smoothstep(window(clouds, x=6 * time_s), 0.45, 0.95) * 0.5
        picture = mix(picture, (1.0, 0.74, 0.62), cloud)
        picture += (0.55 * np.exp(-sun / 60))[..., None] * np.array([1.0, 0.7, 0.4], np.float32)
        picture = mix(picture, (1.0, 0.95, 0.8), smoothstep(-sun, -24, -21))
        for index, (layer, speed) in enumerate(zip(layers, speeds, strict=True)):
            lay(picture, window(layer, x=speed * time_s))
            if index == 0:
                x, y = 150 + 38 * time_s, 130 - 9 * time_s
                paste(picture, balloon, x=x, y=y, scale=0.9, angle_deg=3 * math.sin(2 * time_s))
        return picture

    return draw


def snow(seed: int) -> Draw:
    """Bright snowy mountains under a blue sky, with firs in front; nothing moves."""
    rng = np.random.default_rng(seed)
    picture = gradient([(0.30, 0.52, 0.82), (0.62, 0.78, 0.93), (0.85, 0.91, 0.96)])
    for top, relief, cell, colour, grain in (
        (225, 150, 200, (0.74, 0.80, 0.90), 0.9),
        (290, 100, 150, (0.86, 0.89, 0.94), 0.7),
        (345, 50, 300, (0.93, 0.95, 0.98), 0.25),
    ):
        layer = ridge(
            rng,
            width=WIDTH_PX,
            top=top,
            relief=relief,
            cell=cell,
            colour=colour,
            haze=(0.9, 0.93, 0.97),
            grain=grain,
        )
        lay(picture, layer)
    fir = _fir()
    for x in np.sort(rng.uniform(0, WIDTH_PX, 26)):
        y = 300 + 45 * rng.random()
        paste(picture, fir, x=float(x), y=y, scale=0.35 + (y - 290) / 90)
    return lambda time_s: picture


def dunes(seed: int) -> Draw:
    """Red dunes; the camera pans left while a white car drives right, dust behind it."""
    rng = np.random.default_rng(seed)
    sky = gradient([(0.55, 0.68, 0.80), (0.86, 0.84, 0.78), (0.95, 0.87, 0.72)])
    speeds = (14.0, 34.0, 80.0)
    layers = [
        ridge(rng, width=WIDTH_PX + 340, top=t, relief=r, cell=c, colour=rgb, haze=haze, grain=g)
        for t, r, c, rgb, haze, g in (
            (205, 60, 330, (0.80, 0.55, 0.40), (0.88, 0.68, 0.50), 0.25),
            (245, 55, 290, (0.76, 0.42, 0.24), (0.84, 0.54, 0.34), 0.35),
            (300, 35, 420, (0.70, 0.34, 0.16), (0.60, 0.28, 0.14), 0.45),
        )
    ]
    car = polygons(
        [
            (
                [(4, 22), (14, 20), (24, 8), (52, 8), (62, 20), (74, 23), (75, 33), (4, 33)],
                (0.92, 0.92, 0.90),
            ),
            ([(27, 11), (37, 11), (37, 20), (19, 20)], (0.16, 0.22, 0.28)),
            ([(40, 11), (51, 11), (58, 20), (40, 20)], (0.16, 0.22, 0.28)),
        ],
        height=44,
        width=80,
    )
    wheel = ball(8, colour=(0.10, 0.10, 0.10), stripe=(0.35, 0.35, 0.35), tilt_rad=1.2)
    puff = shadow(30, opacity=0.35)
    puff[..., :3] = puff[..., 3:] * np.array([0.93, 0.74, 0.55], np.float32)

    def draw(time_s: float) -> np.ndarray:
        picture = sky.copy()
        for index, (layer, speed) in enumerate(zip(layers, speeds, strict=True)):
            lay(picture, window(layer, x=330 - speed * time_s))
            if index == 1:
                x = 90 + 105 * time_s
                y = 258 + 4 * math.sin(3 * time_s)
                for k in range(7):
                    age = k + (time_s * 6) % 1
                    paste(
                        picture,
                        puff,
                        x=x - 40 - 17 * age,
                        y=y + 8 - 2 * age,
                        scale=0.35 + 0.13 * age,
                    )
                paste(picture, car, x=x, y=y, angle_deg=2 * math.sin(5 * time_s))
                for offset in (-20, 21):
                    paste(
                        picture, wheel, x=x + offset, y=y + 13, angle_deg=math.degrees(13 * time_s)
                    )
        return picture

    return draw


def fields(seed: int) -> Draw:
    """Farmland from the air: the camera comes down on it and turns while cloud shadows pass."""
    rng = np.random.default_rng(seed)
    height, width = 620, 900
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = 26 * (noise(rng, height=height, width=width, cell=(160, 200), octaves=3) - 0.5)
    first = np.full((height, width), np.inf, np.float32)
    second = first.copy()
    owner = np.zeros((height, width), np.int32)
    for index, (cy, cx) in enumerate(
        rng.uniform((0, 0), (height, width), (46, 2)).astype(np.float32)
    ):
        distance = np.abs(x + bend - cx) * 0.8 + np.abs(y + bend - cy)
        nearer = distance < first
        second = np.where(nearer, first, np.minimum(second, distance))
        first, owner = np.where(nearer, distance, first), np.where(nearer, index, owner)
    crops = np.array(
        [
            (0.36, 0.50, 0.18),
            (0.50, 0.60, 0.24),
            (0.78, 0.70, 0.32),
            (0.58, 0.46, 0.28),
            (0.28, 0.42, 0.20),
            (0.66, 0.66, 0.40),
        ],
        np.float32,
    )
    plot = crops[rng.integers(0, len(crops), 46)] * rng.uniform(0.85, 1.15, (46, 1)).astype(
        np.float32
    )
    turn, period = (
        rng.uniform(0, math.pi, 46).astype(np.float32)[owner],
        rng.uniform(5, 11, 46).astype(np.float32)[owner],
    )
    rows = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * math.pi / period)
    soil = noise(rng, height=height, width=width, cell=(60, 60), octaves=6, falloff=0.7)
    land = plot[owner] * (0.74 + 0.09 * rows + 0.5 * soil)[..., None]
    land = mix(land, (0.13, 0.22, 0.10), smoothstep(first - second, -7, -2) * (0.5 + 0.5 * soil))
    river = np.abs(y - 330 - 90 * np.sin(x / 150) - 0.25 * (x - 450))
    land = mix(land, (0.62, 0.58, 0.42), smoothstep(-river, -24, -15))
    land = mix(land, (0.20, 0.36, 0.42), smoothstep(-river, -16, -13))
    tree = ball(9, colour=(0.16, 0.28, 0.10), stripe=(0.20, 0.33, 0.12), tilt_rad=0.2)
    under = shadow(10, opacity=0.6)
    for _ in range(170):
        tx, ty = rng.uniform(0, width), rng.uniform(0, height)
        if river[int(ty), int(tx)] > 28:
            size = rng.uniform(0.5, 1.2)
            paste(land, under, x=tx + 5 * size, y=ty + 5 * size, scale=size)
            paste(land, tree, x=tx, y=ty, scale=size)
    clouds = noise(rng, height=HEIGHT_PX, width=1200, cell=(130, 200), octaves=4)

    def draw(time_s: float) -> np.ndarray:
        matrix = cv2.getRotationMatrix2D(
            (width / 2, height / 2), 4 * time_s - 6, 0.92 * 1.09**time_s
        )
        matrix[:, 2] += [(WIDTH_PX - width) / 2, (HEIGHT_PX - height) / 2]
        picture = cv2.warpAffine(
            land,
            matrix,
            (WIDTH_PX, HEIGHT_PX),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        shade = 1 - 0.45 * smoothstep(window(clouds, x=300 - 55 * time_s), 0.55, 0.8)
        return picture * shade[..., None]

    return draw


def ridge(
    rng: np.random.Generator,
    *,
    width: int,
    top: float,
    relief: float,
    cell: float,
    colour: Colour,
    haze: Colour,
    grain: float,
) -> np.ndarray:
    """A layer of land, from its highest point down, lit from the left and hazy at its foot."""
    line = top - relief * noise(rng, height=4, width=width, cell=(4, cell), octaves=5)[0]
    y = np.arange(HEIGHT_PX, dtype=np.float32)[:, None]
    depth = y - line[None, :]
    relief_map = noise(
        rng, height=HEIGHT_PX, width=width, cell=(cell / 3, cell / 2), octaves=5, falloff=0.6
    )
    slope = relief_map - relief_map[:, np.maximum(np.arange(width) - 4, 0)]
    shade = np.clip(1 + grain * (6 * slope + relief_map - 0.5), 0.3, 1.8)
    land = mix(colour, haze, 0.75 * smoothstep(depth, 0, 170))
    layer = sprite(np.clip(land * shade[..., None], 0, 1), np.clip(depth + 0.5, 0, 1))
    return layer[int(line.min()) - 1 :]


def _balloon() -> np.ndarray:
    sprite_ = np.zeros((110, 80, 4), np.float32)
    stripes = ball(36, colour=(0.78, 0.10, 0.10), stripe=(0.95, 0.86, 0.72), tilt_rad=0.0)
    ropes = [([(14, 52), (33, 90), (47, 90), (66, 52)], (0.62, 0.10, 0.09))]
    basket = [([(34, 92), (46, 92), (45, 103), (35, 103)], (0.42, 0.26, 0.12))]
    sprite_ += polygons(ropes + basket, height=110, width=80)
    paste_into = sprite_[2:77, 2:77]
    paste_into *= 1 - stripes[..., 3:]
    paste_into += stripes
    return sprite_


def _fir() -> np.ndarray:
    green: Colour = (0.13, 0.25, 0.20)
    tiers = [
        ([(30, 4 + 20 * k), (6 + 6 * (3 - k), 34 + 20 * k), (54 - 6 * (3 - k), 34 + 20 * k)], green)
        for k in range(4)
    ]
    return polygons(
        [([(27, 90), (33, 90), (33, 108), (27, 108)], (0.28, 0.18, 0.12)), *tiers],
        height=110,
        width=60,
    )
