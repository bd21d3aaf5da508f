"""What a training notes of its teacher, data and configs; what has changed since."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from aerialkd.engine import noted_inputs
from aerialkd.engine.noted_inputs import (
    DATA,
    INPUTS,
    changed_inputs,
    note_inputs,
    read_inputs,
)
from tests.builders import retinanet
from tests.trained import train, visdrone_config


@pytest.fixture
def cfg(tmp_path):
    """A distillation whose files can be changed."""
    data, student = tmp_path / 'data', tmp_path / 'student.py'
    data.mkdir()
    (data / 'a.txt').write_text('1')
    student.write_text('model = dict(type="A", width=1)')
    (tmp_path / 'teacher.pth').write_bytes(b'first')
    (tmp_path / 'run').mkdir()
    return Config(
        dict(
            work_dir=str(tmp_path / 'run'),
            train_dataloader=dict(
                dataset=dict(type='XMLDataset', data_root=str(data)),
            ),
            model=dict(
                architecture=dict(cfg_path=str(student)),
                teacher=dict(type='B'),
                teacher_ckpt=str(tmp_path / 'teacher.pth'),
            ),
        )
    )


def note(cfg, resumed=None):
    """As a training does when it begins, or goes on from a checkpoint."""
    checkpoint = resumed and f'{resumed}/epoch_1.pth'
    note_inputs(
        SimpleNamespace(
            cfg=cfg,
            work_dir=cfg.work_dir,
            _resume=resumed is not None,
            _load_from=checkpoint,
        )
    )


CHANGES = {
    'model.teacher_ckpt': ('teacher.pth', 'second'),
    DATA: ('data/a.txt', '2'),
    'model.architecture': ('student.py', 'model = dict(type="A", width=2)'),
    'load_from': ('start.pth', 'second'),
}


@pytest.mark.parametrize('name', CHANGES)
def test_each_input_is_compared(cfg, tmp_path, name):
    (tmp_path / 'start.pth').write_bytes(b'first')
    cfg.load_from = str(tmp_path / 'start.pth')
    note(cfg)
    assert changed_inputs(cfg) == []
    (noted,) = read_inputs(cfg.work_dir)
    assert set(noted) == set(CHANGES)
    file, content = CHANGES[name]
    (tmp_path / file).write_text(content)
    (changed,) = changed_inputs(cfg)
    assert changed.startswith(f'{name}: SHA-256 was {noted[name][:12]}, is ')


def test_what_is_not_here_has_not_changed(cfg, tmp_path):
    note(cfg)
    (tmp_path / 'teacher.pth').unlink()
    (tmp_path / 'data/a.txt').unlink()
    assert changed_inputs(cfg) == []
    (tmp_path / 'data/a.txt').write_text('2')
    assert len(changed_inputs(cfg)) == 1


def test_a_training_that_went_on_with_another_teacher_is_of_both(
    cfg, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(noted_inputs, 'print_log', lambda text, **_: said.append(text))
    note(cfg)
    note(cfg, resumed=cfg.work_dir)
    assert (len(read_inputs(cfg.work_dir)), said) == (1, [])
    (tmp_path / 'teacher.pth').write_bytes(b'second')
    note(cfg, resumed=cfg.work_dir)
    assert len(read_inputs(cfg.work_dir)) == 2
    assert len(changed_inputs(cfg)) == 1  # it is not of the second one alone
    assert said == []  # the checkpoint's settings tell
    (tmp_path / 'data/a.txt').write_text('2')
    note(cfg, resumed=cfg.work_dir)
    assert len(read_inputs(cfg.work_dir)) == 3
    assert 'epoch_1.pth: resumed with other inputs: training data: SHA' in said[0]
    note(cfg)  # anew
    assert changed_inputs(cfg) == []


def test_a_training_that_goes_on_elsewhere_takes_its_notes_along(cfg, tmp_path):
    note(cfg)
    first, cfg.work_dir = cfg.work_dir, str(tmp_path / 'other')
    note(cfg, resumed=first)
    assert read_inputs(cfg.work_dir) == read_inputs(first)


@pytest.mark.parametrize('text', [None, '', '{}', '[1]', '{"sessions": [1]}', '\0'])
def test_without_notes_it_is_taken_for_what_is_here(cfg, tmp_path, capsys, text):
    (tmp_path / 'run/epoch_1.pth').write_bytes(b'kept by 0.1.0')
    if text is not None:
        (tmp_path / 'run' / INPUTS).write_text(text)
    for _ in range(2):
        assert changed_inputs(cfg) == []
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert 'run: nothing notes from which teacher and data it was trained' in said[0]
    note(cfg, resumed=cfg.work_dir)  # of its beginning nothing is known
    assert read_inputs(cfg.work_dir) is None


def test_every_training_notes_them(tmp_path, made_images):
    cfg = visdrone_config(retinanet(10), made_images)
    cfg.train_cfg.val_interval = 9
    work_dir = train(cfg, tmp_path / 'run')
    (noted,) = json.loads((work_dir / INPUTS).read_text())['sessions']
    assert list(noted) == [DATA]
    assert len(noted[DATA]) == 64
