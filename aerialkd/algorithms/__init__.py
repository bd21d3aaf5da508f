"""How teacher and student run in one training step."""

from aerialkd.algorithms.cross_scale import CrossScaleDistill
from aerialkd.algorithms.detection_distill import DetectionDistill, View
from aerialkd.algorithms.teacher import FrozenTeacher

__all__ = ['CrossScaleDistill', 'DetectionDistill', 'FrozenTeacher', 'View']
