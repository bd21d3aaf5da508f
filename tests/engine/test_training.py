"""What a training starts from."""

from __future__ import annotations

import pytest

from aerialkd.engine import resume_newest
from tests.engine.toys import in_child, toy_config, train_toy


@pytest.mark.parametrize('elsewhere', [False, True])
def test_resume_goes_on_or_starts_as_the_config_says(tmp_path, elsewhere):
    work_dir, out_dir = tmp_path / 'toy', tmp_path / 'out'
    hook = dict(type='CheckpointHook', interval=1)
    hook |= dict(out_dir=str(out_dir)) if elsewhere else {}
    options = dict(epochs=1, default_hooks=dict(checkpoint=hook))
    cfg = toy_config(work_dir, load_from='pretrained.pth', **options)
    resume_newest(cfg)
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    # The state's file is written to the work dir, the checkpoints elsewhere.
    hook |= dict(save_best='score', rule='greater')
    assert in_child(lambda: train_toy(work_dir, **options)) == 0
    folder = out_dir / 'toy' if elsewhere else work_dir
    resume_newest(cfg)
    assert (cfg.resume, cfg.load_from) == (True, str(folder / 'epoch_1.pth'))


def test_elsewhere_on_the_network_is_left_to_mmengine(tmp_path):
    hook = dict(type='CheckpointHook', out_dir='s3://bucket/')
    cfg = toy_config(tmp_path, default_hooks=dict(checkpoint=hook), load_from='a.pth')
    resume_newest(cfg)
    assert (cfg.resume, cfg.load_from) == (True, None)
