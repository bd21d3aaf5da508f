"""Data sets in their native layouts."""

from aerialkd.datasets.visdrone import VisDroneDataset

__all__ = ['VisDroneDataset']
