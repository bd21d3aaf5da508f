import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from mmrotate.datasets import DOTADataset, HRSCDataset

from aerialkd.datasets import VisDroneDataset
from aerialkd.datasets.made import layouts as module
from aerialkd.datasets.made import make_data
from aerialkd.errors import ConfigError


def make(out: Path, layout: str = 'visdrone', **changes) -> Path:
    options = {'images': 4, 'size': 64, 'seed': 0, 'progress': False, **changes}
    return make_data(layout, out, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def test_native_layout_that_our_data_set_reads(tmp_path: Path) -> None:
    out = make(tmp_path / 'demo', images=8)
    for split, number in (('train', 6), ('val', 2)):
        dataset = VisDroneDataset(data_root=out / split)
        assert len(dataset) == number
        assert all(dataset.get_data_info(i)['width'] == 64 for i in range(number))
        assert sum(len(dataset.get_cat_ids(i)) for i in range(number)) > number


def test_mmrotate_reads_made_dota(tmp_path: Path) -> None:
    out = make(tmp_path / 'dota', 'dota', images=8, size=128)
    for split, number in (('train', 6), ('val', 2)):
        dataset = DOTADataset(
            data_root=str(out / split),
            ann_file='labelTxt/',
            data_prefix={'img_path': 'images'},
            filter_cfg={'filter_empty_gt': False},
        )
        assert len(dataset) == number
        for index in range(number):
            info = dataset.get_data_info(index)
            assert cv2.imread(info['img_path']).shape == (128, 128, 3)
            assert info['instances']
            boxes = np.array([instance['bbox'] for instance in info['instances']])
            middles = boxes.reshape(-1, 4, 2).mean(axis=1)
            assert 0 <= middles.min() <= middles.max() <= 128


def test_mmrotate_reads_made_hrsc2016(tmp_path: Path) -> None:
    out = make(tmp_path / 'hrsc2016', 'hrsc2016', images=8, size=128)
    for split, number in (('trainval', 6), ('train', 4), ('val', 2), ('test', 2)):
        dataset = HRSCDataset(
            data_root=str(out),
            ann_file=f'ImageSets/{split}.txt',
            data_prefix={'sub_data_root': 'FullDataSet/'},
            filter_cfg={'filter_empty_gt': False},
        )
        assert len(dataset) == number
        for index in range(number):
            info = dataset.get_data_info(index)
            assert cv2.imread(info['img_path']).shape == (128, 128, 3)
            assert info['instances']


def test_made_infrared_has_boxes_masks_and_lists(tmp_path: Path) -> None:
    out = make(tmp_path / 'infrared', 'infrared', images=8, size=96)
    lists = {
        name: (out / f'splits/{name}_v1fullv2target.txt').read_text().split()
        for name in ('train', 'val', 'trainval')
    }
    assert lists['trainval'] == lists['train'] + lists['val']
    assert [len(names) for names in lists.values()] == [6, 2, 8]
    for stem in lists['trainval']:
        image = cv2.imread(str(out / f'images/targets/{stem}.png'), -1)
        mask = cv2.imread(str(out / f'annotations/masks/{stem}_pixels0.png'), -1)
        assert image.shape == mask.shape == (96, 96)
        tree = ElementTree.parse(out / f'annotations/bboxes/{stem}.xml')
        boxes = np.zeros_like(mask)
        for box in tree.iter('bndbox'):
            x1, y1, x2, y2 = (int(value.text) for value in box)
            window = (slice(y1, y2 + 1), slice(x1, x2 + 1))
            assert mask[window].any()
            boxes[window] = 255
        assert not (mask & ~boxes).any(), 'every pixel of a target is in a box'


@pytest.mark.parametrize('layout', module.LAYOUTS)
def test_same_seed_same_files(tmp_path: Path, layout: str) -> None:
    first, again = (contents(make(tmp_path / name, layout)) for name in 'ab')
    assert first == again
    other = contents(make(tmp_path / 'c', layout, seed=1))
    assert first.keys() == other.keys()
    pictures = [name for name in first if name.endswith(('.jpg', '.png', '.bmp'))]
    assert len(pictures) >= 4
    assert all(first[name] != other[name] for name in pictures if 'masks' not in name)


def test_complete_data_is_left_alone(tmp_path: Path, monkeypatch) -> None:
    out = make(tmp_path / 'demo')
    before = contents(out)
    layout = replace(module.LAYOUTS['visdrone'], render=None, files=None)
    monkeypatch.setitem(module.LAYOUTS, 'visdrone', layout)
    assert contents(make(out)) == before


@pytest.mark.parametrize('name', module.LAYOUTS)
def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch, name: str) -> None:
    complete = contents(make(tmp_path / 'whole', name))
    out, calls, render = tmp_path / 'demo', [], module.LAYOUTS[name].render

    def failing(rng, size):
        calls.append(size)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(rng, size)

    layout = replace(module.LAYOUTS[name], render=failing)
    monkeypatch.setitem(module.LAYOUTS, name, layout)
    with pytest.raises(KeyboardInterrupt):
        make(out, name)
    assert json.loads((out / 'made.json').read_text())['complete'] is False
    assert contents(make(out, name)) == complete
    assert len(calls) == 3 + 2, 'the two images that were there are not made again'


@pytest.mark.parametrize('change', [{'seed': 1}, {'images': 5}, {'size': 80}])
def test_other_parameters_are_an_error(tmp_path: Path, change: dict) -> None:
    out = make(tmp_path / 'demo')
    with pytest.raises(ConfigError, match=rf'choose another --out, .*: rm -r {out}'):
        make(out, **change)


def test_foreign_folders_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ConfigError, match='got something that was not made here'):
        make(tmp_path)
    (tmp_path / 'made.json').write_text('[]')
    with pytest.raises(ConfigError, match=r'made\.json: not a manifest'):
        make(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'images': 3}, 'images: got 3, expected at least 4'),
        ({'size': 32}, 'size: got 32, expected at least 64'),
        ({'seed': -1}, 'seed: got -1'),
    ],
)
def test_arguments(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / 'demo', **changes)
    with pytest.raises(
        ConfigError, match="layout: got 'coco', expected one of visdrone"
    ):
        make_data('coco', tmp_path / 'demo', 4, 64)


def test_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    tool = Path(__file__).parents[3] / 'tools' / 'make_demo_data.py'

    def run(images: str) -> None:
        arguments = [
            '--out',
            str(tmp_path / 'demo'),
            '--size',
            '64',
            '--images',
            images,
        ]
        monkeypatch.setattr(sys, 'argv', [str(tool), *arguments])
        runpy.run_path(str(tool), run_name='__main__')

    run('4')
    assert json.loads((tmp_path / 'demo' / 'made.json').read_text())['complete'] is True
    assert '100%' in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        run('5')
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f'error: {tmp_path}/demo: got images of')
    assert len(message.splitlines()) == 1
