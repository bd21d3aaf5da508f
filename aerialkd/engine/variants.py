"""Other ways to evaluate one checkpoint: image size, background, augmentation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmengine.config import Config

from aerialkd.engine.evaluate import add_test_time_augmentation
from aerialkd.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """A change of the test pipeline.

    Attributes:
        label: ``'size 512'``.
        change: makes it, in place.
    """

    label: str
    change: Callable[[Config], None]

    @property
    def folder(self) -> str:
        """Name of a folder for what is kept of it."""
        return self.label.replace(' ', '_')

    def of(self, cfg: Config) -> Config:
        """A changed copy of a config.

        Raises:
            ConfigError: if the config's test pipeline cannot be changed like this.
        """
        changed = copy.deepcopy(cfg)
        self.change(changed)
        return changed


WHOLE = Variant('whole image', lambda cfg: None)


def variants(
    sizes: Sequence[int] = (),
    keep_background: Sequence[float] = (),
    tta: bool = False,
) -> list[Variant]:
    """One variant for each value, behind the detector as it is configured.

    Args:
        sizes: of the image that the detector sees: both sides where the config
            squeezes images to its scale, the longer side of the scale where it keeps
            their ratio.
        keep_background: k of :class:`~aerialkd.datasets.KeepBackground`.
        tta: whether test-time augmentation is one of them.

    Raises:
        ConfigError: for a size below 1.
    """
    if min(sizes, default=1) < 1:
        raise ConfigError(f'sizes: got {list(sizes)}, expected pixels above 0.')
    listed = [WHOLE]
    listed += [Variant(f'size {size}', partial(_resize, size)) for size in sizes]
    listed += [
        Variant(f'background {k:g}x', partial(_keep_background, k))
        for k in keep_background
    ]
    if tta:
        listed.append(Variant('test-time augmentation', add_test_time_augmentation))
    return listed


def _resize(size: int, cfg: Config) -> None:
    pipeline = _test_pipeline(cfg)
    step = pipeline[_position(pipeline, 'Resize')]
    if not step.get('keep_ratio'):
        step['scale'] = (size, size)
        return
    scale = step['scale']
    step['scale'] = tuple(round(side * size / max(scale)) for side in scale)


def _keep_background(k: float, cfg: Config) -> None:
    pipeline = _test_pipeline(cfg)
    step = dict(type='aerialkd.KeepBackground', k=k)
    pipeline.insert(_position(pipeline, 'LoadImageFromFile') + 1, step)


def _test_pipeline(cfg: Config) -> list[dict[str, Any]]:
    # Data sets that wrap others have none.
    pipeline: list[dict[str, Any]] = cfg.test_dataloader.dataset.get('pipeline', [])
    return pipeline


def _position(pipeline: Sequence[dict[str, Any]], name: str) -> int:
    types = [str(step['type']).rpartition('.')[2] for step in pipeline]
    if name not in types:
        raise ConfigError(
            f'test pipeline: got {", ".join(types) or "no steps"}, expected {name} '
            'among them; without it this variant cannot be evaluated.'
        )
    return types.index(name)
