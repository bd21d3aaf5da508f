"""Trainable pieces between student and teacher."""

from aerialkd.connectors.pyramid import PyramidAligner

__all__ = ['PyramidAligner']
