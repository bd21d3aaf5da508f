"""Data sets in their native layouts."""

from aerialkd.datasets.dota import DOTADataset
from aerialkd.datasets.visdrone import VisDroneDataset

__all__ = ['DOTADataset', 'VisDroneDataset']
