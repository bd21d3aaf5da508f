"""The names by which a config is given: to a tool, to an algorithm, in ``_base_``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, init_default_scope

from aerialkd.algorithms.teacher import FrozenTeacher
from aerialkd.cli import add_runner_arguments, load_config, read_config
from aerialkd.engine import model_cfg, student_model_cfg, without_pretrained
from aerialkd.engine.config_files import find_config
from aerialkd.engine.model_cfg import settle_named_models
from aerialkd.errors import ConfigError
from aerialkd.registry import MODELS
from tests.builders import distill, retinanet

SHIPPED = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
LAZY = """from mmdet.models import RetinaNet

model = dict(type=RetinaNet, neck=dict(type='FPN'))
default_scope = 'mmdet'
"""


def write(file: Path, model: ConfigDict, **more: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Config(dict(model=model, **more)).dump(file)
    return file


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that ships one config of a small detector."""
    folder = tmp_path / 'installed' / 'mmyolo'
    write(folder / '.mim' / 'configs' / 'tiny' / 'tiny_coco.py', retinanet())
    (folder / '.mim' / 'model-index.yml').write_text('Import: []\n')
    (folder / '__init__.py').touch()
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    sys.modules.pop('mmyolo', None)


def test_model_of_a_package():
    cfg = model_cfg(SHIPPED)
    assert cfg.backbone.depth == 18
    assert cfg == model_cfg(dict(cfg_path=SHIPPED, pretrained=False))
    assert cfg == model_cfg(Config.fromfile(find_config(SHIPPED)))
    # Its names are those of mmdet, wherever it is built.
    with DefaultScope.overwrite_default_scope('mmrotate'):
        model = MODELS.build(without_pretrained(cfg))
    assert type(model).__module__.startswith('mmdet.')


def test_teacher_and_student_of_a_package(package):
    name = 'mmyolo::tiny/tiny_coco.py'
    init_default_scope('mmdet')
    algorithm = MODELS.build(distill(teacher=name, architecture=name))
    states = [m.state_dict() for m in (algorithm.teacher, algorithm.student)]
    assert list(states[0]) == list(states[1])
    assert {v.shape for v in states[0].values()} >= {torch.Size([8, 3, 7, 7])}


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mmdet::retinanet/retinanet_r18_1x.py', r'ships no such config\. Similar: '),
        ('mmdet::retinanet_r18_fpn_1x_coco.py', r'Similar: retinanet/retinanet_r18_'),
        ('mmpose::hrnet/any.py', r'mmpose is not installed.*pip install mmpose'),
        ('nowhere::a/b.py', r"package 'nowhere'.*expected package::path such as"),
        ('mmdet::', r"path ''.*expected package::path"),
        ('mmdet::a::b.py', r'expected package::path'),
    ],
)
def test_what_no_package_ships(name, message, tmp_path, run):
    for read in (model_cfg, read_config):
        with pytest.raises(ConfigError, match=message):
            read(name)
    (tmp_path / 'base.py').write_text(f'_base_ = {name!r}\n')
    with pytest.raises(ConfigError, match='cannot be read as a config'):
        read_config(tmp_path / 'base.py')
    said, status = run('test', name, 'none.pth')
    assert (status, said[:6]) == (2, 'error:')


def test_base_of_a_package(tmp_path, package):
    base = "_base_ = 'mmyolo::tiny/tiny_coco.py'\n"
    (tmp_path / 'mine.py').write_text(f'{base}model = dict(backbone=dict(depth=34))\n')
    cfg = read_config(tmp_path / 'mine.py')
    assert (cfg.model.backbone.depth, cfg.work_dir) == (34, 'work_dirs/mine')
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdet::retinanet/retinanet_r18.py'\n")
    with pytest.raises(ConfigError, match=r'retinanet_r18\.py.*Similar: retinanet/'):
        read_config(tmp_path / 'mine.py')


def test_every_tool_reads_it(package):
    cfg = read_config('mmyolo::tiny/tiny_coco.py')
    assert Path(cfg.filename) == package / '.mim/configs/tiny/tiny_coco.py'
    assert cfg.work_dir == 'work_dirs/tiny_coco'


@pytest.mark.parametrize('kind', ['dict', 'whole', 'config', 'path', 'cfg_path'])
def test_forms(tmp_path, kind):
    file = write(tmp_path / 'detector.py', retinanet())
    forms = dict(
        dict=retinanet(),
        whole=dict(model=retinanet(), work_dir='x'),
        config=Config(dict(model=retinanet())),
        path=file,
        cfg_path=dict(cfg_path=str(file)),
    )
    assert model_cfg(forms[kind]) == retinanet()


