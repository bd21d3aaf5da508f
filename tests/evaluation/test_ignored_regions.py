import numpy as np
import pytest

from aerialkd.evaluation.ignored_regions import in_ignored_regions

SHAPE = (100, 120)


def outside(box: list, regions: list) -> bool:
    return not in_ignored_regions(
        np.array([box], float), np.array(regions, float), SHAPE
    )[0]


@pytest.mark.parametrize(
    ('region', 'dropped'),
    [
        ([20, 0, 60, 60], True),  # covers x 20..30 of 10..30: exactly half
        ([21, 0, 60, 60], True),  # the toolkit's regions begin one pixel earlier
        ([22, 0, 60, 60], False),  # 9 of 20 columns
        ([5, 0, 20, 60], True),  # their right ends are as given: exactly half
        ([5, 0, 19, 60], False),
        ([0, 0, 19, 60], True),  # but a region at 0 is moved to the first pixel, 1
        ([0, 0, 18, 60], False),
        ([0, 20, 60, 60], True),
        ([0, 22, 60, 60], False),
        ([0, 0, 120, 100], True),
        ([60, 60, 90, 90], False),
    ],
)
def test_half_of_the_area_is_enough(region: list, dropped: bool) -> None:
    assert outside([10, 10, 30, 30], [region]) is not dropped


def test_union_counts_overlapping_regions_once() -> None:
    box = [10, 10, 30, 30]
    assert outside(box, [[10, 10, 18, 30], [10, 10, 18, 30]])
    assert not outside(box, [[10, 10, 18, 30], [28, 10, 40, 30]])


def test_nothing_to_do() -> None:
    none = np.zeros((0, 4))
    assert in_ignored_regions(none, np.array([[0.0, 0, 9, 9]]), SHAPE).shape == (0,)
    assert not in_ignored_regions(np.array([[0.0, 0, 9, 9]]), none, SHAPE).any()


def pixel_by_pixel(box: np.ndarray, regions: np.ndarray) -> bool:
    """The toolkit's rule on sets of pixels counted from 1."""

    def whole(b: np.ndarray) -> list[int]:
        values = [b[0], b[1], b[2] - b[0], b[3] - b[1]]
        return [max(1, int(np.floor(v + 0.5))) for v in values]

    height, width = SHAPE
    ignored = set()
    for x, y, w, h in map(whole, regions):
        ignored |= {
            (i, j)
            for i in range(x, min(width, x + w) + 1)
            for j in range(y, min(height, y + h) + 1)
        }
    x, y, w, h = whole(box)
    x, y = min(x, width), min(y, height)
    inside = sum(
        (i, j) in ignored
        for i in range(x + 1, min(width, x + w) + 1)
        for j in range(y + 1, min(height, y + h) + 1)
    )
    return not inside / (w * h) < 0.5


@pytest.mark.parametrize('seed', range(5))
def test_agrees_with_the_rule_on_sets_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-5, 110, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 40, (60, 2))], axis=1)
    starts = rng.integers(0, 60, (3, 2))
    regions = np.concatenate([starts, starts + rng.integers(1, 60, (3, 2))], axis=1)
    expected = [pixel_by_pixel(box, regions) for box in boxes]
    assert 0 < sum(expected) < 60
    assert in_ignored_regions(boxes, regions, SHAPE).tolist() == expected
