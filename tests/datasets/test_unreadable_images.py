"""An image that cannot be read is named; no other one takes its place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch.utils.data import DataLoader

from aerialkd.cli import one_line_errors
from aerialkd.datasets import VisDroneDataset
from aerialkd.datasets.checking import check_dataset
from aerialkd.errors import AnnotationError
from aerialkd.registry import DATASETS
from tests.miniatures import write_visdrone

IMAGES = {f'{stem}.jpg': ['1,2,10,12,1,4,0,0'] for stem in 'abcd'}
LOAD = {'type': 'mmdet.LoadImageFromFile'}


class RefuseImage:
    """Refuses some images, as RandomCrop does when no object is in the crop."""

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused

    def __call__(self, results: dict) -> dict | None:
        return None if results['file_name'] in self.refused else results


class Broken:
    """A transform with a defect of its own."""

    def __call__(self, results: dict) -> dict:
        raise KeyError('no such key')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_visdrone(tmp_path, IMAGES)


def build(root: Path, *steps: Any, **options: Any) -> VisDroneDataset:
    return DATASETS.build(
        {
            'type': 'aerialkd.VisDroneDataset',
            'data_root': str(root),
            'pipeline': [LOAD, *steps],
            'serialize_data': False,  # else half a second to collect garbage
            **options,
        }
    )


def spoil(root: Path, kept: int = 200) -> Path:
    image = root / 'images' / 'b.jpg'
    image.write_bytes(image.read_bytes()[:kept])
    return image


@pytest.mark.parametrize(
    ('kept', 'kind'),
    [(0, 'not a readable image'), (10, 'not a readable image'), (-2, 'truncated')],
)
def test_found_on_reading_the_list(root: Path, kept: int, kind: str, caplog) -> None:
    image = spoil(root, kept)
    with pytest.raises(AnnotationError, match=f'b.jpg: {kind}'):
        build(root)
    with caplog.at_level(logging.WARNING, logger='mmengine'):
        dataset = build(root, bad_annotations='skip')
    assert (dataset.num_bad_images, dataset.num_bad_annotations) == (1, 0)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['file_name'] for info in infos] == ['a.jpg', 'c.jpg', 'd.jpg']
    assert [info['img_id'] for info in infos] == [0, 1, 2]
    assert build(write_visdrone(root, IMAGES)).num_bad_images == 0
    spoil(root, kept)
    (defect,) = check_dataset('visdrone', root, progress=False).defects
    assert str(defect).startswith(f'{image}: {kind}')


def test_skipped_images_are_logged(root: Path, monkeypatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        'aerialkd.datasets.native.print_log', lambda text, **_: lines.append(text)
    )
    spoil(root)
    build(root, bad_annotations='skip')
    (line,) = lines
    assert line.startswith(f'1 bad images of {root}/images were left out, first: ')
    assert f'{root}/images/b.jpg: ' in line


@pytest.mark.parametrize('options', [{}, {'test_mode': True}])
@pytest.mark.parametrize('ignore_empty', [False, True])
def test_spoilt_after_reading_the_list(
    root: Path, options: dict, ignore_empty: bool
) -> None:
    dataset = build(root, **options)
    dataset.pipeline.transforms[0].ignore_empty = ignore_empty
    spoil(root)
    for _ in range(5):
        with pytest.raises(AnnotationError, match=r'b\.jpg: not a readable image'):
            dataset[1]
    (root / 'images' / 'b.jpg').unlink()
    with pytest.raises(AnnotationError, match=r'b\.jpg: not a readable image'):
        dataset[1]
    assert dataset[0]['file_name'] == 'a.jpg'


def test_refused_crop_is_replaced(root: Path) -> None:
    dataset = build(root, RefuseImage({'a.jpg', 'b.jpg', 'c.jpg'}))
    assert {dataset[1]['file_name'] for _ in range(5)} == {'d.jpg'}


def test_image_that_only_pillow_decodes_is_not_replaced(root: Path) -> None:
    dataset = build(root)
    dataset.pipeline.transforms[0].ignore_empty = True
    Image.new('RGB', (64, 48)).save(root / 'images' / 'b.jpg', 'PCX')
    with pytest.raises(AnnotationError, match=r'b\.jpg: not a readable image: got a P'):
        dataset[1]


def test_other_errors_pass(root: Path) -> None:
    with pytest.raises(KeyError, match='no such key'):
        build(root, Broken())[1]


def test_one_line_from_a_worker(root: Path, capsys) -> None:
    dataset = build(root)
    image = spoil(root)

    @one_line_errors
    def main() -> None:
        for _ in DataLoader(dataset, num_workers=1, collate_fn=list):
            pass

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f'error: {image}: not a readable image: got ')
    assert message.endswith('together with its annotation.\n')
    assert message.count('\n') == 1
