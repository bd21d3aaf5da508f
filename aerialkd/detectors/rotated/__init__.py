"""What rotated detectors need and mmrotate lacks: cheap assignment, distributions."""

from aerialkd.detectors.rotated.assigner import MaxIoUAssigner
from aerialkd.detectors.rotated.distribution_head import (
    DistributionRotatedRetinaHead,
)
from aerialkd.detectors.rotated.overlaps import (
    CandidatePairs,
    OverlappingPairs,
    RBboxOverlaps2D,
    overlapping_pairs,
)

__all__ = [
    'CandidatePairs',
    'DistributionRotatedRetinaHead',
    'MaxIoUAssigner',
    'OverlappingPairs',
    'RBboxOverlaps2D',
    'overlapping_pairs',
]
