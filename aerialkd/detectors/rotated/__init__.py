"""What rotated detectors need and mmrotate lacks: target assignment at a fair price."""

from aerialkd.detectors.rotated.assigner import MaxIoUAssigner
from aerialkd.detectors.rotated.overlaps import (
    CandidatePairs,
    OverlappingPairs,
    RBboxOverlaps2D,
    overlapping_pairs,
)

__all__ = [
    'CandidatePairs',
    'MaxIoUAssigner',
    'OverlappingPairs',
    'RBboxOverlaps2D',
    'overlapping_pairs',
]
