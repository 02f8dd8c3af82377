"""Close scenes for the demo film: balls on a table, leaves falling in a wood."""

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
    mix,
    noise,
    paste,
    shadow,
    smoothstep,
    sprite,
    window,
)


def table(seed: int, *, moving: bool) -> Draw:
    """Three striped balls on a table: rolling past each other on wood, or at rest on pale stone."""
    rng = np.random.default_rng(seed)
    if moving:
        grain = noise(rng, height=500, width=1000, cell=(14, 420), octaves=4, falloff=0.65)
        surface = mix((0.36, 0.19, 0.09), (0.74, 0.48, 0.26), grain)
        surface *= (1 - 0.55 * smoothstep(-np.abs((np.arange(500) % 84) - 42.0), -2.0, 0.0))[
            :, None, None
        ]
        wall = mix(
            (0.16, 0.28, 0.28),
            (0.30, 0.46, 0.44),
            noise(rng, height=HEIGHT_PX, width=WIDTH_PX, cell=(120, 160)),
        )
        colours = [
            ((0.85, 0.18, 0.12), (1, 0.93, 0.8)),
            ((0.10, 0.32, 0.75), (1, 0.8, 0.1)),
            ((0.1, 0.5, 0.25), (0.95, 0.95, 0.95)),
        ]
    else:
        speckle = noise(rng, height=500, width=1000, cell=(70, 90), octaves=6, falloff=0.75)
        surface = mix((0.52, 0.55, 0.62), (0.80, 0.81, 0.84), speckle)
        wall = mix(
            (0.34, 0.36, 0.46),
            (0.50, 0.52, 0.62),
            noise(rng, height=HEIGHT_PX, width=WIDTH_PX, cell=(150, 200)),
        )
        colours = [
            ((0.55, 0.20, 0.50), (0.9, 0.85, 0.9)),
            ((0.85, 0.55, 0.15), (0.3, 0.15, 0.1)),
            ((0.2, 0.5, 0.6), (0.9, 0.9, 0.8)),
        ]
    edge_px = 130
    corners = np.array([[120, 0], [880, 0], [1000, 500], [0, 500]], np.float32)
    target = np.array([[-60, edge_px], [700, edge_px], [900, 420], [-260, 420]], np.float32)
    top = cv2.warpPerspective(
        surface,
        cv2.getPerspectiveTransform(corners, target),
        (WIDTH_PX, HEIGHT_PX),
        borderMode=cv2.BORDER_REFLECT,
    )
    light = 1.15 - 0.5 * np.hypot((COLUMNS - 260) / WIDTH_PX, (ROWS - 200) / HEIGHT_PX)
    room = (
        np.where(ROWS[..., None] < edge_px, cv2.GaussianBlur(wall, (0, 0), 4), top)
        * light[..., None]
    )
    room *= (1 - 0.35 * np.exp(-np.abs(ROWS - edge_px) / 10))[..., None]
    dark = shadow(50, opacity=0.6)
    # (start x, y, radius, speed in px/s)
    tracks = ((60.0, 190.0, 34, 120.0), (600.0, 235.0, 48, -105.0), (120.0, 300.0, 62, 75.0))
    still_x = (170.0, 430.0, 280.0)

    def draw(time_s: float) -> np.ndarray:
        picture = room.astype(np.float32)
        for (start, y, radius, speed), rest, (colour, stripe) in zip(
            tracks, still_x, colours, strict=True
        ):
            x = start + speed * time_s if moving else rest
            roll = speed * time_s / radius if moving else rest
            paste(
                picture,
                dark,
                x=x + 0.35 * radius,
                y=y + 0.92 * radius,
                scale=radius / 38,
                squash=0.32,
            )
            paste(picture, ball(radius, colour=colour, stripe=stripe, roll_rad=roll), x=x, y=y)
        return picture

    return draw


def leaves(seed: int, *, spring: bool) -> Draw:
    """Leaves fall and tumble in front of a blurred wood: red and yellow, or in spring green."""
    rng = np.random.default_rng(seed)
    light: Colour = (0.74, 0.84, 0.50) if spring else (0.93, 0.72, 0.34)
    dark: Colour = (0.16, 0.32, 0.12) if spring else (0.46, 0.22, 0.08)
    glow = noise(rng, height=HEIGHT_PX, width=760, cell=(110, 110), octaves=4)
    wood = mix(dark, light, smoothstep(glow, 0.1, 0.95))
    for centre, half in zip(rng.uniform(0, 760, 7), rng.uniform(7, 24, 7), strict=True):
        trunk = smoothstep(-np.abs(np.arange(760) - centre), -half - 5, -half + 3)
        bark = noise(rng, height=HEIGHT_PX, width=760, cell=(160, 14), octaves=3)
        wood = mix(wood, (0.20, 0.13, 0.09), trunk[None, :] * (0.6 + 0.35 * bark))
    wood = cv2.GaussianBlur(wood.astype(np.float32), (0, 0), 5)
    for _ in range(60):
        spot = shadow(22, opacity=0.28)
        spot[..., :3] = spot[..., 3:] * np.array(light, np.float32) * 1.15
        paste(wood, spot, x=rng.uniform(0, 760), y=rng.uniform(0, 240), scale=rng.uniform(0.3, 1.0))
    colours: list[Colour] = [
        (0.80, 0.18, 0.08),
        (0.90, 0.48, 0.08),
        (0.95, 0.74, 0.16),
        (0.60, 0.26, 0.10),
    ]
    if spring:
        colours = [(0.30, 0.58, 0.14), (0.44, 0.68, 0.20), (0.60, 0.76, 0.26), (0.22, 0.46, 0.14)]
    kinds = [_leaf(colour) for colour in colours]
    drops = rng.uniform((0, 0, 0.35, 0), (WIDTH_PX, 520, 1.15, 6), (22, 4))
    drops = drops[np.argsort(drops[:, 2])]

    def draw(time_s: float) -> np.ndarray:
        picture = window(wood, x=9 * time_s).copy()
        for index, (x, y, size, phase) in enumerate(drops):
            fall = (y + (60 + 95 * size) * time_s) % 520 - 80
            sway = 26 * math.sin(1.7 * time_s + phase)
            tumble = 0.25 + 0.75 * abs(math.cos(2.1 * time_s + phase))
            turn = 70 * time_s * math.cos(phase) + 57 * phase
            x = x + sway - 20 * time_s
            paste(picture, kinds[index % 4], x=x, y=fall, scale=size, squash=tumble, angle_deg=turn)
        return picture

    return draw


def _leaf(colour: Colour) -> np.ndarray:
    height, width = 44, 84
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    along = np.clip((x - 4) / 66, 0, 1)
    half = 20 * np.sin(math.pi * along**0.8)
    off = np.abs(y - 22)
    cover = np.clip(half - off + 0.5, 0, 1) * (x > 4) * (x < 71)
    cover = np.maximum(cover, (off < 1.4) * (x >= 66) * (x < 82))
    vein = np.maximum(
        smoothstep(-off, -1.6, -0.6), 0.6 * smoothstep(np.cos((x + 0.9 * off) * 0.75), 0.9, 1.0)
    )
    blade = (
        mix(colour, (0.55 * colour[0], 0.55 * colour[1], 0.55 * colour[2]), 0.8 * vein)
        * (1.1 - 0.35 * (y > 22) - 0.15 * off / 22)[..., None]
    )
    return sprite(np.clip(blade, 0, 1), cover)
