"""Weights, configs and what else a run needs around the model."""

from aerialkd.engine.checkpoint_hook import CheckpointHook
from aerialkd.engine.early_stopping_hook import EarlyStoppingHook
from aerialkd.engine.last_checkpoint import find_resumable
from aerialkd.engine.memory import keep_freed_memory
from aerialkd.engine.model_cfg import (
    model_cfg,
    student_model_cfg,
    without_pretrained,
)
from aerialkd.engine.non_finite_hook import NonFiniteLossHook
from aerialkd.engine.sync_statistics import SyncStatisticsHook
from aerialkd.engine.teacher_check_hook import TeacherCheckHook
from aerialkd.engine.training import build_train_runner, resume_newest, settle_start
from aerialkd.engine.weights import Weights, load_strictly, load_weights
from aerialkd.loading import read_checkpoint

__all__ = [
    'CheckpointHook',
    'EarlyStoppingHook',
    'NonFiniteLossHook',
    'SyncStatisticsHook',
    'TeacherCheckHook',
    'Weights',
    'build_train_runner',
    'find_resumable',
    'keep_freed_memory',
    'load_strictly',
    'load_weights',
    'model_cfg',
    'read_checkpoint',
    'resume_newest',
    'settle_start',
    'student_model_cfg',
    'without_pretrained',
]
