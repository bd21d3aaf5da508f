"""tools/train.py writes over no other training, and resumes none of other settings."""

from __future__ import annotations

import itertools

import pytest

from aerialkd.cli import read_config
from aerialkd.engine import build_train_runner
from aerialkd.locks import FolderLock
from tests.builders import pkd_distiller, retinanet
from tests.engine.toys import in_child, locked_elsewhere
from tests.processes import Tool, environments
from tests.trained import visdrone_config

_number = itertools.count()
PKD = """_base_ = './student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher={teacher!r},
    teacher_check=False,
    distiller={distiller!r},
)
"""


def options(**settings):
    # Runs of the same second would share a name, which mmengine warns of.
    settings['experiment_name'] = f'train_{next(_number)}'
    return ['--cfg-options', *(f'{key}={value}' for key, value in settings.items())]


def content(folder):
    return {
        file.relative_to(folder): file.read_bytes()
        for file in folder.rglob('*')
        if file.is_file()
    }


@pytest.fixture(scope='module')
def config(tmp_path_factory, made_images):
    """A student's config, which says where it is trained, and beside it another."""
    folder = tmp_path_factory.mktemp('configs')
    cfg = visdrone_config(retinanet(10), made_images)
    cfg.train_cfg.val_interval = 9
    cfg.work_dir = str(folder / 'runs' / 'student')
    cfg.dump(folder / 'student.py')
    distiller = dict(pkd_distiller())
    text = PKD.format(teacher=dict(retinanet(10, width=16)), distiller=distiller)
    (folder / 'pkd.py').write_text(text)
    return folder / 'student.py'


@pytest.fixture
def student(config, run):
    """The work dir of the trained student."""
    work_dir = config.parent / 'runs' / 'student'
    if not work_dir.exists():
        assert run('train', config, *options()) == ('', 0)
    return work_dir


def test_distillation_lands_beside_its_student(run, config, student):
    before = content(student)
    _, status = run('train', config.with_name('pkd.py'), *options())
    assert status == 0
    checkpoint = student.parent / 'pkd' / 'epoch_1.pth'
    assert checkpoint.is_file()
    assert content(student) == before
    # Tested there, its config stays that of the training.
    dumped = checkpoint.with_name('pkd.py').read_text()
    assert run('test', config.with_name('pkd.py'), checkpoint, *options())[1] == 0
    assert checkpoint.with_name('pkd.py').read_text() == dumped
    assert 'teacher' in dumped


def test_second_training_does_not_write_over_the_first(run, config, student):
    before = content(student)
    line, status = run('train', config, *options())
    assert status == 2
    assert line.startswith(f'error: {student}: holds checkpoints of a training (epoch')
    assert 'Go on with --resume, choose another --work-dir, or remove them.' in line
    assert content(student) == before


def test_resumed_with_more_epochs_but_not_with_another_model(
    run, config, student, tmp_path
):
    work_dir = tmp_path / 'mine'
    where = ('--work-dir', work_dir)
    assert run('train', config, *where, *options())[1] == 0
    before = content(work_dir)
    more = {'train_cfg.max_epochs': 2, 'model.backbone.norm_eval': False}
    line, status = run('train', config, '--resume', *where, *options(**more))
    assert status == 2
    changed = 'model.backbone.norm_eval: stored nothing, given False'
    named = f'error: {work_dir}/epoch_1.pth: its training had other settings: {changed}'
    assert line.startswith(named)
    assert content(work_dir) == before
    resumed = ('--resume', work_dir / 'epoch_1.pth', *where)
    line, status = run('train', config, *resumed, *options(**more))
    assert (status, line[: len(named)]) == (2, named)
    allowed = ('--resume', '--allow-changes', *where)
    assert run('train', config, *allowed, *options(**more))[1] == 0
    assert (work_dir / 'epoch_2.pth').is_file()
    # As of now it is the training of the changed settings.
    more['train_cfg.max_epochs'] = 3
    assert run('train', config, '--resume', *where, *options(**more))[1] == 0
    assert (work_dir / 'epoch_3.pth').is_file()


def test_name_of_weights_that_do_not_exist(run, config, tmp_path):
    weights = {
        'model.backbone.init_cfg.type': 'Pretrained',
        'model.backbone.init_cfg.checkpoint': 'torchvision://resnet',
    }
    line, status = run('train', config, '--work-dir', tmp_path, *options(**weights))
    assert status == 2
    assert line.startswith('error: torchvision://resnet: got a name that')


@pytest.mark.parametrize('place', ['work dir', 'folder of checkpoints'])
def test_a_second_training_at_the_same_time_is_refused(run, config, tmp_path, place):
    work_dir = tmp_path / 'mine'
    elsewhere = {'default_hooks.checkpoint.out_dir': tmp_path / 'checkpoints'}
    folder = work_dir if place == 'work dir' else tmp_path / 'checkpoints/mine'
    (tmp_path / 'link').symlink_to(tmp_path)
    where = ('--work-dir', tmp_path / 'link/mine', '--resume')
    with locked_elsewhere(folder) as other:
        line, status = run('train', config, *where, *options(**elsewhere))
    assert status == 2
    assert f'mine: is being trained by process {other} on ' in line
    assert 'choose another --work-dir' in line
    assert not list(tmp_path.rglob('*.pth'))
    assert not list(tmp_path.rglob('*.py'))


def test_a_training_gives_the_lock_back_and_keeps_it_meanwhile(config, tmp_path):
    cfg = read_config(config)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), f'train_{next(_number)}'
    runner = build_train_runner(cfg)
    assert in_child(FolderLock(tmp_path).acquire) == 1
    runner.train_loop  # noqa: B018 - built
    runner.train_loop.run = failing
    with pytest.raises(ArithmeticError):
        runner.train()
    assert in_child(FolderLock(tmp_path).acquire) == 0


def failing():
    raise ArithmeticError


@pytest.mark.alone
def test_of_two_processes_both_learn_that_another_trains(config, tmp_path):
    with locked_elsewhere(tmp_path / 'mine'):
        words = ('--work-dir', tmp_path / 'mine', '--launcher', 'pytorch')
        tools = [Tool('train', config, *words, environment=e) for e in environments(2)]
        for tool in tools:
            done = tool.finish()
            assert done.returncode == 2
            assert 'is being trained by process' in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob('*.py'))
