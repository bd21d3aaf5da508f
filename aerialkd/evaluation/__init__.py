"""Metrics that the papers report and upstream lacks."""

from aerialkd.evaluation.visdrone_metric import VisDroneMetric

__all__ = ['VisDroneMetric']
