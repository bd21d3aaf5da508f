"""What the readers of rotated boxes share: four corners and difficult objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aerialkd.datasets.native import NativeDataset
from aerialkd.errors import ConfigError


class RotatedDataset(NativeDataset):
    """Base of data sets whose objects have four corners, of which some are difficult.

    In a pipeline, load the corners as such and convert them to what the model has::

        dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
        dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),

    Args:
        args: as for :class:`aerialkd.datasets.native.NativeDataset`.
        ignore_difficult: whether difficult objects get ``ignore_flag`` 1. By default
            in test mode only: DOTA's protocol leaves them out of evaluation, MMRotate
            trains on them.
        kwargs: as for :class:`aerialkd.datasets.native.NativeDataset`.

    Raises:
        ConfigError: if an option does not fit.
    """

    def __init__(
        self, *args: Any, ignore_difficult: bool | None = None, **kwargs: Any
    ) -> None:
        if ignore_difficult not in (None, True, False):
            raise ConfigError(
                f'ignore_difficult: got {ignore_difficult!r}, expected True, False or '
                'None (True in test mode only).'
            )
        self._ignore_difficult = ignore_difficult
        super().__init__(*args, **kwargs)

    @property
    def ignore_difficult(self) -> bool:
        """Whether difficult objects are ignored."""
        if self._ignore_difficult is None:
            return bool(self.test_mode)
        return self._ignore_difficult

    def instances_of(
        self, objects: Sequence[tuple[Sequence[float], str, int]]
    ) -> list[dict]:
        """Instances as mmdet expects them; other classes than the chosen are left out.

        Args:
            objects: corners x1, y1 to x4, y4, class and difficult (0: not) of each.
        """
        labels = {name: label for label, name in enumerate(self.metainfo['classes'])}
        return [
            {
                'bbox': list(corners),
                'bbox_label': labels[name],
                'ignore_flag': int(self.ignore_difficult and difficult > 0),
            }
            for corners, name, difficult in objects
            if name in labels
        ]
