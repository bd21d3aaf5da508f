"""The mathematics of the distillation losses, as pure functions on tensors.

``s`` is the student's tensor and ``t`` the teacher's, which never receives a
gradient. Modules in this package only gather inputs and weights.
"""

from aerialkd.losses.functional.attention import area_softmax, spatial_channel_attention
from aerialkd.losses.functional.boxes import efficient_iou_loss, soft_smooth_l1
from aerialkd.losses.functional.features import pearson_loss, pearson_map
from aerialkd.losses.functional.logits import soft_class_kl, soft_focal_bce

__all__ = [
    'area_softmax',
    'efficient_iou_loss',
    'pearson_loss',
    'pearson_map',
    'soft_class_kl',
    'soft_focal_bce',
    'soft_smooth_l1',
    'spatial_channel_attention',
]
