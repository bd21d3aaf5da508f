"""Backbones, necks, heads and assigners that no upstream package has."""

from aerialkd.detectors.layer_adaption import LAGFLHead, LARetinaHead
from aerialkd.detectors.rotated import (
    DistributionRotatedRetinaHead,
    MaxIoUAssigner,
    RBboxOverlaps2D,
)
from aerialkd.detectors.yolov8 import YOLOv8, YOLOv8Backbone, YOLOv8Head, YOLOv8PAFPN

__all__ = [
    'DistributionRotatedRetinaHead',
    'LAGFLHead',
    'LARetinaHead',
    'MaxIoUAssigner',
    'RBboxOverlaps2D',
    'YOLOv8',
    'YOLOv8Backbone',
    'YOLOv8Head',
    'YOLOv8PAFPN',
]
