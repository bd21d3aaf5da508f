"""Where a config's training lands."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from aerialkd.cli import add_runner_arguments, load_config, read_config
from aerialkd.engine.work_dir import sets_work_dir
from tests.shipped import CONFIGS, ROOT

STUDENT = "work_dir = 'runs/demo/student'\n"
BASE = "_base_ = './student.py'\n"
LAZY = 'from mmengine.config import read_base\nwith read_base():\n    '


def write(folder: Path, text: str, name: str = 'pkd.py') -> Path:
    (folder / 'student.py').write_text(STUDENT)
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (BASE, 'runs/demo/pkd'),
        (f'{BASE}model = dict(work_dir=1)\n', 'runs/demo/pkd'),
        (f"{BASE}def folder():\n    work_dir = 'x'\n", 'runs/demo/pkd'),
        (f"{BASE}names = [work_dir for work_dir in 'ab']\n", 'runs/demo/pkd'),
        (f"{BASE}name = {{{{_base_.work_dir}}}} + '/x'\n", 'runs/demo/pkd'),
        ('', 'work_dirs/pkd'),
        (f'{BASE}work_dir = None\n', 'work_dirs/pkd'),
        (f"{BASE}work_dir = 'here/mine'\n", 'here/mine'),
        (f"{BASE}work_dir: str = 'here/mine'\n", 'here/mine'),
        (f"{BASE}seed, work_dir = 0, 'here/mine'\n", 'here/mine'),
        (f"{BASE}if True:\n    work_dir = 'here/mine'\n", 'here/mine'),
        (f"{BASE}_base_.work_dir = 'here/mine'\n", 'here/mine'),
        (f"{BASE}_base_['work_dir'] = 'here/mine'\n", 'here/mine'),
        (f'{BASE}work_dir = _base_.work_dir\n', 'runs/demo/student'),
        (f"{BASE}work_dir = 'x/{{{{ fileBasenameNoExtension }}}}'\n", 'x/pkd'),
        (f'{LAZY}from .student import *\n', 'runs/demo/pkd'),
        (f'{LAZY}from .student import work_dir\n', 'runs/demo/pkd'),
        (f"{LAZY}from .student import *\nwork_dir = 'here/mine'\n", 'here/mine'),
        (f'{LAZY}from .student import work_dir as folder\n', 'work_dirs/pkd'),
    ],
)
def test_of_a_python_file(text, expected, tmp_path):
    assert read_config(write(tmp_path, text)).work_dir == expected


@pytest.mark.parametrize(
    ('name', 'text', 'expected'),
    [
        ('pkd.yaml', "_base_: ./student.py\nmodel: {work_dir: x}\n", 'runs/demo/pkd'),
        ('pkd.yaml', '_base_: ./student.py\nwork_dir: here/mine\n', 'here/mine'),
        ('pkd.yaml', "work_dir: 'x/{{ fileBasenameNoExtension }}'\n", 'x/pkd'),
        ('pkd.json', '{"_base_": "./student.py", "a": {"work_dir": "x"}}',
         'runs/demo/pkd'),
        ('pkd.json', '{"_base_": "./student.py", "work_dir": "here/mine"}',
         'here/mine'),
        ('pkd.json', '{"seed": {{$SEED:3}}}', 'work_dirs/pkd'),
    ],
)  # fmt: skip
def test_of_a_file_of_data(name, text, expected, tmp_path):
    assert read_config(write(tmp_path, text, name)).work_dir == expected


def test_through_several_files(tmp_path):
    write(tmp_path, BASE)
    (tmp_path / 'more.py').write_text("_base_ = './pkd.py'\nmodel = dict(a=1)\n")
    assert read_config(tmp_path / 'more.py').work_dir == 'runs/demo/more'
    (tmp_path / 'runtime.py').write_text("work_dir = 'runs'\n")
    (tmp_path / 'mine.py').write_text("_base_ = './runtime.py'\n")
    assert read_config(tmp_path / 'mine.py').work_dir == 'mine'


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ([], 'runs/demo/pkd'),
        (['--cfg-options', 'work_dir=there/x'], 'there/x'),
        (['--cfg-options', 'work_dir=2026'], '2026'),
        (['--cfg-options', 'work_dir=None'], 'work_dirs/pkd'),
        (['--work-dir', 'here', '--cfg-options', 'work_dir=there'], 'here'),
    ],
)
def test_the_command_line_decides(options, expected, tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_runner_arguments(parser)
    args = parser.parse_args([str(write(tmp_path, BASE)), *options])
    assert load_config(args).work_dir == expected


def test_shipped_configs_have_folders_of_their_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    stating = {path for path in CONFIGS if sets_work_dir(path)}
    # Where something states it, it is needed: the rule gives something else.
    assert {path.stem.split('_')[-1] for path in stating} == {'student', 'teacher'}
    assert len(stating) < 10
    assert not any(map(sets_work_dir, Path('configs/_base_').rglob('*.py')))
    # Those of all other folders inherit none.
    parts = {path.parts[1] for path in stating}
    paths = [path for path in CONFIGS if path.parts[1] in parts]
    folders = {path: read_config(path).work_dir for path in paths}
    assert all(Path(folder).name == path.stem for path, folder in folders.items())
    assert all(len(Path(folder).parts) == 3 for folder in folders.values())
    assert len(set(folders.values())) == len(paths) > 70
