"""Distillation losses: one module a paper; ``functional`` holds the mathematics."""

from aerialkd.losses.base import DistillLoss, level_pairs
from aerialkd.losses.kd_rnet import SoftClassLoss, SoftRegressionLoss
from aerialkd.losses.ld import LDLoss
from aerialkd.losses.pkd import PKDLoss
from aerialkd.losses.rdr_kd import DecoupledLoss, RegeneratedLoss, ResponsiveLoss
from aerialkd.losses.zoominnet import PositionAwareL2Loss

__all__ = [
    'DecoupledLoss',
    'DistillLoss',
    'LDLoss',
    'PKDLoss',
    'PositionAwareL2Loss',
    'RegeneratedLoss',
    'ResponsiveLoss',
    'SoftClassLoss',
    'SoftRegressionLoss',
    'level_pairs',
]
