"""What a training starts from."""

from __future__ import annotations

import shutil

import pytest
import torch

from aerialkd.engine import resume_newest, settle_start
from aerialkd.engine import training as training_module
from aerialkd.errors import CheckpointError, ConfigError
from tests.engine.toys import in_child, in_processes, toy_config, train_toy


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


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The work dir of a training of two epochs."""
    work_dir = tmp_path_factory.mktemp('finished') / 'toy'
    assert in_child(lambda: train_toy(work_dir, epochs=2)) == 0
    return work_dir


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(training_module, '_warn', said.append)
    return said


def changed(work_dir, key, value, **options):
    cfg = toy_config(work_dir, **{'epochs': 2, **options})
    cfg.merge_from_dict({key: value})
    return cfg


class TestNewTraining:
    @pytest.mark.parametrize('left', ['epoch_2.pth', 'interrupted.pth', 'best_AP.pth'])
    def test_writes_over_no_earlier_one(self, left, tmp_path):
        (tmp_path / left).write_bytes(b'')
        with pytest.raises(ConfigError) as told:
            settle_start(toy_config(tmp_path))
        message = str(told.value)
        assert message.startswith(f'{tmp_path}: holds checkpoints of a training')
        assert f'({left})' in message
        for way_out in ('--resume', '--work-dir', 'remove'):
            assert way_out in message
        # Those of a training that was given another folder for them.
        hook = dict(type='CheckpointHook', out_dir=str(tmp_path.parent))
        cfg = toy_config(tmp_path.name, default_hooks=dict(checkpoint=hook))
        with pytest.raises(ConfigError, match='holds checkpoints'):
            settle_start(cfg)

    def test_names_that_last_checkpoint_lists(self, finished, tmp_path):
        for file in ('last_checkpoint', 'epoch_2.pth'):
            shutil.copy(finished / file, tmp_path)
        (tmp_path / 'epoch_2.pth').rename(tmp_path / 'after_2.pth')
        text = (tmp_path / 'last_checkpoint').read_text()
        lines = text.replace('epoch_2', 'after_2')
        (tmp_path / 'last_checkpoint').write_text(lines)
        with pytest.raises(ConfigError, match='after_2'):
            settle_start(toy_config(tmp_path))

    def test_other_files_are_no_reason(self, tmp_path):
        for name in ('student.pth', 'toy.py', 'evaluation.json', '.epoch_1.pth.part'):
            (tmp_path / name).write_bytes(b'')
        cfg = toy_config(tmp_path, load_from='pretrained.pth')
        settle_start(cfg)
        assert (cfg.get('resume', False), cfg.load_from) == (False, 'pretrained.pth')

    def test_resume_that_finds_nothing_to_resume(self, tmp_path):
        torch.save({'state_dict': {'w': torch.ones(1)}}, tmp_path / 'best_AP.pth')
        with pytest.raises(ConfigError, match=r'best_AP.*Name one that lies there'):
            settle_start(toy_config(tmp_path), 'auto')

    def test_file_of_elsewhere_is_resumed_in_a_free_folder(self, finished, tmp_path):
        file = f'{finished}/epoch_2.pth'
        cfg = toy_config(tmp_path, epochs=2)
        settle_start(cfg, file)
        assert (cfg.resume, cfg.load_from) == (True, file)
        (tmp_path / 'epoch_1.pth').write_bytes(b'')
        with pytest.raises(ConfigError, match=r'epoch_1.*Name one that lies there'):
            settle_start(toy_config(tmp_path, epochs=2), file)

    def test_no_process_of_several_starts(self, finished):
        before = sorted(finished.iterdir())

        def start():
            with pytest.raises(ConfigError, match='holds checkpoints'):
                settle_start(toy_config(finished))

        assert in_processes(2, start) == [0, 0]
        assert sorted(finished.iterdir()) == before


class TestResume:
    @pytest.mark.parametrize(
        ('key', 'value', 'difference'),
        [
            ('model.width', 8, 'model.width: stored nothing, given 8'),
            ('train_dataloader.dataset.disturbed', False,
             'train_dataloader.dataset.disturbed: stored True, given False'),
            ('train_dataloader.sampler.shuffle', False,
             'train_dataloader.sampler.shuffle: stored True, given False'),
            ('randomness.seed', None, 'randomness.seed: stored 1, given nothing'),
        ],
    )  # fmt: skip
    def test_of_other_settings_is_refused(
        self, finished, warnings, key, value, difference
    ):
        for resume in ('auto', f'{finished}/epoch_2.pth'):
            with pytest.raises(ConfigError) as told:
                settle_start(changed(finished, key, value), resume)
            message = str(told.value)
            assert f'epoch_2.pth: its training had other settings: {difference}.' in (
                message
            )
            assert '--work-dir' in message
            assert '--allow-changes' in message
        assert not warnings
        cfg = changed(finished, key, value)
        settle_start(cfg, 'auto', allow_changes=True)
        assert cfg.resume

    def test_many_changes_are_counted(self, finished):
        cfg = toy_config(finished, epochs=2, randomness=dict(a=1, b=2, c=3))
        with pytest.raises(ConfigError, match=r'; and 1 more\. Train in another'):
            settle_start(cfg, 'auto')

    @pytest.mark.parametrize(
        ('key', 'value'),
        [
            ('train_cfg.max_epochs', 9),
            ('train_cfg.val_interval', 2),
            ('optim_wrapper.optimizer.lr', 0.1),
            ('optim_wrapper.paramwise_cfg', dict(norm_decay_mult=0.0)),
            ('param_scheduler.0.start_factor', 0.2),
            ('param_scheduler.1.T_max', 9),
            ('param_scheduler.2.milestones', [4, 8]),
            ('model.test_cfg', dict(max_per_img=500)),
            ('model.loss_weight', 2.0),
            ('model.teacher_ckpt', 'other.pth'),
            ('model.init_cfg', dict(type='Pretrained', checkpoint='torchvision://x')),
            ('train_dataloader.num_workers', 4),
            ('train_dataloader.batch_size', 6),
            ('val_dataloader.batch_size', 1),
            ('val_evaluator', dict(type='Other')),
            ('default_hooks.checkpoint.interval', 5),
            ('log_level', 'INFO'),
            ('experiment_name', 'other'),
            ('auto_scale_lr', dict(enable=True, base_batch_size=6)),
        ],
    )
    def test_with_what_is_not_decisive(self, finished, warnings, key, value):
        cfg = changed(finished, key, value)
        settle_start(cfg, 'auto')
        assert cfg.load_from == f'{finished}/epoch_2.pth'
        assert not warnings

    def test_weights_to_start_from_have_no_effect(self, finished, warnings):
        cfg = toy_config(finished, epochs=2, load_from='other.pth')
        settle_start(cfg, 'auto')
        assert cfg.load_from == f'{finished}/epoch_2.pth'
        (line,) = warnings
        assert line.startswith(
            "load_from: stored None, given 'other.pth'; without effect"
        )

    def test_that_the_config_asks_for(self, finished):
        cfg = toy_config(finished, epochs=2, resume=True)
        settle_start(cfg)
        assert cfg.load_from == f'{finished}/epoch_2.pth'
        with pytest.raises(ConfigError, match='other settings'):
            settle_start(changed(finished, 'model.width', 8, resume=True))

    def test_checkpoint_without_a_config_is_resumed_with_a_warning(
        self, finished, tmp_path, warnings
    ):
        content = torch.load(finished / 'epoch_2.pth', weights_only=False)
        for text in (None, 'no config', 'a = (', '(' * 10_000):
            content['meta']['cfg'] = text
            if text is None:
                del content['meta']['cfg']
            torch.save(content, tmp_path / 'epoch_2.pth')
            settle_start(toy_config(tmp_path), 'auto')
            assert 'states no config that can be read' in warnings.pop()
        assert not warnings

    def test_changes_are_allowed_for_a_resumed_one(self, tmp_path):
        with pytest.raises(ConfigError, match=r'--allow-changes: got no --resume'):
            settle_start(toy_config(tmp_path), allow_changes=True)

    def test_file_that_is_none(self, tmp_path):
        with pytest.raises(CheckpointError, match='no such checkpoint file'):
            settle_start(toy_config(tmp_path), 'nothing.pth')
