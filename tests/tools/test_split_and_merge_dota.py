"""From scenes to tiles and back with the two tools."""

import importlib.util
import sys
from pathlib import Path

import pytest

from aerialkd.datasets.dota_format import CLASSES
from aerialkd.evaluation.task1 import read_task1, write_task1
from tests.dota_scenes import as_detections, line, rectangle, write_scenes

ROOT = Path(__file__).parents[2]
SHIPS = [line(rectangle(x, 40, 12, 5, x)) for x in range(10, 100, 16)]


@pytest.fixture
def run(monkeypatch):
    """Runs a tool as the command line does."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        module.main()

    return run


@pytest.fixture
def source(tmp_path) -> Path:
    return write_scenes(tmp_path / 'in', {'P1': SHIPS, 'P2': []})


def test_there_and_back(run, source, tmp_path, capsys):
    out, size = tmp_path / 'tiles', ('--sizes', 40, '--gaps', 20)
    run('split_dota', source, '--out', out, *size)
    assert 'tiles: complete\n2 scenes, 24 tiles; ' in capsys.readouterr().out
    run('split_dota', source, '--out', out, '--verify-only')
    assert '2 scenes, 24 tiles; ' in capsys.readouterr().out
    tiles = [
        as_detections(out, label.stem, (40, 40)) for label in out.glob('labelTxt/*')
    ]
    write_task1(tmp_path / 'found', tiles, CLASSES['1.0'])
    run('merge_dota', tmp_path / 'found', '--out', tmp_path / 'merged', '--zip')
    written = capsys.readouterr().out.splitlines()
    count = sum(len(t.scores) for t in tiles)
    assert f'ship{count:28}{6:12}' in written
    assert f'total{count:27}{6:12}' in written
    assert written[-1] == f'{tmp_path}/merged.zip'
    assert (tmp_path / 'merged.zip').is_file()
    (scene,) = read_task1(tmp_path / 'merged', CLASSES['1.0'])
    assert (scene.name, len(scene.boxes)) == ('P1', 6)


def test_options_arrive(run, source, tmp_path, capsys):
    run(
        *('split_dota', source, '--out', tmp_path / 'tiles', '--sizes', 40, 64),
        *('--gaps', 20, 10, '--version', '2.0', '--kept-share', 0.4, '--cut', 'whole'),
        *('--small-parts', 'difficult', '--empty-tiles', 'drop'),
        *('--image-format', 'jpg', '--bad-annotations', 'skip'),
    )
    manifest = (tmp_path / 'tiles/tiles.json').read_text()
    for text in ('"2.0"', '0.4', '"whole"', '"difficult"', '"drop"', '"jpg"', '"skip"'):
        assert text in manifest
    run('split_dota', source, '--out', tmp_path / 'images', '--no-labels')
    assert not (tmp_path / 'images/labelTxt').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('split_dota', '{in}', '--out', '{in}'), 'not made here'),
        (
            ('split_dota', '{in}', '--out', '{new}', '--verify-only'),
            'no finished tiles',
        ),
        (('merge_dota', '{in}', '--out', '{new}'), 'Task1 files of other classes'),
        (('merge_dota', '{in}', '--out', '{in}'), 'expected another folder'),
    ],
)
def test_mistakes_are_one_line(run, source, tmp_path, capsys, arguments, message):
    places = {'in': str(source), 'new': str(tmp_path / 'new')}
    with pytest.raises(SystemExit) as stop:
        run(*(text.format(**places) for text in arguments))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1
