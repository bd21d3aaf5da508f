"""The mathematics of the distillation losses, as pure functions on tensors.

``s`` is the student's tensor and ``t`` the teacher's, which never receives a
gradient. Modules in this package only gather inputs and weights.
"""

from aerialkd.losses.functional.attention import area_softmax, spatial_channel_attention
from aerialkd.losses.functional.boxes import efficient_iou_loss, soft_smooth_l1
from aerialkd.losses.functional.distributions import localization_kd
from aerialkd.losses.functional.features import (
    channel_wise_divergence,
    match_statistics,
    pearson_loss,
    pearson_map,
)
from aerialkd.losses.functional.logits import soft_class_kl, soft_focal_bce
from aerialkd.losses.functional.positions import (
    key_position_mask,
    key_positions,
    position_aware_l2,
)
from aerialkd.losses.functional.soft_labels import (
    decoupled_kd,
    normalized_kd,
    weighted_soft_label,
)

__all__ = [
    'area_softmax',
    'channel_wise_divergence',
    'decoupled_kd',
    'efficient_iou_loss',
    'key_position_mask',
    'key_positions',
    'localization_kd',
    'match_statistics',
    'normalized_kd',
    'pearson_loss',
    'pearson_map',
    'position_aware_l2',
    'soft_class_kl',
    'soft_focal_bce',
    'soft_smooth_l1',
    'spatial_channel_attention',
    'weighted_soft_label',
]
