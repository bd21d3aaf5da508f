"""Which methods a pair has."""

from pathlib import Path

import pytest

from aerialkd.comparison.pairs import find_pair
from aerialkd.errors import ConfigError
from tests.comparison.miniature import write_pair

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_methods_of_a_demo_pair():
    pair = find_pair('demo_retinanet')
    assert pair.student == Path('configs/demo/retinanet_student.py')
    assert pair.teacher == Path('configs/demo/retinanet_teacher.py')
    assert pair.methods['pkd'] == Path('configs/demo/pkd_retinanet.py')
    assert 'rdr-kd-decoupled' in pair.methods  # from it by way of rdr-kd
    assert 'kd-rnet' not in pair.methods
    assert list(pair.methods) == sorted(pair.methods)


def test_other_students_are_no_methods():
    """LA and FA alone have no teacher; with it they are methods."""
    assert {'cskd', 'la-cskd'} <= set(find_pair('demo_zoom-retinanet').methods)
    assert 'la' not in find_pair('demo_zoom-retinanet').methods


def test_the_methods_of_a_full_size_pair_lie_with_the_methods():
    name = 'retinanet_r101-r18_fpn_1x_visdrone-512'
    pair = find_pair(name)
    assert pair.methods['pkd'] == Path(f'configs/pkd/pkd_{name}.py')
    assert pair.methods['rdr-kd'] == Path(f'configs/rdr_kd/rdr-kd_{name}.py')
    assert pair.student.name == 'retinanet_r18_fpn_1x_visdrone-512.py'
    assert pair.teacher.name == 'retinanet_r101_fpn_1x_visdrone-512.py'


def test_every_pair_names_files_that_are_there():
    for file in Path('configs/_base_/pairs').glob('*.py'):
        pair = find_pair(file.stem)
        assert all(config.is_file() for config in pair.configs.values())


def test_a_method_needs_the_pair_among_its_bases(tmp_path):
    pair = write_pair(tmp_path, tmp_path, methods=('pkd', 'copy'))
    assert list(pair.methods) == ['copy', 'pkd']
    stranger = tmp_path / 'configs/mini/stranger_retinanet.py'
    stranger.write_text("_base_ = './retinanet_student.py'\n")
    shipped = tmp_path / 'configs/mini/shipped_retinanet.py'
    shipped.write_text("_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n")
    assert list(find_pair(pair.name, tmp_path / 'configs').methods) == ['copy', 'pkd']


def test_teacher_and_student_always_take_part():
    pair = find_pair('demo_rotated-retinanet')
    assert pair.chosen(['kd-rnet']) == ['teacher', 'student alone', 'kd-rnet']
    assert pair.chosen(['all'])[2:] == list(pair.methods)


def test_unknown_names_are_told_with_those_that_exist():
    with pytest.raises(ConfigError, match=r'--pair: got no, expected.*demo_retinanet'):
        find_pair('no')
    pair = find_pair('demo_rotated-retinanet')
    message = '--methods: got no, expected all or some of .*kd-rnet, kd-rnet-cls'
    with pytest.raises(ConfigError, match=message):
        pair.chosen(['kd-rnet', 'no'])