def test_weights_are_not_loaded_on_the_way():
    with pytest.raises(ConfigError, match=r'pretrained=True.*teacher_ckpt'):
        model_cfg(dict(cfg_path=SHIPPED, pretrained=True))


def test_pure_python_config(tmp_path):
    (tmp_path / 'lazy.py').write_text(LAZY)
    cfg = model_cfg(tmp_path / 'lazy.py')
    assert cfg['type'].__name__ == 'RetinaNet'
    assert cfg['_scope_'] == 'mmdet'
    (tmp_path / 'kd.py').write_text(f'_base_ = {SHIPPED!r}\nmodel = dict(a=1)\n')
    (tmp_path / 'mixed.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n    from .kd import *\n'
    )
    with pytest.raises(ConfigError, match=r'mixed\.py: cannot be read as a config'):
        read_config(tmp_path / 'mixed.py')


def test_a_scope_of_its_own(tmp_path):
    """The student's config may be of mmrotate and the teacher's of mmdet."""
    teacher = retinanet()
    teacher.type = 'RetinaNet'
    file = write(tmp_path / 'teacher.py', teacher, default_scope='mmdet')
    init_default_scope('mmrotate')
    assert type(FrozenTeacher(file).model).__name__ == 'RetinaNet'


def test_named_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('here', 'beside'):
        write(tmp_path / folder / f'{folder}.py', retinanet())
    names = {
        'here/here.py': str(tmp_path / 'here/here.py'),  # of the working directory
        'beside.py': str(tmp_path / 'beside/beside.py'),  # of the config's folder
        'configs/demo/retinanet_teacher.py': 'configs/demo/retinanet_teacher.py',
        SHIPPED: SHIPPED,
        'mmpose::away/from_here.py': 'mmpose::away/from_here.py',
        'nowhere.py': 'nowhere.py',
    }
    for name, expected in names.items():
        kd = write(tmp_path / 'beside/kd.py', distill(teacher=name, architecture=name))
        cfg = read_config(kd)
        assert [cfg.model.teacher, cfg.model.architecture] == [expected] * 2
        cfg.model.teacher = dict(cfg_path=name)
        settle_named_models(cfg, kd.parent)
        assert cfg.model.teacher.cfg_path == expected
        # What a training leaves in its work dir is read from elsewhere.
        cfg.dump(tmp_path / 'dumped.py')
        if 'nowhere' in name or 'mmpose' in name:
            continue
        monkeypatch.chdir('/')
        read = read_config(tmp_path / 'dumped.py')
        assert read.model.teacher.cfg_path == expected
        assert student_model_cfg(read).backbone.depth in (18, 34)
        monkeypatch.chdir(tmp_path)


def test_given_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'teacher.py', retinanet())
    kd = write(tmp_path / 'kd.py', distill())
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_runner_arguments(parser)
    options = ['--cfg-options', 'model.teacher=teacher.py']
    cfg = load_config(parser.parse_args([str(kd), *options]))
    assert cfg.model.teacher == str(tmp_path / 'teacher.py')


def test_config_as_a_value(tmp_path):
    """A file may read another one itself; a dump holds its model."""
    teacher = write(tmp_path / 'teacher.py', retinanet())
    write(tmp_path / 'base.py', distill())
    (tmp_path / 'kd.py').write_text(
        "from mmengine.config import Config\n_base_ = './base.py'\n"
        f'model = dict(teacher=Config.fromfile({str(teacher)!r}))\n'
        "other = '{{ fileDirname }}/teacher.py'\n"
    )
    cfg = read_config(tmp_path / 'kd.py')
    assert model_cfg(cfg.other) == retinanet()
    assert cfg.model.teacher == retinanet()


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    write(tmp_path / 'mine.py', retinanet())
    assert model_cfg('~/mine.py') == retinanet()


def test_file_that_cannot_be_read(tmp_path):
    (tmp_path / 'teacher.py').write_text('model = nothing\n')
    with pytest.raises(ConfigError, match=r"teacher\.py: cannot be read .*'nothing'"):
        model_cfg(tmp_path / 'teacher.py')
    with pytest.raises(ConfigError, match='not found, neither in'):
        model_cfg('teacher.py')
