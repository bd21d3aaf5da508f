"""Knowledge distillation of small aerial detectors.

Importing the package makes mmdet, mmrotate and mmrazor usable in this process and
registers everything they and aerialkd have; a config needs nothing else than
``custom_imports = dict(imports=['aerialkd'])``.
"""

from aerialkd import compat
from aerialkd.version import __version__

# Before anything that imports mmrazor.
compat.adapt()

# And this before anything that loads a checkpoint.
from aerialkd.loading import mmengine_reader

compat.adaptations.append(mmengine_reader.install())

from aerialkd import (
    algorithms,
    connectors,
    datasets,
    detectors,
    distillers,
    engine,
    evaluation,
    losses,
    recorders,
    structures,
)

from aerialkd.evaluation import metric_names

compat.adaptations.append(metric_names.accept_old_names())

__all__ = [
    '__version__',
    'algorithms',
    'connectors',
    'datasets',
    'detectors',
    'distillers',
    'engine',
    'evaluation',
    'losses',
    'recorders',
    'structures',
]
