"""What people set first when something is to be found out: fewer workers, less data."""

from __future__ import annotations

import copy
import itertools
import re

import pytest

from aerialkd.cli import read_config
from aerialkd.comparison.trainings import last_checkpoint
from aerialkd.engine import build_train_runner
from aerialkd.engine.evaluated import evaluated_run
from aerialkd.engine.runners import build_runner
from aerialkd.errors import ConfigError
from tests.builders import distill, retinanet
from tests.engine.toys import toy_config
from tests.trained import visdrone_config

# Each is refused by torch without workers; ours and most configs set the first.
OF_WORKERS = dict(
    persistent_workers=True,
    prefetch_factor=4,
    timeout=30,
    multiprocessing_context='fork',
)


_number = itertools.count()


def named(*settings: str) -> list[str]:
    """Options of a run with a name of its own: MMEngine warns of a second one."""
    name = f'experiment_name=runners_{next(_number)}'
    return ['--cfg-options', name, *settings]


@pytest.fixture
def file(tmp_path, made_images):
    """A config of a distillation whose loaders are made for workers."""
    cfg = visdrone_config(retinanet(10), made_images)
    cfg.model = distill(architecture=retinanet(10), teacher=retinanet(10))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(OF_WORKERS, num_workers=2)
    cfg.dump(tmp_path / 'student.py')
    return tmp_path / 'student.py'


def test_no_workers(file, run, tmp_path):
    """By the one setting alone: training, validation, evaluation, what they leave."""
    loaders = [f'{part}_dataloader.num_workers=0' for part in ('train', 'val', 'test')]
    where = ('--work-dir', tmp_path / 'work')
    said, status = run('train', file, *where, *named(*loaders))
    assert status == 0, said
    # What was configured stays in the dump, so that workers can be switched on again.
    dumped = read_config(tmp_path / 'work/student.py')
    assert dumped.val_dataloader.persistent_workers
    said, status = run('test', file, last_checkpoint(dumped), *where, *named(*loaders))
    assert status == 0, said
    assert evaluated_run(dumped, last_checkpoint(dumped)).metrics
    more = named(*loaders, 'train_cfg.max_epochs=2')
    said, status = run('train', file, '--resume', *where, *more)
    assert status == 0, said
    assert (tmp_path / 'work/epoch_2.pth').is_file()


def test_workers_keep_their_settings(tmp_path):
    cfg = toy_config(tmp_path, epochs=1, workers=2)
    cfg.train_dataloader.prefetch_factor = 3
    runner = build_train_runner(cfg)
    runner.train()
    assert runner.train_dataloader.persistent_workers
    assert runner.train_dataloader.prefetch_factor == 3


@pytest.mark.parametrize('key', OF_WORKERS)
@pytest.mark.parametrize('given', [True, False])
def test_each_setting_of_workers(tmp_path, key, given):
    """Also where the number of workers is torch's own, none."""
    cfg = toy_config(tmp_path, epochs=1, experiment_name=f'toy_{next(_number)}')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader[key] = OF_WORKERS[key]
        if not given:
            del loader['num_workers']
    before = copy.deepcopy(cfg)
    build_train_runner(cfg).train()
    assert (tmp_path / 'epoch_1.pth').is_file()
    cfg.default_hooks = before.default_hooks  # safeguards are added
    assert cfg.to_dict() == before.to_dict()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ('train_dataloader.num_workers=-1', r'got -1, expected a whole number from 0'),
        ('val_dataloader.num_workers=0.5', r'val_dataloader\.num_workers: got 0\.5'),
        ('train_dataloader.num_workers=two', r"num_workers: got 'two'"),
        ('train_dataloader.num_workers=None', 'num_workers: got None'),
        ('train_dataloader.num_workers=True', 'num_workers: got True'),
        ('train_dataloader.batch_size=0', r'got 0, expected a whole number from 1'),
        ('val_dataloader.batch_size=x', r"val_dataloader\.batch_size: got 'x'"),
        ('train_dataloader.dataset=None', 'train_dataloader: got no dataset'),
        (
            'val_dataloader=None',
            r'no val_dataloader, .*or none: set the others',
        ),
        ('val_cfg=None', r'no val_cfg, expected .*or none: set the others to None'),
        ('optim_wrapper=None', r'no optim_wrapper, expected train_dataloader, train_'),
        ('train_cfg.max_iters=2', r"max_iters=2 for Epoch.*type='IterBasedTrainLoop'"),
        (
            'train_cfg.type=IterBasedTrainLoop',
            r'max_epochs=1 for Iter.*expected max_',
        ),
    ],
)
def test_mistakes_are_one_line(file, options, message, run, tmp_path):
    said, status = run('train', file, '--work-dir', tmp_path, *named(options))
    assert status == 2
    assert re.search(message, said), said


def test_nothing_to_test_on(file):
    cfg = read_config(file)
    cfg.merge_from_dict(dict(test_dataloader=None, test_cfg=None))
    with pytest.raises(ConfigError, match='no test_dataloader, test_cfg, expected'):
        build_runner(cfg, 'test')


def test_a_loader_without_sampler(tmp_path):
    cfg = toy_config(tmp_path)
    del cfg.train_dataloader['sampler']
    with pytest.raises(ConfigError, match=r"no sampler, .*'DefaultSampler'"):
        build_train_runner(cfg)


def test_less_of_everything(file, run, tmp_path):
    less = (
        *('train_dataloader.batch_size=1', 'train_dataloader.dataset.indices=3'),
        *('val_dataloader=None', 'val_cfg=None', 'val_evaluator=None'),
        *('train_dataloader.num_workers=0', 'train_cfg.val_interval=100'),
    )
    said, status = run('train', file, '--work-dir', tmp_path / 'work', *named(*less))
    assert status == 0, said
    scalars = next((tmp_path / 'work').rglob('scalars.json')).read_text()
    assert scalars.count('"loss"') == 3
