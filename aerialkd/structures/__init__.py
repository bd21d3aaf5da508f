"""What is known about a batch: boxes, masks, assigned targets."""

from aerialkd.structures.anchor_grid import CellOverlaps, cell_overlaps
from aerialkd.structures.assigned import AssignedTargets
from aerialkd.structures.batch_context import BatchContext
from aerialkd.structures.box_cells import BoxCells, box_cells
from aerialkd.structures.dense_head import (
    box_bins,
    decode_boxes,
    flatten_deltas,
    flatten_levels,
    select_priors,
    select_values,
    sums_of_cells,
)
from aerialkd.structures.head_towers import (
    Tower,
    TowerRecord,
    Towers,
    head_towers,
    split_towers,
)
from aerialkd.structures.normaliser import averaged_count
from aerialkd.structures.scaling import nearest_cells, scaled_boxes
from aerialkd.structures.valuable_region import (
    PriorGrid,
    atss_thresholds,
    valuable_region,
)

__all__ = [
    'AssignedTargets',
    'BatchContext',
    'BoxCells',
    'CellOverlaps',
    'PriorGrid',
    'Tower',
    'TowerRecord',
    'Towers',
    'atss_thresholds',
    'averaged_count',
    'box_bins',
    'box_cells',
    'cell_overlaps',
    'decode_boxes',
    'flatten_deltas',
    'flatten_levels',
    'head_towers',
    'nearest_cells',
    'scaled_boxes',
    'select_priors',
    'select_values',
    'split_towers',
    'sums_of_cells',
    'valuable_region',
]
