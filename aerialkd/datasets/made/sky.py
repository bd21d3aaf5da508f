"""Backgrounds of made thermal images: sky, clouds, trees, houses, the sea."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.canvas import fractal_noise

Rng = np.random.Generator


@dataclass(frozen=True)
class Background:
    """What is behind the targets.

    Attributes:
        warmth: (size, size) in grey levels.
        sky: (size, size) bool, where something can fly or swim in plain sight.
    """

    warmth: NDArray[np.float32]
    sky: NDArray[np.bool_]


def clear_sky(rng: Rng, size: int) -> Background:
    """A gradient: the air is warmer, or seems so, near the ground."""
    return Background(_gradient(rng, size), np.ones((size, size), bool))


def clouds(rng: Rng, size: int) -> Background:
    """Clouds from veils to towers, some of them as warm as a target."""
    warmth = _gradient(rng, size)
    field = fractal_noise(rng, size, int(rng.integers(2, 5)), 6)
    # Clouds lie flat: the same field, drawn out sideways.
    flat = rng.uniform(1.0, 2.5)
    wide = cv2.resize(field, None, fx=flat, fy=1, interpolation=cv2.INTER_LINEAR)
    field = wide[:, :size]
    edge, soft = rng.uniform(-0.25, 0.2), rng.uniform(0.15, 0.7)
    cover = np.clip((field - edge) / soft, 0, 1)
    warmth = warmth + cover * (rng.uniform(15, 120) * (0.7 + 0.6 * field))
    return Background(warmth.astype(np.float32), np.ones((size, size), bool))


def tree_line(rng: Rng, size: int) -> Background:
    """A warm wood over a field, the sky dark above it."""
    warmth = clouds(rng, size).warmth if rng.random() < 0.4 else _gradient(rng, size)
    y = np.arange(size, dtype=np.float32)[:, None]
    foot = size * rng.uniform(0.76, 0.94) + size * 0.03 * _line(rng, size, 2, 2)
    top = foot - _crowns(rng, size)
    # Electronics overshoot: above something warm and long the sky is dark.
    above = cv2.GaussianBlur(top[None], (0, 0), 0.04 * size)[0]
    warmth = warmth * (1 - 0.7 * np.exp(-np.abs(above - y) / (0.12 * size)))
    soft = 0.02 * size
    ragged = np.clip(fractal_noise(rng, size, size // 4, 2), -0.9, 0.9)
    cover = np.clip((y - top) / soft + ragged, 0, 1)
    # Twigs: bright where noise changes its sign, the sky between them.
    twigs = 1 - 3 * np.abs(fractal_noise(rng, size, size // 4, 2))
    level = rng.uniform(120, 215)
    wood = level + 16 * np.clip(twigs, -1, 1) + 14 * fractal_noise(rng, size, 16, 3)
    near = np.exp(-np.clip(y - foot, 0, None) / (0.1 * size))
    field = rng.uniform(60, 120) + rng.uniform(0, 50) * near + _furrows(rng, size)
    field += 5 * fractal_noise(rng, size, size // 5, 2)
    # Grass grows into the foot of the wood.
    ground = np.clip((y - foot) / (0.6 * soft) + ragged, 0, 1)
    warmth = warmth + cover * (wood - warmth)
    warmth = warmth + ground * (field - warmth)
    return Background(warmth.astype(np.float32), y < top - soft - 1)


def _crowns(rng: Rng, size: int) -> NDArray[np.float32]:
    """Heights of a wood above its foot, (size,) in pixels: a hedge and single trees."""
    x = np.arange(size, dtype=np.float32)
    hedge = size * rng.uniform(0.02, 0.07) * (1 + 0.4 * _line(rng, size, 8, 4))
    heights = np.abs(hedge)
    tall = size * rng.uniform(0.05, 0.14)
    for _ in range(int(rng.integers(4, 22))):
        # Now and then one stands close to the camera.
        near = 2.2 if rng.random() < 0.06 else 1.0
        high = near * tall * rng.uniform(0.6, 1.3)
        half = high * rng.uniform(0.3, 0.7)
        across = np.clip(1 - np.abs((x - rng.uniform(0, size)) / half) ** 2.5, 0, None)
        heights = np.maximum(heights, high * np.sqrt(across))
    heights *= 1 + 0.25 * _line(rng, size, 12, 4)
    return heights.astype(np.float32)


def houses(rng: Rng, size: int) -> Background:
    """Roofs and walls with warm windows under the sky."""
    background = clouds(rng, size) if rng.random() < 0.5 else clear_sky(rng, size)
    warmth, sky = background.warmth.copy(), background.sky.copy()
    x = -int(rng.integers(0, size // 4))
    while x < size:
        width = int(size * rng.uniform(0.12, 0.35))
        top = int(size * rng.uniform(0.62, 0.9))
        left, right = max(x, 0), min(x + width, size)
        if right > left:
            warmth[top:, left:right] = rng.uniform(60, 140)
            warmth[top : top + 2, left:right] += 25
            sky[max(0, top - 1) :, left:right] = False
            _windows(rng, warmth, (left, top, right))
        x += width + int(size * rng.choice([0.0, 0.0, 0.06]))
    warmth += (~sky) * 5 * fractal_noise(rng, size, max(4, size // 12), 3)
    return Background(warmth, sky)


def sea(rng: Rng, size: int) -> Background:
    """Waves up to a horizon, glinting here and there."""
    warmth = _gradient(rng, size)
    horizon = int(size * rng.uniform(0.0, 0.45))
    waves = _furrows(rng, size) + 6 * np.clip(
        fractal_noise(rng, size, max(8, size // 6), 2), 0, None
    )
    water = rng.uniform(40, 110) + rng.uniform(0.7, 2.5) * waves
    warmth[horizon:] = water[horizon:]
    return Background(warmth.astype(np.float32), np.ones((size, size), bool))


BACKGROUNDS: tuple[Callable[[Rng, int], Background], ...] = (
    clear_sky,
    clouds,
    clouds,
    tree_line,
    tree_line,
    houses,
    sea,
)


def _gradient(rng: Rng, size: int) -> NDArray[np.float32]:
    rise = np.linspace(0, 1, size, dtype=np.float32)[:, None] ** rng.uniform(0.7, 2.5)
    warmth = rng.uniform(30, 130) + rng.uniform(-15, 45) * rise
    return np.repeat(warmth, size, axis=1).astype(np.float32)


def _line(rng: Rng, size: int, cells: int, octaves: int) -> NDArray[np.float32]:
    """Smooth random values (size,) in about -1..1, along the picture's width."""
    return fractal_noise(rng, size, cells, octaves)[size // 2]


def _furrows(rng: Rng, size: int) -> NDArray[np.float32]:
    """Texture that lies flat, finer towards the horizon."""
    field = fractal_noise(rng, size, max(4, size // 10), 3)
    wide = cv2.resize(field, None, fx=5, fy=1, interpolation=cv2.INTER_LINEAR)
    return (9 * wide[:, :size]).astype(np.float32)


def _windows(rng: Rng, warmth: NDArray, wall: tuple[int, int, int]) -> None:
    """Rows of windows in a wall from left to right below top; some are lit."""
    left, top, right = wall
    side = max(2, len(warmth) // 64)
    for row in range(top + 2 * side, len(warmth) - side, 4 * side):
        for column in range(left + 2 * side, right - 2 * side, 3 * side):
            if rng.random() < 0.35:
                warm = rng.uniform(20, 90)
                warmth[row : row + side, column : column + side] += warm
