"""Backbones, necks and heads that no upstream package has."""

from aerialkd.detectors.yolov8 import YOLOv8, YOLOv8Backbone, YOLOv8Head, YOLOv8PAFPN

__all__ = ['YOLOv8', 'YOLOv8Backbone', 'YOLOv8Head', 'YOLOv8PAFPN']
