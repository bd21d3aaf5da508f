"""Whether two detectors predict the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures.bbox import BaseBoxes
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import BaseDataElement
from torch import Tensor

from aerialkd.errors import ConfigError

ODD_SIZES = ((231, 317), (147, 203))  # nothing is a multiple of a stride


def odd_sized_batch(
    cfg: Config, sizes: tuple[tuple[int, int], ...] = ODD_SIZES
) -> dict[str, list]:
    """Noise images through a config's test pipeline, except that they keep their sizes.

    Args:
        cfg: config with a test pipeline that starts by loading an image.
        sizes: height and width of each image.

    Raises:
        ConfigError: if no predictions can be made from what the pipeline gives.
    """
    pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    pipeline[0].type = 'mmdet.LoadImageFromNDArray'  # as mmdet.apis do
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        DATASETS.build(cfg.test_dataloader.dataset)  # as mmdet.apis do, for the colours
        whole = Compose(pipeline)
        transform = Compose([step for step in pipeline if 'Resize' not in step.type])
    _check_scale(whole(_image(sizes[0])))
    # Resizing would have added the scale factor.
    packed = [transform({**_image(size), 'scale_factor': (1.0, 1.0)}) for size in sizes]
    return {key: [image[key] for image in packed] for key in packed[0]}


@torch.no_grad()
def prediction_difference(first: Any, second: Any, batch: dict[str, list]) -> float:
    """Largest difference of raw outputs, boxes, scores and labels.

    Returns:
        Infinity if one of them predicts another number of boxes; NaN if a value is.
    """
    outputs = [_outputs(model, batch) for model in (first, second)]
    if [o.shape for o in outputs[0]] != [o.shape for o in outputs[1]]:
        return float('inf')
    differences = [
        # Equal infinities differ by nothing: exp() of untrained box sizes overflows.
        torch.where(a == b, 0.0, (a.double() - b.double()).abs()).max()
        for a, b in zip(*outputs, strict=True)
        if a.numel()
    ]
    return float(torch.stack(differences).max())  # torch's max keeps NaN


def _image(size: tuple[int, int]) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return dict(img=pixels, img_id=0)


def _check_scale(packed: dict[str, Any]) -> None:
    """Without the scale mmdet cannot give boxes in pixels of the original image."""
    if packed['data_samples'].get('scale_factor') is None:
        raise ConfigError(
            'The test pipeline leaves no scale_factor, which mmdet needs for its '
            "predictions. Add 'scale_factor' to meta_keys of PackDetInputs and, if "
            "images keep their size, dict(type='Resize', scale_factor=1.0) before it."
        )


def _outputs(model: Any, batch: dict[str, list]) -> list[Tensor]:
    # Copies: predictions are added to the samples.
    data = model.data_preprocessor(copy.deepcopy(batch), False)
    raw = model(**data, mode='tensor')
    samples = model.test_step(copy.deepcopy(batch))
    return list(_tensors([raw, [sample.pred_instances for sample in samples]]))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested outputs, in a fixed order."""
    if isinstance(value, BaseBoxes):
        yield value.tensor
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, (BaseDataElement, dict)):
        yield from _tensors([item for _, item in sorted(value.items())])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
