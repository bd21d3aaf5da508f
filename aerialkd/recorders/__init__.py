"""What is kept of a forward pass."""

from aerialkd.recorders.assigned_targets import AssignedTargetsRecorder
from aerialkd.recorders.head_towers import HeadTowersRecorder
from aerialkd.recorders.module_outputs import (
    HeadOutputsRecorder,
    ModuleOutputsRecorder,
    tensors_of,
)

__all__ = [
    'AssignedTargetsRecorder',
    'HeadOutputsRecorder',
    'HeadTowersRecorder',
    'ModuleOutputsRecorder',
    'tensors_of',
]
