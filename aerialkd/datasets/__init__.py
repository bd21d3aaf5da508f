"""Data sets in their native layouts."""

from aerialkd.datasets.dota import DOTADataset
from aerialkd.datasets.hrsc2016 import HRSC2016Dataset
from aerialkd.datasets.visdrone import VisDroneDataset

__all__ = ['DOTADataset', 'HRSC2016Dataset', 'VisDroneDataset']
