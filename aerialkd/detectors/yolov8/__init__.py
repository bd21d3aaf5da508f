"""YOLOv8, written from its architecture as components of MMDetection.

The architecture is Ultralytics', whose own software is under AGPL-3.0; see NOTICE.
"""

from aerialkd.detectors.yolov8.assigner import PointTaskAlignedAssigner
from aerialkd.detectors.yolov8.backbone import YOLOv8Backbone
from aerialkd.detectors.yolov8.complete_iou import CompleteIoULoss, complete_iou
from aerialkd.detectors.yolov8.convert import convert_ultralytics_state_dict
from aerialkd.detectors.yolov8.detector import YOLOv8
from aerialkd.detectors.yolov8.head import YOLOv8Head
from aerialkd.detectors.yolov8.neck import YOLOv8PAFPN
from aerialkd.detectors.yolov8.sizes import SIZES, ModelSize

__all__ = [
    'SIZES',
    'CompleteIoULoss',
    'ModelSize',
    'PointTaskAlignedAssigner',
    'YOLOv8',
    'YOLOv8Backbone',
    'YOLOv8Head',
    'YOLOv8PAFPN',
    'complete_iou',
    'convert_ultralytics_state_dict',
]
