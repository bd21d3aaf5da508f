"""Digests of the files that teachers are read from."""

from __future__ import annotations

import hashlib

import pytest
import torch
from mmengine.config import Config

from aerialkd.engine.inputs import teacher_digests
from aerialkd.errors import CheckpointError, ConfigError

URL = 'https://example.org/teacher.pth'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'teacher.pth'
    path.write_bytes(b'weights')
    return path


def digests(**model):
    return teacher_digests(Config(dict(model=model)))


def pretrained(name):
    return dict(type='Pretrained', checkpoint=str(name))


SHA = hashlib.sha256(b'weights').hexdigest()


def test_of_a_teacher_by_the_setting_that_names_it(file):
    assert digests(teacher_ckpt=str(file), teacher=dict(type='A')) == {
        'model.teacher_ckpt': SHA
    }


def test_content_counts_and_not_the_name(file, tmp_path):
    before = digests(teacher_ckpt=str(file))
    moved = file.rename(tmp_path / 'moved.pth')
    assert digests(teacher_ckpt=str(moved)) == before
    moved.write_bytes(b'other weights')
    assert digests(teacher_ckpt=str(moved)) != before


def test_of_every_teacher_at_any_depth(file):
    parts = [dict(teacher_ckpt=f'{file}#sha256={"a" * 64}'), dict(student=1)]
    assert digests(parts=parts, detector=dict(teacher_ckpt=str(file))) == {
        'model.parts.0.teacher_ckpt': 'a' * 64,  # stated, checked by its reader
        'model.detector.teacher_ckpt': SHA,
    }


def test_of_a_teacher_with_pretrained_weights_alone(file, tmp_path):
    backbone = dict(type='R', init_cfg=pretrained('torchvision://resnet50'))
    teacher = dict(type='A', backbone=backbone, init_cfg=pretrained(file))
    found = {'model.teacher.init_cfg.checkpoint': SHA}
    assert digests(teacher=teacher, teacher_ckpt=None) == found
    config = tmp_path / 'teacher.py'
    Config(dict(model=teacher)).dump(config)
    assert digests(teacher=str(config)) == found
    assert digests(teacher=str(config), teacher_ckpt=str(file)) == {
        'model.teacher_ckpt': SHA
    }


def test_of_an_address(file, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    file.rename(folder / file.name)
    assert digests(teacher_ckpt=URL) == {'model.teacher_ckpt': SHA}
    stated = f'{URL}#sha256={"b" * 64}'
    assert digests(teacher_ckpt=stated) == {'model.teacher_ckpt': 'b' * 64}


def test_nothing_without_a_teacher(file):
    assert teacher_digests(Config(dict(a=1))) == {}
    assert digests(type='A', init_cfg=pretrained(file)) == {}
    assert digests(teacher=dict(type='A'), teacher_ckpt=None) == {}


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match='no such checkpoint file'):
        digests(teacher_ckpt=str(tmp_path / 'none.pth'))
    with pytest.raises(ConfigError, match='not found'):
        digests(teacher='none.py')
