"""Weights, configs and what else a run needs around the model."""

from aerialkd.engine.memory import keep_freed_memory
from aerialkd.engine.model_cfg import (
    model_cfg,
    student_model_cfg,
    without_pretrained,
)
from aerialkd.engine.sync_statistics import SyncStatisticsHook
from aerialkd.engine.weights import (
    Weights,
    load_strictly,
    load_weights,
    read_checkpoint,
)

__all__ = [
    'SyncStatisticsHook',
    'Weights',
    'keep_freed_memory',
    'load_strictly',
    'load_weights',
    'model_cfg',
    'read_checkpoint',
    'student_model_cfg',
    'without_pretrained',
]
