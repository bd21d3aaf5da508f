import json
import runpy
import sys
from pathlib import Path

import pytest

from aerialkd.datasets import VisDroneDataset
from aerialkd.datasets.made import layouts as module
from aerialkd.datasets.made import make_data, render_scene
from aerialkd.datasets.made.layouts import visdrone_annotation
from aerialkd.datasets.made.scene import Scene, SceneObject
from aerialkd.errors import ConfigError


def make(out: Path, **changes) -> Path:
    options = {'images': 4, 'size': 64, 'seed': 0, 'progress': False, **changes}
    return make_data('visdrone', out, **options)


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


def test_same_seed_same_files(tmp_path: Path) -> None:
    first, again = contents(make(tmp_path / 'a')), contents(make(tmp_path / 'b'))
    assert first == again
    other = contents(make(tmp_path / 'c', seed=1))
    assert first['train/images/0000000.jpg'] != other['train/images/0000000.jpg']


def test_complete_data_is_left_alone(tmp_path: Path, monkeypatch) -> None:
    out = make(tmp_path / 'demo')
    before = contents(out)
    monkeypatch.setitem(module.LAYOUTS, 'visdrone', None)
    assert contents(make(out)) == before


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch) -> None:
    complete = contents(make(tmp_path / 'whole'))
    out, calls = tmp_path / 'demo', []

    def failing(rng, size):
        calls.append(size)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render_scene(rng, size)

    monkeypatch.setattr(module, 'render_scene', failing)
    with pytest.raises(KeyboardInterrupt):
        make(out)
    assert contents(make(out)) == complete
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


def test_annotation_text() -> None:
    def item(name: str, box: tuple, occlusion: float, truncation: float) -> SceneObject:
        return SceneObject(name, box, None, occlusion, truncation)

    scene = Scene(
        image=None,
        objects=[
            item('pedestrian', (1, 2, 4, 6), 0.04, 0),
            item('motor', (10, 20, 40, 60), 0.3, 0.2),
            item('bus', (0, 0, 9, 9), 0.6, 0),
        ],
        ignored=[(5, 5, 25, 15)],
    )
    assert visdrone_annotation(scene).splitlines() == [
        '1,2,3,4,1,1,0,0',
        '10,20,30,40,1,10,1,1',
        '0,0,9,9,1,9,0,2',
        '5,5,20,10,0,0,0,0',
    ]


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
