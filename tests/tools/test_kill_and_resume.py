"""A distillation as a user runs it: killed, resumed, and compared bit for bit."""

from __future__ import annotations

import os
import signal
import time

import pytest

from aerialkd.engine import find_resumable, read_checkpoint
from tests.builders import distill, retinanet
from tests.engine.test_resume import assert_equal
from tests.processes import Tool
from tests.trained import visdrone_config


def train(config, work_dir, *options):
    return Tool('train', config, '--work-dir', work_dir, *options)


def finish(training, status=0):
    done = training.finish()
    said = done.stdout + done.stderr
    assert done.returncode == status, said[-3000:]
    return said


def wait_for(training, file):
    while not file.is_file():
        assert training.is_running(), training.finish().stderr[-3000:]
        time.sleep(0.01)


@pytest.fixture(scope='module')
def config(made_images, tmp_path_factory):
    """PKD with flips and colours of two persistent workers, EMA and best ones."""
    folder = tmp_path_factory.mktemp('config')
    model = distill(architecture=retinanet(10), teacher=retinanet(10, width=16))
    cfg = visdrone_config(model, made_images, epochs=6)
    loader = cfg.train_dataloader
    loader.update(num_workers=2, persistent_workers=True)
    loader.dataset.pipeline[2:2] = [dict(type='PhotoMetricDistortion')]
    loader.dataset.pipeline.insert(-1, dict(type='RandomFlip', prob=0.5))
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook',
        interval=1,
        max_keep_ckpts=1,
        save_best='visdrone/AP_at_500',
        rule='greater',
    )
    cfg.custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA')]
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
        dict(type='CosineAnnealingLR', T_max=6, convert_to_iter_based=True),
    ]
    cfg.dump(folder / 'pkd.py')
    return folder / 'pkd.py'


def what_is_trained(work_dir):
    """Everything but times and paths."""
    content = read_checkpoint(work_dir / 'epoch_6.pth')
    hub = content['message_hub']
    content['history'] = {
        name: [value.tolist() for value in buffer.data]
        for name, buffer in hub['log_scalars'].items()
        if not name.endswith(('time', 'memory'))
    }
    content['best'] = hub['runtime_info']['best_score']
    for key in ('message_hub', 'meta'):
        del content[key]
    return content


@pytest.mark.slow
def test_killed_and_terminated_training_ends_as_an_undisturbed_one(config, tmp_path):
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    finish(train(config, straight))
    first = train(config, broken)
    wait_for(first, broken / 'epoch_3.pth')
    os.kill(first.pid, signal.SIGKILL)
    finish(first, -signal.SIGKILL)
    assert find_resumable(broken) == broken / 'epoch_3.pth'
    second = train(config, broken, '--resume')
    wait_for(second, broken / 'epoch_4.pth')
    os.kill(second.pid, signal.SIGTERM)
    assert 'SIGTERM: the training is saved in' in finish(second, 143)
    finish(train(config, broken, '--resume'))
    assert_equal(what_is_trained(broken), what_is_trained(straight))
    best = {file.name for file in straight.glob('best_*.pth')}
    assert {file.name for file in broken.glob('best_*.pth')} == best
    assert len(best) == 1
