"""How teacher and student run in one training step."""

from aerialkd.algorithms.detection_distill import DetectionDistill
from aerialkd.algorithms.teacher import FrozenTeacher

__all__ = ['DetectionDistill', 'FrozenTeacher']
