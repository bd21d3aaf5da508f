"""tools/train.py writes over no other training, and resumes none of other settings."""

from __future__ import annotations

import itertools

import pytest

from tests.builders import pkd_distiller, retinanet
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
    assert (student.parent / 'pkd' / 'epoch_1.pth').is_file()
    assert content(student) == before


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
