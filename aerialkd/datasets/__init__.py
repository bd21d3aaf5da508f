"""Data sets in their native layouts; steps of pipelines."""

from aerialkd.datasets.dota import DOTADataset
from aerialkd.datasets.hrsc2016 import HRSC2016Dataset
from aerialkd.datasets.transforms import KeepBackground
from aerialkd.datasets.visdrone import VisDroneDataset

__all__ = ['DOTADataset', 'HRSC2016Dataset', 'KeepBackground', 'VisDroneDataset']
