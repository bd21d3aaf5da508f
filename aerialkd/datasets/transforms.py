"""Steps of pipelines beside those of MMDetection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from aerialkd.arguments import Positive
from aerialkd.errors import ConfigError
from aerialkd.registry import TRANSFORMS
from aerialkd.structures.corners import corners

_IMAGENET_BGR = (103.53, 116.28, 123.675)


@TRANSFORMS.register_module()
class KeepBackground(BaseTransform):
    """Blank what lies outside k times each object's box, to see what context is worth.

    The experiment of table 1 of "ZoomInNet: A Novel Small Object Detector in Drone
    Images with Cross-Scale Knowledge Distillation" (Liu et al. 2021), at test time. It
    stands right behind ``LoadImageFromFile``, where the data set's ``instances`` and
    the image have the same pixels, those of the file::

        dict(type='LoadImageFromFile'),
        dict(type='aerialkd.KeepBackground', k=2),
        dict(type='Resize', scale=(512, 512)),

    The paper keeps the background "k times the area around the target". Here k
    multiplies both sides of a box about its centre; ``k=2 ** 0.5`` doubles its area. A
    pixel is kept if its centre lies in one of these boxes. Ignored instances (regions
    of VisDrone, difficult objects) are background, and an image without objects becomes
    all blank.

    Args:
        k: above 0; 1 keeps the boxes alone.
        fill: colour of what is blanked, in the image's order of channels. The paper has
            no more than a picture of it; the default is ImageNet's mean in BGR, which
            normalisation turns into 0.

    Raises:
        ConfigError: if k is not positive, or the step stands elsewhere in a pipeline.

    Example:
        >>> image = np.zeros((4, 6, 3), np.uint8)
        >>> box = dict(bbox=[2, 1, 4, 3], bbox_label=0, ignore_flag=0)
        >>> done = KeepBackground(k=1, fill=(9, 9, 9))(dict(img=image, instances=[box]))
        >>> done['img'][..., 0].tolist()[1]
        [9, 9, 0, 0, 9, 9]
    """

    def __init__(self, k: Positive, fill: Sequence[float] = _IMAGENET_BGR) -> None:
        self.k = k
        self.fill = tuple(fill)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put a blanked copy in the place of the image."""
        _check_place(results)
        image = results['img']
        instances = results['instances']
        objects = [i['bbox'] for i in instances if not i.get('ignore_flag', 0)]
        kept = np.zeros(image.shape[:2], dtype=bool)
        if objects:
            points = corners(np.array(objects))
            centres = points.mean(axis=1, keepdims=True)
            for polygon in centres + self.k * (points - centres):
                _add_polygon(kept, polygon)
        fill = np.round(self.fill).astype(image.dtype)
        results['img'] = np.where(kept[..., None], image, fill)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(k={self.k}, fill={self.fill})'


def _check_place(results: dict[str, Any]) -> None:
    missing = [key for key in ('img', 'instances') if key not in results]
    # Resizing and flipping leave instances in the pixels of the file.
    if not missing and not {'scale_factor', 'flip'} & results.keys():
        return
    got = f'no {" and no ".join(missing)}' if missing else 'an image that was altered'
    raise ConfigError(
        f'KeepBackground: got {got}, expected an image as loaded and the instances of '
        'its data set; put it right behind LoadImageFromFile.'
    )


def _add_polygon(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> None:
    """Set the pixels whose centres lie in a polygon, (n, 2), by the even-odd rule."""
    size = mask.shape[::-1]
    x_low, y_low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, size)
    x_high, y_high = np.clip(np.ceil(points.max(axis=0)).astype(int), 0, size)
    x = np.arange(x_low, x_high) + 0.5
    y = np.arange(y_low, y_high)[:, None] + 0.5
    inside = np.zeros((len(y), len(x)), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:  # a level edge crosses no row
            inside ^= ((y1 <= y) != (y2 <= y)) & (
                x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
            )
    mask[y_low:y_high, x_low:x_high] |= inside
