"""Water from above: colour, waves, glint, foam and wakes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import vary
from aerialkd.datasets.made.canvas import Canvas, Colour, fixed_point, fractal_noise

DEEP: tuple[Colour, ...] = (
    (96, 74, 40),
    (84, 80, 52),
    (110, 96, 62),
    (72, 58, 34),
    (64, 82, 60),
    (84, 102, 84),
    (44, 40, 30),
    (52, 58, 42),
    (118, 122, 104),
)


def flood(canvas: Canvas, rng: np.random.Generator, mask: NDArray) -> None:
    """Turn the pixels of ``mask`` (size, size) in 0..1 into water."""
    size = canvas.size
    deep = vary(rng, DEEP[int(rng.integers(len(DEEP)))], 6)
    water = np.full((size, size, 3), deep, np.float32)
    light = np.mean(deep) / 75  # dark water shows less of its waves
    water += 14 * light * fractal_noise(rng, size, 3, 3)[..., None]
    # Waves run one way: noise drawn out across the wind.
    field = fractal_noise(rng, size, max(8, size // 10), 3)
    angle = float(rng.uniform(0, 180))
    stretch = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0)
    wide = cv2.resize(field, None, fx=1, fy=3, interpolation=cv2.INTER_LINEAR)
    top = int(rng.integers(0, 2 * size))
    waves = cv2.warpAffine(
        wide[top : top + size], stretch, (size, size), borderMode=cv2.BORDER_REFLECT
    )
    water += light * rng.uniform(8, 22) * waves[..., None]
    # Towards the sun every wave has a spark.
    sparks = float(rng.choice([0.005, 0.02, 0.02, 0.12]))
    glint = rng.random((size, size)) < sparks * np.clip(waves, 0, 1)
    water += 60 * cv2.GaussianBlur(glint.astype(np.float32), (0, 0), 0.8)[..., None]
    canvas.blend(mask, water)


def foam(canvas: Canvas, rng: np.random.Generator, mask: NDArray) -> None:
    """A light seam along the shore."""
    shore = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    soft = cv2.GaussianBlur(shore.astype(np.float32), (0, 0), 1.5)
    broken = np.clip(0.5 + fractal_noise(rng, canvas.size, 24, 2), 0, 1)
    canvas.blend(soft * broken, (196, 194, 182), 0.7)


def wake(
    canvas: Canvas,
    rng: np.random.Generator,
    stern: NDArray,
    back: NDArray,
    width: float,
) -> None:
    """Churned water behind a ship.

    Args:
        canvas: to paint on.
        rng: decides length and strength.
        stern: (2,) in pixels.
        back: (2,) unit vector from bow to stern.
        width: of the ship in pixels.
    """
    length = width * rng.uniform(4, 10)
    across = np.array([-back[1], back[0]])
    mask = canvas.mask()
    for spread, value in ((1.1, 90), (0.45, 200)):
        end = stern + back * length * (0.7 if spread < 1 else 1)
        points = [
            stern - across * 0.4 * width,
            stern + across * 0.4 * width,
            end + across * spread * width,
            end - across * spread * width,
        ]
        cv2.fillConvexPoly(mask, fixed_point(np.array(points)), value, cv2.LINE_8, 4)
    away = np.mgrid[: canvas.size, : canvas.size][::-1].transpose(1, 2, 0) - stern
    fade = np.clip(1 - (away @ back) / length, 0, 1)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.8, width / 8))
    grain = np.clip(0.7 + fractal_noise(rng, canvas.size, canvas.size // 8, 2), 0, 1)
    canvas.blend(soft * fade * grain, (214, 210, 200), rng.uniform(0.5, 0.9))
