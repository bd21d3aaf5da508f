"""How annotations of made pictures are written, each as its data set has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.infrared import InfraredScene
from aerialkd.datasets.made.scene import Scene, SceneObject
from aerialkd.datasets.visdrone_format import CLASSES, IGNORED_REGION

HRSC_SHIP = 100000001
_TINY = 4  # pixels of the shorter side; less is difficult


def visdrone_annotation(scene: Scene) -> str:
    """A text file of VisDrone-DET, ignored regions behind the objects."""
    lines = [_visdrone_line(item) for item in scene.objects]
    lines += [
        f'{x1},{y1},{x2 - x1},{y2 - y1},0,{IGNORED_REGION},0,0'
        for x1, y1, x2, y2 in scene.ignored
    ]
    return ''.join(f'{line}\n' for line in lines)


def _visdrone_line(item: SceneObject) -> str:
    x1, y1, x2, y2 = item.box
    category = CLASSES.index(item.name) + 1
    truncation = int(item.truncation > 0)
    # None, up to half, more than half; a few hidden pixels are none.
    occlusion = int(np.digitize(item.occlusion, [0.05, 0.5]))
    return f'{x1},{y1},{x2 - x1},{y2 - y1},1,{category},{truncation},{occlusion}'


def dota_annotation(scene: Scene) -> str:
    """A labelTxt file of DOTA: corners clockwise from front left, class, difficult.

    Of an object at the border the rectangle is that of the visible part, so that the
    sides stay along the object; its corners may lie a few pixels outside.

    Without the header that some real files have (``imagesource:``, ``gsd:``): our
    reader takes it, mmrotate's ``DOTADataset`` does not.
    """
    size = len(scene.image)
    lines = []
    for item in scene.objects:
        corners = _seen_corners(item.corners, size)
        numbers = ' '.join(f'{value:.1f}' for value in corners.ravel())
        lines.append(f'{numbers} {item.name} {int(_is_difficult(item))}\n')
    return ''.join(lines)


def _is_difficult(item: SceneObject) -> bool:
    """Whether it is tiny, half hidden, or cut by the picture's border."""
    sides = np.linalg.norm(item.corners[[1, 3]] - item.corners[0], axis=1)
    return sides.min() < _TINY or item.occlusion > 0.5 or item.truncation > 0.3


def _seen_corners(corners: NDArray, size: int) -> NDArray:
    """Rectangle of what the picture's border leaves, (4, 2), from front left on."""
    (cx, cy, length, width, _), bow = _seen_rectangle(corners, size)
    centre = np.array([cx, cy])
    forward = bow - centre
    right = np.array([-forward[1], forward[0]]) * width / length
    back = -forward
    return centre + np.stack(
        [forward - right, forward + right, back + right, back - right]
    )


def hrsc_annotation(scene: Scene, stem: str) -> str:
    """An XML file of HRSC2016; every class is ship."""
    size = len(scene.image)
    root = _tree(
        'HRSC_Image',
        Img_ID=stem,
        Img_FileName=stem,
        Img_FileFmt='bmp',
        Img_SizeWidth=size,
        Img_SizeHeight=size,
        Img_SizeDepth=3,
        segmented=0,
        Annotated=1,
    )
    objects = ElementTree.SubElement(root, 'HRSC_Objects')
    for number, item in enumerate(scene.objects):
        (cx, cy, w, h, angle), bow = _seen_rectangle(item.corners, size)
        x1, y1, x2, y2 = item.box
        fields = {
            'Object_ID': f'{stem}{number:03d}',
            'Class_ID': HRSC_SHIP,
            'Object_NO': stem,
            'truncated': int(item.truncation > 0.02),
            'difficult': int(_is_difficult(item)),
            'box_xmin': x1,
            'box_ymin': y1,
            'box_xmax': x2,
            'box_ymax': y2,
            'mbox_cx': f'{cx:.4f}',
            'mbox_cy': f'{cy:.4f}',
            'mbox_w': f'{w:.4f}',
            'mbox_h': f'{h:.4f}',
            'mbox_ang': f'{angle:.6f}',
            'header_x': int(np.clip(round(bow[0]), 0, size - 1)),
            'header_y': int(np.clip(round(bow[1]), 0, size - 1)),
        }
        objects.append(_tree('HRSC_Object', **fields))
    return _text(root)


def _seen_rectangle(
    corners: NDArray, size: int
) -> tuple[tuple[float, float, float, float, float], NDArray]:
    """Centre, length, width and angle of what the picture's border leaves, and the bow.

    The angle is that of the length, clockwise as seen, in [-pi/2, pi/2); the bow says
    which of both directions is forward.
    """
    forward = corners[[1, 2]].mean(0) - corners[[0, 3]].mean(0)
    forward = forward / np.linalg.norm(forward)
    axes = np.stack([forward, [-forward[1], forward[0]]], axis=1)
    across = _cut(corners, size) @ axes
    low, high = across.min(0), across.max(0)
    cx, cy = axes @ ((low + high) / 2)
    bow = axes @ np.array([high[0], (low[1] + high[1]) / 2])
    angle = (np.arctan2(forward[1], forward[0]) + np.pi / 2) % np.pi - np.pi / 2
    length, width = high - low
    return (float(cx), float(cy), float(length), float(width), float(angle)), bow


def _cut(polygon: NDArray, size: int) -> NDArray:
    """A convex polygon (n, 2) cut at the border of the picture."""
    for axis in (0, 1):
        for sign, limit in ((1, 0), (-1, -size)):
            inside = sign * polygon[:, axis] - limit
            points: list[NDArray] = []
            for index, point in enumerate(polygon):
                before, here = inside[index - 1], inside[index]
                if (before < 0) != (here < 0):
                    share = before / (before - here)
                    previous = polygon[index - 1]
                    points.append(previous + share * (point - previous))
                if here >= 0:
                    points.append(point)
            polygon = np.array(points)
    return polygon


def sirst_annotation(scene: InfraredScene, stem: str) -> str:
    """An XML file of SIRST-v2's ``bboxes``: one box a target, last pixels included."""
    size = len(scene.image)
    root = _tree('annotation', filename=stem)
    root.append(_tree('size', width=size, height=size, depth=1))
    for target in scene.targets:
        x1, y1, x2, y2 = target.box
        item = _tree('object', name='Target')
        item.append(_tree('bndbox', xmin=x1, ymin=y1, xmax=x2 - 1, ymax=y2 - 1))
        root.append(item)
    return _text(root)


def sirst_mask(scene: InfraredScene) -> NDArray[np.uint8]:
    """255 on the pixels of all targets, 0 elsewhere, (size, size)."""
    masks: Sequence[NDArray] = [target.mask for target in scene.targets]
    return 255 * np.any([np.zeros(scene.image.shape, bool), *masks], axis=0).astype(
        np.uint8
    )


def _tree(tag: str, **texts: Any) -> ElementTree.Element:
    root = ElementTree.Element(tag)
    for name, text in texts.items():
        ElementTree.SubElement(root, name).text = str(text)
    return root


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode') + '\n'
