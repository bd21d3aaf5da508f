"""Whatever stands in a file: the package's own errors, or finite boxes of classes."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from aerialkd.datasets.checking import check_dataset
from aerialkd.datasets.images import check_image, read_image, read_image_size
from aerialkd.errors import AnnotationError
from tests.datasets.test_defects import (
    BAD_FILES,
    CAR,
    FRIGATE,
    PLANE,
    READERS,
    SHIP,
    TUG,
    build,
    write,
)
from tests.miniatures import hrsc_xml

FILES = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    # Shrinking a failure takes minutes; the file is small as it is.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VALID = {
    'visdrone': f'{CAR}\n30,20,8,6,1,9,0,1,\n40,30,20,16,0,0,0,0\n',
    'dota': f'imagesource:GoogleEarth\ngsd:0.1\n{SHIP}\n{PLANE}\n',
    'hrsc2016': hrsc_xml([FRIGATE, TUG]),
}
FIELD = {
    'visdrone': re.compile('([,\\n])'),
    'dota': re.compile('([ \\n])'),
    'hrsc2016': re.compile('([<>])'),
}
TOKENS = (
    *('nan', 'inf', '-inf', '1e400', '-1e308', '1e308', '1e-320', '0', '-1', '64', '4'),
    *('12', '1_0', '٣', '', ' ', ',', '\n', '\r', '\0', '\ufeff', '\x0c', 'ship', '<'),
    *('&', '&x;', '<!DOCTYPE x [', '<!--', ']]>', '</HRSC_Objects>', '<HRSC_Object>'),
    *('100000002', 'gsd:', '<mbox_w>', '"', '\u2028'),
)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> bytes:
    """A valid file with some pieces replaced, and now and then some bytes."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(TOKENS) | st.text(max_size=5))
        text = text[:start] + piece + text[end:]
    content = bytearray(text.encode('utf-8', 'surrogatepass'))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1]))):
        place = draw(st.integers(0, len(content)))
        content[place:place] = draw(st.binary(max_size=3))
    return bytes(content)


@st.composite
def fields_of(draw: st.DrawFn, layout: str) -> bytes:
    """A valid file of which some fields are others, its structure intact."""
    pieces = FIELD[layout].split(VALID[layout])
    places = [i for i, piece in enumerate(pieces) if piece[:1].isdigit()]
    # Mild ones leave the file as good as it was.
    new = st.sampled_from(['0', '1', '1.5', '4', '9'])
    if draw(st.booleans()):
        new = new | st.sampled_from(TOKENS) | st.floats().map(repr)
    for place in draw(st.lists(st.sampled_from(places), max_size=4)):
        pieces[place] = draw(new)
    return ''.join(pieces).encode()


def contents(layout: str) -> st.SearchStrategy[bytes]:
    text = VALID[layout]
    return (
        mutated(text)
        | mutated(text)
        | fields_of(layout)
        | st.text(max_size=60).map(lambda t: t.encode('utf-8', 'surrogatepass'))
        | st.binary(max_size=60)
    )


def sound(instances: list[dict[str, Any]], classes: int, sides: int) -> bool:
    return all(
        len(item['bbox']) == sides
        and all(map(math.isfinite, item['bbox']))
        and 0 <= item['bbox_label'] < classes
        and item['ignore_flag'] in (0, 1)
        for item in instances
    )


@pytest.mark.parametrize('layout', READERS)
def test_any_annotation_file(tmp_path: Path, layout: str) -> None:
    root = write(tmp_path, layout, b'')
    file = root / READERS[layout][2]
    outcomes = {'read': 0, 'skipped': 0, 'refused': 0}

    @FILES
    @given(contents(layout))
    @example(VALID[layout].encode())
    @example(next(iter(BAD_FILES[layout].values()))[0])
    def check(content: bytes) -> None:
        file.write_bytes(content)
        report = check_dataset(layout, root, workers=1, progress=False)
        assert all(str(d).startswith(str(file)) for d in report.defects)
        assert np.isfinite(report.statistics.sides).all()
        try:
            dataset = build(root, layout, bad_annotations='skip')
        except AnnotationError as error:
            refused = str(error)
            outcomes['refused'] += 1
        else:
            refused = ''
        if refused:
            (defect,) = report.defects
            assert str(defect) in refused
            with pytest.raises(AnnotationError):
                build(root, layout)
            return
        instances = dataset.get_data_info(0)['instances']
        sides = 4 if layout == 'visdrone' else 8
        assert sound(instances, len(dataset.metainfo['classes']), sides)
        assert dataset.num_bad_annotations == len(report.defects)
        if report.defects:
            outcomes['skipped'] += 1
            with pytest.raises(AnnotationError) as stop:
                build(root, layout)
            assert str(stop.value) == str(report.defects[0])
        else:
            outcomes['read'] += 1
            assert build(root, layout).get_data_info(0)['instances'] == instances

    check()
    # All three ways were taken, each often.
    assert min(outcomes.values()) > 10, outcomes


def picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


# Pillow warns of EXIF data that are damaged.
@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('form', ['jpeg', 'png', 'bmp'])
def test_any_image_file(tmp_path: Path, form: str, capfd) -> None:
    path, content = tmp_path / f'a.{form}', picture(form)
    outcomes = {'read': 0, 'refused': 0}

    @FILES
    @given(st.data())
    def check(data: st.DataObject) -> None:
        damaged = bytearray(content)
        # Half of the flips hit the header, where they matter.
        places = st.integers(0, len(content) - 1) | st.integers(0, 60)
        for place in data.draw(st.lists(places, max_size=4)):
            damaged[place] ^= data.draw(st.integers(1, 255))
        if data.draw(st.booleans()):
            del damaged[data.draw(st.integers(0, len(content))) :]
        path.write_bytes(damaged)
        for read in (read_image_size, read_image, check_image):
            try:
                read(path)
                outcomes['read'] += 1
            except AnnotationError as error:
                outcomes['refused'] += 1
                named = str(error).startswith(f'{path}: {error.kind}: got ')
                assert named, error  # noqa: PT017

    check()
    assert min(outcomes.values()) > 10, outcomes
