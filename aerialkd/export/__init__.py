"""Getting the student out: plain weights, a plain config, ONNX, and their proof."""

from aerialkd.export.onnx_export import OnnxOptions, export_onnx
from aerialkd.export.student import StudentExport, export_student

__all__ = ['OnnxOptions', 'StudentExport', 'export_onnx', 'export_student']
