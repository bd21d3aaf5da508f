"""Trainable pieces between student and teacher."""

from aerialkd.connectors.generation import GenerationBlock
from aerialkd.connectors.pyramid import (
    PyramidAligner,
    channel_aligners,
    channels_of_levels,
)
from aerialkd.connectors.towers import TowerAligner

__all__ = [
    'GenerationBlock',
    'PyramidAligner',
    'TowerAligner',
    'channel_aligners',
    'channels_of_levels',
]
