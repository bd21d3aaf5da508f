"""Made aerial data: rendered pictures, written in native layouts."""

from aerialkd.datasets.made.layouts import LAYOUTS
from aerialkd.datasets.made.make import make_data
from aerialkd.datasets.made.scene import Scene, SceneObject, render_scene

__all__ = ['LAYOUTS', 'Scene', 'SceneObject', 'make_data', 'render_scene']
