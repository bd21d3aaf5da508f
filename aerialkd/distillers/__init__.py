"""Which records feed which loss."""

from aerialkd.distillers.detection_distiller import DetectionDistiller

__all__ = ['DetectionDistiller']
