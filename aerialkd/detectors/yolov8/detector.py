"""YOLOv8 as a detector of MMDetection."""

from mmdet.models.detectors import SingleStageDetector

from aerialkd.registry import MODELS


@MODELS.register_module()
class YOLOv8(SingleStageDetector):
    """Single-stage detector with YOLOv8's parts; adds nothing but its name."""
