"""Made thermal images: dim small targets in the sky, over trees, houses and the sea."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.canvas import fractal_noise
from aerialkd.datasets.made.sky import BACKGROUNDS

Rng = np.random.Generator
MIN_LENGTH, MAX_LENGTH = 3.0, 40.0  # pixels
_FINE = 8  # a target is drawn with this many points a pixel, then averaged
_SEEN = 0.4  # of a pixel; a pixel covered less is not in the target's mask
_ATTEMPTS = 20
_DARK, _BRIGHT = 12.0, 235.0  # grey levels of nearly the coldest and warmest pixel


@dataclass(frozen=True)
class Target:
    """An annotated target.

    Attributes:
        kind: drone, plane, helicopter or spot; the layout calls all of them Target.
        box: x1, y1, x2, y2 in whole pixels around the mask.
        mask: (size, size) bool, its pixels.
    """

    kind: str
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class InfraredScene:
    """A made thermal image.

    Attributes:
        image: (size, size) uint8.
        targets: annotated ones; birds, leaves and dead pixels are not.
    """

    image: NDArray[np.uint8]
    targets: list[Target]


def render_infrared(rng: Rng, size: int) -> InfraredScene:
    """Make one image; equal generators make equal images.

    Args:
        rng: decides everything.
        size: side of the picture in pixels, at least 64.
    """
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))](rng, size)
    warmth = background.warmth.copy()
    noise = rng.uniform(1.0, 4.0)
    for _ in range(int(rng.choice([0, 0, 1, 2, 4]))):
        _add(rng, warmth, _bird(rng), background.sky, rng.uniform(2, 10) * noise)
    for _ in range(int(rng.choice([0, 0, 6, 14]))):
        _add(rng, warmth, _leaf(rng), ~background.sky, rng.uniform(3, 12) * noise)
    targets: list[Target] = []
    taken = np.zeros((size, size), bool)
    for _ in range(int(rng.choice(len(_HOW_MANY), p=_HOW_MANY))):
        # Cold targets are rarer than warm ones; a few are hardly brighter than noise.
        contrast = noise * float(np.exp(rng.uniform(np.log(5), np.log(30))))
        sign = -1 if rng.random() < 0.12 else 1
        kind = str(rng.choice(list(_SHAPES), p=_HOW_OFTEN))
        drawn = _target(rng, kind)
        mask = _add(rng, warmth, drawn, background.sky & ~taken, sign * contrast)
        if mask is not None:
            targets.append(Target(kind, _box(mask), mask))
            taken |= cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) > 0
    return InfraredScene(_sensor(rng, warmth, noise), targets)


def _add(
    rng: Rng, warmth: NDArray, drawn: NDArray, where: NDArray, contrast: float
) -> NDArray[np.bool_] | None:
    """Lay a drawn shape over the picture, its middle somewhere in ``where``.

    Returns:
        Its pixels; None if no place was found that holds all of it.
    """
    rows, columns = np.nonzero(where)
    height, width = drawn.shape
    for _ in range(_ATTEMPTS if len(rows) else 0):
        index = int(rng.integers(len(rows)))
        top, left = rows[index] - height // 2, columns[index] - width // 2
        bottom, right = top + height, left + width
        inside = min(top, left) >= 0 and max(bottom, right) <= len(warmth)
        if not inside or not where[top:bottom, left:right].all():
            continue
        # Own texture: engines are warmer than wings.
        window = warmth[top:bottom, left:right]
        # Before clouds and waves as dim as before the clear sky, not dimmer.
        strength = max(abs(contrast), 1.3 * float(window.std()))
        heat = np.copysign(strength, contrast) * rng.normal(1, 0.15, drawn.shape)
        window += drawn * heat
        mask = np.zeros(warmth.shape, bool)
        mask[top:bottom, left:right] = drawn >= _SEEN
        return mask
    return None


def _target(rng: Rng, kind: str) -> NDArray[np.float32]:
    """Coverage of each pixel by a target, cut to its extent; most are small."""
    while True:
        length = float(np.exp(rng.normal(np.log(8.5), 0.6)))
        if kind == 'spot':  # what is larger has a shape
            length = rng.uniform(MIN_LENGTH, 7)
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            continue
        drawn = _drawn(rng, _SHAPES[kind](rng), length)
        seen = np.argwhere(drawn >= _SEEN)
        # Seen from its side a wing can be thinner than a pixel.
        if len(seen) and (np.ptp(seen, axis=0) + 1).max() >= MIN_LENGTH:
            return drawn


def _drawn(
    rng: Rng, polygons: list[NDArray], length: float, blur: float = 0.35
) -> NDArray[np.float32]:
    """Coverage of polygons whose points are in units of ``length``, at any angle."""
    angle = rng.normal(0, 0.35) + np.pi * rng.integers(2)
    cos, sin = np.cos(angle), np.sin(angle)
    half = int(np.ceil(0.75 * length)) + 2
    canvas = np.zeros((2 * half * _FINE, 2 * half * _FINE), np.uint8)
    shift = rng.uniform(-0.5, 0.5, 2)
    for polygon in polygons:
        points = polygon @ np.array([[cos, sin], [-sin, cos]]) * length + half + shift
        cv2.fillPoly(canvas, [np.round(points * _FINE).astype(np.int32)], 255)
    small = cv2.resize(canvas, (2 * half, 2 * half), interpolation=cv2.INTER_AREA)
    drawn = cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), blur)
    rows, columns = np.nonzero(drawn >= _SEEN)
    if not len(rows):
        return drawn[:1, :1] * 0
    return drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _ellipse(x: float, y: float, a: float, b: float) -> NDArray:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], axis=1)


def _spot(rng: Rng) -> list[NDArray]:
    """Something too far away to have a shape."""
    return [_ellipse(0, 0, 0.5, rng.uniform(0.3, 0.5))]


def _drone(rng: Rng) -> list[NDArray]:
    """A quadcopter from the side or below."""
    tall = rng.uniform(0.12, 0.45)
    parts = [_ellipse(0, 0, 0.2, max(0.14, 0.5 * tall))]
    for x in (-0.4, 0.4):
        arm = np.array([[0, -0.05], [x, -tall / 2 - 0.04], [x, -tall / 2 + 0.06]])
        parts += [np.vstack([arm, [[0, 0.05]]]), _ellipse(x, -tall / 2, 0.12, 0.06)]
        if tall > 0.3:
            parts.append(_ellipse(x, tall / 2, 0.12, 0.06))
    return parts


def _plane(rng: Rng) -> list[NDArray]:
    """A plane; ``flat`` goes from its side to its whole plan."""
    flat, sweep = rng.uniform(0.15, 1.0), rng.uniform(0.05, 0.25)
    wing = np.array([[0.1, 0], [-sweep, 0.45 * flat], [-sweep - 0.1, 0.45 * flat]])
    tail = np.array([[-0.38, 0], [-0.5, -0.18], [-0.42, -0.18], [-0.28, 0]])
    wings = [np.vstack([wing * [1, side], [[-0.12, 0]]]) for side in (-1, 1)]
    return [_ellipse(0, 0, 0.5, 0.07), *wings, tail]


def _helicopter(rng: Rng) -> list[NDArray]:
    """A helicopter from its side."""
    rotor = rng.uniform(0.3, 0.5)
    boom = np.array([[0, -0.03], [-0.5, -0.08], [-0.5, -0.02], [0, 0.06]])
    blades = np.array(
        [[-rotor + 0.1, -0.2], [rotor, -0.2], [rotor, -0.16], [-rotor + 0.1, -0.16]]
    )
    fin = np.array([[-0.5, -0.16], [-0.44, -0.05], [-0.5, 0.04]])
    return [_ellipse(0.12, 0, 0.24, 0.15), boom, blades, fin]


def _bird(rng: Rng) -> NDArray[np.float32]:
    """Two bent wings; colder than machines and without an engine."""
    lift = rng.uniform(-0.2, 0.35)
    wings = [
        np.array([[0, 0.05], [0.25 * side, -lift], [0.5 * side, -lift / 2], [0, -0.05]])
        for side in (-1, 1)
    ]
    return _drawn(rng, [*wings, _ellipse(0, 0, 0.08, 0.05)], rng.uniform(4, 16), 0.6)


def _leaf(rng: Rng) -> NDArray[np.float32]:
    """A leaf or twig that the wind turns towards the warm side."""
    return _drawn(rng, [_ellipse(0, 0, 0.5, rng.uniform(0.2, 0.5))], rng.uniform(2, 6))


_HOW_MANY = (0.04, 0.4, 0.21, 0.13, 0.09, 0.05, 0.03, 0.02, 0.01, 0.01, 0.01)
_HOW_OFTEN = (0.4, 0.25, 0.2, 0.15)
_SHAPES: dict[str, Callable[[Rng], list[NDArray]]] = {
    'drone': _drone,
    'spot': _spot,
    'plane': _plane,
    'helicopter': _helicopter,
}


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    x1, y1 = int(columns.min()), int(rows.min())
    return (x1, y1, int(columns.max()) + 1, int(rows.max()) + 1)


def _sensor(rng: Rng, warmth: NDArray, noise: float) -> NDArray[np.uint8]:
    """Optics, fixed-pattern noise of an uncooled detector, gain, dead pixels."""
    size = len(warmth)
    picture = cv2.GaussianBlur(warmth.astype(np.float32), (0, 0), rng.uniform(0.4, 0.8))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    picture -= rng.uniform(0, 14) * (x**2 + y**2)
    picture += 3 * fractal_noise(rng, size, 2, 2)
    picture += rng.normal(0, rng.uniform(0.1, 0.8) * noise, size)
    picture += rng.normal(0, rng.uniform(0.0, 0.3) * noise, size)[:, None]
    picture += rng.normal(0, noise, (size, size))
    middle = picture.mean()
    picture = middle + (picture - middle) * rng.uniform(0.8, 1.25) + rng.normal(0, 10)
    # Automatic gain: hardly anything is cut off at black or white.
    low, high = np.percentile(picture, [1, 99.5])
    bottom = np.clip(low, _DARK, max(_DARK, _BRIGHT - (high - low)))
    picture = bottom + (picture - low) * min(1.0, (_BRIGHT - _DARK) / (high - low))
    dead = rng.integers(0, size, (int(rng.integers(0, 4)), 2))
    picture[dead[:, 0], dead[:, 1]] = rng.choice([0.0, 255.0], len(dead))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
