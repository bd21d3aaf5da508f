"""Made aerial data: rendered drone photos, written in native layouts."""

from aerialkd.datasets.made.layouts import LAYOUTS, make_data
from aerialkd.datasets.made.scene import Scene, SceneObject, render_scene

__all__ = ['LAYOUTS', 'Scene', 'SceneObject', 'make_data', 'render_scene']
