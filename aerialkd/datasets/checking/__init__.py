"""Looking through a whole data set before it is trained on."""

from aerialkd.datasets.checking.check import check_dataset
from aerialkd.datasets.checking.layouts import LAYOUTS, VERSIONS
from aerialkd.datasets.checking.report import CheckedFolder, DatasetReport
from aerialkd.datasets.checking.statistics import ObjectStatistics

__all__ = [
    'LAYOUTS',
    'VERSIONS',
    'CheckedFolder',
    'DatasetReport',
    'ObjectStatistics',
    'check_dataset',
]
