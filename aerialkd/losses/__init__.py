"""Distillation losses: one module a paper; ``functional`` holds the mathematics."""

from aerialkd.losses.amd import AMDLoss
from aerialkd.losses.base import DistillLoss, level_pairs
from aerialkd.losses.bckd import BCKDLoss
from aerialkd.losses.cross_kd import CrossKDLoss
from aerialkd.losses.cwd import CWDLoss
from aerialkd.losses.dkd import DKDLoss
from aerialkd.losses.fgd import FGDLoss
from aerialkd.losses.fgfi import FGFILoss
from aerialkd.losses.kd_rnet import SoftClassLoss, SoftRegressionLoss
from aerialkd.losses.ld import LDLoss
from aerialkd.losses.mgd import MGDLoss
from aerialkd.losses.nkd import NKDLoss
from aerialkd.losses.pkd import PKDLoss
from aerialkd.losses.rdr_kd import DecoupledLoss, RegeneratedLoss, ResponsiveLoss
from aerialkd.losses.wsld import WSLDLoss
from aerialkd.losses.zoominnet import PositionAwareL2Loss

__all__ = [
    'AMDLoss',
    'BCKDLoss',
    'CWDLoss',
    'CrossKDLoss',
    'DKDLoss',
    'DecoupledLoss',
    'DistillLoss',
    'FGDLoss',
    'FGFILoss',
    'LDLoss',
    'MGDLoss',
    'NKDLoss',
    'PKDLoss',
    'PositionAwareL2Loss',
    'RegeneratedLoss',
    'ResponsiveLoss',
    'SoftClassLoss',
    'SoftRegressionLoss',
    'WSLDLoss',
    'level_pairs',
]
