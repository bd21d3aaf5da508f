"""Trainable pieces between student and teacher."""

from aerialkd.connectors.generation import GenerationBlock
from aerialkd.connectors.pyramid import (
    PyramidAligner,
    channel_aligners,
    channels_of_levels,
)

__all__ = [
    'GenerationBlock',
    'PyramidAligner',
    'channel_aligners',
    'channels_of_levels',
]
