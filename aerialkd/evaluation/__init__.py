"""Metrics that the papers report and upstream lacks."""

from aerialkd.evaluation.rotated_metric import RotatedMetric
from aerialkd.evaluation.visdrone_metric import VisDroneMetric

__all__ = ['RotatedMetric', 'VisDroneMetric']
