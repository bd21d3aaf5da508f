"""What is known about a batch: boxes, masks, assigned targets."""

from aerialkd.structures.assigned import AssignedTargets
from aerialkd.structures.batch_context import BatchContext
from aerialkd.structures.box_cells import BoxCells, box_cells
from aerialkd.structures.dense_head import (
    decode_boxes,
    flatten_deltas,
    flatten_levels,
    sums_of_cells,
)

__all__ = [
    'AssignedTargets',
    'BatchContext',
    'BoxCells',
    'box_cells',
    'decode_boxes',
    'flatten_deltas',
    'flatten_levels',
    'sums_of_cells',
]
