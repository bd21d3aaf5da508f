"""What a distilled step is charged with."""

import torch
from mmengine.registry import MODELS

from aerialkd.engine.profile import made_batch, profile_step
from tests.builders import distill, pkd_distiller


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
