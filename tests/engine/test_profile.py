"""What a distilled step is charged with."""

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.engine.machine import machine
from aerialkd.engine.profile import StepProfile, made_batch, profile_step
from aerialkd.engine.profiled import profiled_model, training_batch
from aerialkd.errors import ConfigError
from tests.builders import distill, pkd_distiller, retinanet
from tests.trained import visdrone_config


def test_a_loss_is_charged_with_the_gradients_of_blocks_and_connectors(monkeypatch):
    losses = dict(
        regenerated=dict(type='aerialkd.RegeneratedLoss', channels=16, num_levels=4)
    )
    align = dict(type='aerialkd.PyramidAligner', in_channels=[16] * 4, out_channels=16)
    distiller = pkd_distiller(
        distill_losses=losses,
        connectors=dict(align=align),
        loss_forward_mappings=dict(regenerated=dict(recorder='fpn', connector='align')),
    )
    model = MODELS.build(distill(distiller=distiller))
    computed = []
    grad = torch.autograd.grad

    def spy(*args, **kwargs):
        grads = grad(*args, **kwargs)
        computed.append(sum(g is not None for g in grads))
        return grads

    monkeypatch.setattr(torch.autograd, 'grad', spy)
    data = made_batch(model, batch_size=1, size=(64, 64), boxes=2)
    profile = profile_step(model, data, repeats=1, warmup=1)
    trained = [p for p in model.distiller.parameters() if p.requires_grad]
    # Four levels of: aligner (2), two blocks of two convolutions (8), and the record.
    assert len(trained) == 4 * (2 + 8)
    assert computed == [len(trained) + 4]
    assert set(profile.seconds) == {'student', 'teacher', 'whole', 'loss_regenerated'}


def test_a_teacher_at_another_scale_is_timed_on_its_own_images():
    model = MODELS.build(distill(type='aerialkd.CrossScaleDistill', scale=2))
    seen = {'student': set(), 'teacher': set()}
    for name in seen:
        getattr(model, name).backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen[name].add(tuple(args[0].shape[-2:]))
        )
    data = made_batch(model, batch_size=1, size=(128, 64), boxes=2)
    profile = profile_step(model, data, repeats=1, warmup=1)
    assert seen == {'student': {(64, 32)}, 'teacher': {(128, 64)}}
    assert set(profile.seconds) == {'student', 'teacher', 'whole', 'loss_pkd'}


def test_a_batch_of_the_training_data(made_images):
    cfg = visdrone_config(
        distill(
            architecture=retinanet(10),
            teacher=retinanet(10, width=16),
            teacher_ckpt='nowhere.pth',
        ),
        made_images,
    )
    model = profiled_model(cfg, 'cpu')
    data = training_batch(model, cfg)
    assert data['inputs'].shape == (2, 3, 64, 64)
    assert all(len(sample.gt_instances) for sample in data['data_samples'])
    assert profile_step(model, data, repeats=1, warmup=1).ratio > 0
    cfg.train_dataloader.dataset.data_root = str(made_images / 'gone')
    with pytest.raises(ConfigError, match=r'training data cannot be read: .*gone'):
        training_batch(model, cfg)


def test_what_distils_nothing_is_not_profiled(made_images):
    with pytest.raises(ConfigError, match='is no distillation'):
        profiled_model(visdrone_config(retinanet(10), made_images), 'cpu')


def test_a_summary_in_milliseconds_and_mebibytes():
    parts = dict(student=[0.3, 0.1, 0.2], teacher=[0.2], whole=[0.5], loss_pkd=[0.01])
    profile = StepProfile(parts, peak_student=2**20, peak_whole=2**22)
    assert profile.summary() == pytest.approx(
        dict(
            student_ms=200, teacher_ms=200, whole_ms=500, loss_pkd_ms=10,
            ratio=1.25, extra_mib=3,
        )
    )  # fmt: skip


def test_a_machine_is_named_with_its_threads():
    assert machine('cpu', 1).endswith(', 1 thread')
    assert machine('cpu', 8).endswith(', 8 threads')
    assert len(machine('cpu', 1)) > len(', 1 thread')
