"""What mmcv has to be compiled for, on any machine.

:mod:`~aerialkd.ops.backends` decides who computes mmcv's operators: its compiled ones,
torchvision's, or those of this folder in plain torch; everybody goes on calling them as
``mmcv.ops``. The functions here are always plain torch, on any device.
"""

from aerialkd.ops.areas import quadrilateral_overlaps, rotated_overlaps
from aerialkd.ops.suppression import (
    keep_horizontal,
    keep_quadrilaterals,
    keep_rotated,
)

__all__ = [
    'keep_horizontal',
    'keep_quadrilaterals',
    'keep_rotated',
    'quadrilateral_overlaps',
    'rotated_overlaps',
]
