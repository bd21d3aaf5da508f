"""Which objects count as gained, and which part of an image is drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from aerialkd.errors import ConfigError
from aerialkd.visualization.gains import find_gains, gains_sheet
from tests.finished import CAR, MOTOR, evaluation

# Three small objects on the left, one small on the right, one large below.
OBJECTS = [
    [10.0, 10, 20, 20],
    [30, 10, 40, 22],
    [10, 40, 24, 50],
    [170, 10, 180, 20],
    [60, 80, 170, 190],
]


def run(found, path='a.png', wrong=()):
    """A detector that finds the given objects, with wrong classes where stated."""
    boxes = [
        (tuple(side + 0.5 for side in OBJECTS[i]), MOTOR if i in wrong else CAR)
        for i in found
    ]
    result = evaluation({}, [(tuple(box), CAR) for box in OBJECTS], boxes)
    image = replace(result.images[0], path=str(path), size=(200, 200))
    return replace(result, images=(image,))


def test_counts_what_one_detector_alone_finds():
    gains = find_gains(run([0, 3, 4]), run([0, 1, 2, 4]), side=64)
    assert (gains.objects, gains.before, gains.after) == (4, 2, 3)
    assert (gains.gained, gains.lost) == (2, 1)
    [window] = gains.windows
    # Both gains fit into one window, the loss lies elsewhere.
    assert (window.gained, window.lost) == (2, 0)
    assert all(0 <= low <= 200 - 64 for low in window.low)
    assert gains.summary('small') == (
        '4 small objects in the test images: 2 found before, 3 after; 2 gained, 1 lost.'
    )


def test_sizes_are_cocos():
    before, after = run([0]), run([0, 4])
    assert find_gains(before, after, 'small').gained == 0
    assert find_gains(before, after, 'large').gained == 1
    assert find_gains(before, after, 'all').objects == 5
    assert find_gains(before, after, 'medium').objects == 0


def test_another_class_is_not_found():
    gains = find_gains(run([0]), run([0, 1], wrong=[1]))
    assert gains.gained == 0
    assert gains.windows == []


def test_images_with_the_largest_gain_come_first():
    def two(first, second):
        one, other = run(first), run(second, 'b.png')
        return replace(one, images=one.images + other.images)

    gains = find_gains(two([0], [0]), two([0, 1], [0, 1, 2]), windows=1)
    assert [w.path for w in gains.windows] == ['b.png']
    assert gains.gained == 3


def test_draws_pairs(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((200, 200, 3), 90, np.uint8))
    before, after = (run(x, tmp_path / 'a.png') for x in ([0], [0, 1, 2]))
    gains = find_gains(before, after, side=64)
    sheet = gains_sheet(gains, ('alone', 'taught'), 'small')
    blue, yellow = (
        (sheet == color).all(-1) for color in ((233, 180, 86), (66, 228, 240))
    )
    left = np.arange(sheet.shape[1]) < sheet.shape[1] // 2
    # The left half misses two of three, the right half none.
    assert blue[:, left].any()
    assert yellow[:, left].any()
    assert blue[:, ~left].sum() > 2 * blue[:, left].sum()
    assert not yellow[:, ~left].any()
    nothing = gains_sheet(find_gains(before, before), ('a', 'b'), 'small')
    assert nothing.shape[2] == 3


def test_refuses_what_cannot_be_compared():
    with pytest.raises(ConfigError, match='other images'):
        find_gains(run([0]), run([0], 'b.png'))
    with pytest.raises(ConfigError, match='size'):
        find_gains(run([0]), run([0]), 'tiny')
    with pytest.raises(ConfigError, match='side'):
        find_gains(run([0]), run([0]), side=0)
