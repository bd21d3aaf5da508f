"""Distillation losses: one module a paper; ``functional`` holds the mathematics."""

from aerialkd.losses.base import DistillLoss, level_pairs
from aerialkd.losses.pkd import PKDLoss

__all__ = ['DistillLoss', 'PKDLoss', 'level_pairs']
