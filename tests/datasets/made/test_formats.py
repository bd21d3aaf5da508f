"""Annotation files of made pictures, field by field."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from mmrotate.structures.bbox import rbox2qbox

from aerialkd.datasets.made.formats import (
    dota_annotation,
    hrsc_annotation,
    sirst_annotation,
    sirst_mask,
    visdrone_annotation,
)
from aerialkd.datasets.made.infrared import InfraredScene, Target
from aerialkd.datasets.made.scene import Scene, SceneObject

SIZE = 100


def rectangle(cx: float, cy: float, length: float, width: float, heading: float):
    """Corners as SceneObject has them: the front edge is second to third."""
    forward = np.array([np.cos(heading), np.sin(heading)])
    right = np.array([-forward[1], forward[0]])
    half = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array(
        [
            np.array([cx, cy]) + a * length / 2 * forward + b * width / 2 * right
            for a, b in half
        ]
    )


def scene(*objects: SceneObject, ignored: tuple = ()) -> Scene:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    return Scene(image, list(objects), list(ignored))


def ship(corners, occlusion: float = 0, truncation: float = 0) -> SceneObject:
    low, high = np.clip([corners.min(0), corners.max(0)], 0, SIZE).astype(int)
    return SceneObject('ship', (*low, *high), corners, occlusion, truncation)


def test_visdrone() -> None:
    def item(name: str, box: tuple, occlusion: float, truncation: float) -> SceneObject:
        return SceneObject(name, box, None, occlusion, truncation)

    made = scene(
        item('pedestrian', (1, 2, 4, 6), 0.04, 0),
        item('motor', (10, 20, 40, 60), 0.3, 0.2),
        item('bus', (0, 0, 9, 9), 0.6, 0),
        ignored=((5, 5, 25, 15),),
    )
    assert visdrone_annotation(made).splitlines() == [
        '1,2,3,4,1,1,0,0',
        '10,20,30,40,1,10,1,1',
        '0,0,9,9,1,9,0,2',
        '5,5,20,10,0,0,0,0',
    ]


def test_dota_starts_front_left_and_goes_clockwise() -> None:
    # Heading right: the front is on the right, its left side above.
    text = dota_annotation(scene(ship(rectangle(50, 40, 20, 10, 0))))
    assert text.splitlines() == [
        '60.0 35.0 60.0 45.0 40.0 45.0 40.0 35.0 ship 0',
    ]


@pytest.mark.parametrize(
    ('item', 'difficult'),
    [
        (ship(rectangle(50, 50, 20, 10, 1)), 0),
        (ship(rectangle(50, 50, 20, 3, 1)), 1),
        (ship(rectangle(50, 50, 20, 10, 1), occlusion=0.6), 1),
        (ship(rectangle(2, 50, 20, 10, 0), truncation=0.4), 1),
    ],
)
def test_dota_marks_what_is_difficult_and_stays_inside(item, difficult: int) -> None:
    (line,) = dota_annotation(scene(item)).splitlines()
    *numbers, name, flag = line.split()
    assert (name, flag) == ('ship', str(difficult))
    points = np.array(numbers, float).reshape(4, 2)
    assert points.min() >= 0, 'only what can be seen is annotated'
    front, back = points[:2].mean(0), points[2:].mean(0)
    right, left = points[1:3].mean(0), points[[0, 3]].mean(0)
    heading = item.corners[1] - item.corners[0]
    length = np.linalg.norm(front - back) * np.linalg.norm(heading)
    assert (front - back) @ heading == pytest.approx(length, rel=0.01)
    to_the_right = np.array([-heading[1], heading[0]])  # y points down
    assert (right - left) @ to_the_right > 0


def hrsc_fields(item: SceneObject) -> dict[str, float]:
    root = ElementTree.fromstring(hrsc_annotation(scene(item), '100000001'))
    assert root.findtext('Img_SizeWidth') == str(SIZE)
    (found,) = root.iter('HRSC_Object')
    return {child.tag: float(child.text) for child in found}


@pytest.mark.parametrize('heading', np.linspace(-np.pi, np.pi, 9) + 0.05)
def test_hrsc_box_has_length_width_and_a_bow(heading: float) -> None:
    corners = rectangle(50, 45, 40, 8, heading)
    fields = hrsc_fields(ship(corners))
    names = ('mbox_cx', 'mbox_cy', 'mbox_w', 'mbox_h', 'mbox_ang')
    box = [fields[name] for name in names]
    assert box[2:4] == pytest.approx([40, 8], abs=1e-3)
    assert -np.pi / 2 <= box[4] < np.pi / 2
    # As mmrotate's HRSCDataset makes corners of these five numbers.
    points = rbox2qbox(torch.tensor([box])).reshape(4, 2).numpy()
    distances = np.linalg.norm(points[:, None] - corners[None], axis=-1)
    assert distances.min(1) == pytest.approx(0, abs=1e-2)
    bow = (50 + 20 * np.cos(heading), 45 + 20 * np.sin(heading))
    assert (fields['header_x'], fields['header_y']) == pytest.approx(bow, abs=0.51)
    assert fields['truncated'] == fields['difficult'] == 0


def test_hrsc_box_ends_at_the_border_of_the_picture() -> None:
    corners = rectangle(5, 50, 40, 8, 0)
    fields = hrsc_fields(ship(corners, truncation=0.4))
    assert fields['truncated'] == 1
    assert (fields['mbox_cx'], fields['mbox_w']) == pytest.approx((12.5, 25))
    assert (fields['box_xmin'], fields['box_xmax']) == (0, 25)


def test_sirst_boxes_include_their_last_pixel() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:23, 10:14] = True
    made = InfraredScene(
        np.zeros((SIZE, SIZE), np.uint8), [Target('drone', (10, 20, 14, 23), mask)]
    )
    root = ElementTree.fromstring(sirst_annotation(made, 'Misc_1'))
    assert root.findtext('filename') == 'Misc_1'
    assert root.findtext('object/name') == 'Target'
    (box,) = root.iter('bndbox')
    numbers = {child.tag: int(child.text) for child in box}
    assert numbers == {'xmin': 10, 'ymin': 20, 'xmax': 13, 'ymax': 22}
    assert (sirst_mask(made) == 255 * mask).all()
    none = InfraredScene(made.image, [])
    assert not sirst_mask(none).any()
