"""A distillation resumed with another teacher's file, other weights and decay."""

from __future__ import annotations

import shutil

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.engine import read_checkpoint
from aerialkd.files import sha256_of
from tests.builders import distill, retinanet
from tests.processes import run_tool
from tests.trained import visdrone_config

DECAY = 'optim_wrapper.optimizer.weight_decay'
WEIGHT = 'model.distiller.distill_losses.pkd.loss_weight'


@pytest.fixture(scope='module')
def trained(made_images, tmp_path_factory):
    """A config, its work dir after an epoch, and the files of two teachers."""
    folder = tmp_path_factory.mktemp('trained')
    teacher = retinanet(10, width=16)
    for name in ('teacher', 'other'):
        weights = MODELS.build(teacher).state_dict()
        torch.save({'state_dict': weights}, folder / f'{name}.pth')
    model = distill(architecture=retinanet(10), teacher=teacher)
    model.teacher_ckpt = str(folder / 'teacher.pth')
    cfg = visdrone_config(model, made_images)
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg.pop(key)
    cfg.dump(folder / 'pkd.py')
    done = run_tool('train', folder / 'pkd.py', '--work-dir', folder / 'work')
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def resume(folder, *options):
    """What is said of settings, and the checkpoint that then is written."""
    given = ('--cfg-options', 'train_cfg.max_epochs=2', *options)
    work = ('--work-dir', folder / 'work')
    done = run_tool('train', folder / 'pkd.py', *work, '--resume', *given)
    assert done.returncode == 0, done.stderr[-3000:]
    said = (done.stdout + done.stderr).splitlines()
    lines = [line for line in said if 'other settings' in line or 'no digest' in line]
    return lines, read_checkpoint(folder / 'work' / 'epoch_2.pth')


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / 'copy')


def test_all_of_it_is_said_and_in_effect(trained, folder):
    before = read_checkpoint(folder / 'work' / 'epoch_1.pth')['meta']
    digests = [sha256_of(trained / f'{name}.pth') for name in ('teacher', 'other')]
    assert before['teacher_digests'] == {'model.teacher_ckpt': digests[0]}
    teacher = trained / 'teacher.pth'
    content = teacher.read_bytes()
    shutil.copy(trained / 'other.pth', teacher)
    try:
        (line,), after = resume(folder, f'{DECAY}=0.05', f'{WEIGHT}=40.0')
    finally:
        teacher.write_bytes(content)
    for name, stored, given in [
        ('model.teacher_ckpt', *(f"'SHA-256 {digest[:12]}...'" for digest in digests)),
        (DECAY, 'nothing', '0.05'),
        (WEIGHT, 'nothing', '40.0'),
        ('train_cfg.max_epochs', '1', '2'),
    ]:
        assert line.count(f'{name}: stored {stored}, given {given}') == 1
    assert after['optimizer']['param_groups'][0]['weight_decay'] == 0.05
    assert after['meta']['teacher_digests'] == {'model.teacher_ckpt': digests[1]}
    logged = after['message_hub']['log_scalars']
    (name,) = (name for name in logged if name.startswith('train/distill.'))
    losses = logged[name].data[0]
    assert min(losses[-3:]) > 2.0 * max(losses[:3])


def test_moved_file_is_the_same_teacher(trained, folder):
    moved = shutil.copy(trained / 'teacher.pth', folder / 'moved.pth')
    (line,), _ = resume(folder, f'model.teacher_ckpt={moved}')
    assert 'teacher_ckpt' not in line
    assert 'train_cfg.max_epochs: stored 1, given 2' in line


def test_checkpoint_without_digests(folder):
    file = folder / 'work' / 'epoch_1.pth'
    content = torch.load(file, weights_only=False)
    del content['meta']['teacher_digests']
    del content['aerialkd_resume']['validations']
    torch.save(content, file)
    (folder / 'work' / 'last_checkpoint').write_text(str(file))
    lines, _ = resume(folder)
    assert sum('states no digest of a teacher' in line for line in lines) == 1
