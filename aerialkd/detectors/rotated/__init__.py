"""What rotated detectors need and mmrotate lacks: target assignment at a fair price."""

from aerialkd.detectors.rotated.assigner import MaxIoUAssigner
from aerialkd.detectors.rotated.overlaps import (
    OverlappingPairs,
    RBboxOverlaps2D,
    overlapping_pairs,
)

__all__ = [
    'MaxIoUAssigner',
    'OverlappingPairs',
    'RBboxOverlaps2D',
    'overlapping_pairs',
]
