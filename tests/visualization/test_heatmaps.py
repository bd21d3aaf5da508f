import cv2
import numpy as np
import pytest

from aerialkd.visualization.heatmaps import Heat, colored, heat_sheet, percentiles


def grey(height, width):
    return np.full((height, width, 3), 128, np.uint8)


def test_colours_run_from_the_lower_to_the_upper_limit():
    values = np.array([[-9, 0, 1, 2, 9, np.nan, np.inf]], np.float32)
    ramp = cv2.applyColorMap(np.array([[0, 128, 255]], np.uint8), cv2.COLORMAP_VIRIDIS)
    low, middle, high = ramp[0].tolist()
    white = [255, 255, 255]
    got = colored(values, (0.0, 2.0), 'viridis')[0].tolist()
    assert got == [low, low, middle, high, high, white, white]
    flat = colored(np.ones((1, 1), np.float32), (1.0, 1.0), 'inferno')
    inferno = cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_INFERNO)
    assert np.array_equal(flat, inferno)


def test_limits_leave_out_the_ends_and_what_is_not_finite():
    first = np.arange(101, dtype=np.float32)
    assert percentiles(first) == (1.0, 99.0)
    assert percentiles(first, np.array([np.nan, np.inf], np.float32)) == (1.0, 99.0)
    low, high = percentiles(first, first + 101)
    assert low == pytest.approx(2, abs=0.1)
    assert high == pytest.approx(199, abs=0.1)
    assert percentiles(np.array([np.nan], np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize(('height', 'width'), [(48, 64), (600, 1000)])
def test_a_hot_cell_lies_over_its_place_in_the_image(height, width):
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    heats = [Heat(name, values, (0.0, 1.0), 'inferno') for name in 'abc']
    sheet = heat_sheet(grey(height, width), [('row', heats)], ['legend'])
    shown = 448 if width == 1000 else 256
    tall = round(height * shown / width)
    # The lower end of inferno is black and hides nothing of the grey; find the rest.
    hot = sheet[..., 1].astype(int) - sheet[..., 0] > 30
    rows, columns = np.nonzero(hot[-tall - 32 : -32, 8 : 8 + shown])
    assert rows.mean() == pytest.approx(tall * 3 / 8, abs=3)
    assert columns.mean() == pytest.approx(shown * 5 / 8, abs=3)
    assert len(rows) == pytest.approx(tall * shown / 16, rel=0.05)


def test_columns_rows_and_legend_make_room():
    values = np.eye(4, dtype=np.float32)
    heat, empty = Heat('a', values, (0.0, 1.0)), Heat('b', None, (0.0, 0.0))

    def size(rows, columns, legend):
        heats = [('row', [heat, *[empty] * (columns - 1)])] * rows
        return heat_sheet(grey(64, 64), heats, legend).shape[:2]

    base = size(1, 1, ['legend'])
    assert size(1, 4, ['legend'])[1] == base[1] + 3 * 264
    assert size(3, 1, ['legend'])[0] > base[0] + 2 * 256
    assert size(1, 1, ['many words ' * 20])[0] > base[0] + 5 * 20
    assert size(1, 4, ['legend']) == size(
        1, 4, ['many words ' * 20]
    )  # beside the image


@pytest.mark.parametrize('place', ['caption', 'heading', 'legend'])
def test_long_words_are_shown_to_their_end(place):
    def drawn(word):
        texts = {'caption': 'a', 'heading': 'b', 'legend': 'c', place: word}
        heats = [Heat(texts['heading'], None, (0.0, 1.0))]
        return heat_sheet(grey(64, 64), [(texts['caption'], heats)], [texts['legend']])

    assert not np.array_equal(drawn('x' * 60 + 'I'), drawn('x' * 60 + 'M'))
