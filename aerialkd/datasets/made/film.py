"""What comes between a finished canvas and a satellite picture that people share."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.canvas import Canvas
from aerialkd.datasets.made.scene import Scene, SceneObject, photograph

Rng = np.random.Generator
PANCHROMATIC = 0.08  # of the pictures are grey, as in DOTA and HRSC2016


def satellite_photo(
    canvas: Canvas, rng: Rng, objects: list[SceneObject], size: int
) -> Scene:
    """Photograph a canvas: sharpened or soft, sometimes grey, once through JPEG.

    Args:
        canvas: finished.
        rng: decides about all of it.
        objects: annotated ones.
        size: side of the picture in pixels.
    """
    scene = photograph(canvas, rng, objects, size)
    picture = scene.image.astype(np.float32)
    if rng.random() < 0.4:
        # Providers sharpen: light seams around what is dark.
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture += rng.uniform(0.2, 0.7) * (picture - soft)
    if rng.random() < PANCHROMATIC:
        grey = picture.mean(axis=2, keepdims=True)
        middle, contrast = grey.mean(), rng.uniform(1.0, 1.5)
        picture = np.repeat(middle + contrast * (grey - middle), 3, axis=2)
    return replace(scene, image=_compressed(picture, int(rng.integers(55, 93))))


def _compressed(picture: NDArray, quality: int) -> NDArray[np.uint8]:
    """The picture after one JPEG, whose blocks remain in later copies."""
    whole = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    data = cv2.imencode('.jpg', whole, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
