import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.engine.profile import made_batch
from aerialkd.errors import ConfigError, RecordError
from aerialkd.losses import DistillLoss
from aerialkd.registry import MODELS as OURS
from tests.builders import (
    batch,
    distill,
    gfl,
    pkd_distiller,
    retinanet,
    rotated_retinanet,
)


@pytest.fixture
def context_loss():
    """A loss that declares ``batch`` and keeps what it was given."""

    @OURS.register_module(force=True)
    class ContextLoss(DistillLoss):
        def forward(self, preds_S, preds_T, batch=None):
            self.given = (preds_S, preds_T, batch)
            self.assigned = batch.assigned
            return preds_S[0].sum() * 0

    yield
    OURS.module_dict.pop('ContextLoss')


def run(distiller, **overrides):
    torch.manual_seed(0)
    model = MODELS.build(distill(distiller=distiller, **overrides)).train()
    data = model.data_preprocessor(batch(), True)
    return model, data, model(**data, mode='loss')


def mapping(value, **overrides):
    return pkd_distiller(loss_forward_mappings=dict(pkd=value), **overrides)


def test_short_and_long_mappings_agree():
    long = dict(
        preds_S=dict(recorder='fpn', from_student=True),
        preds_T=dict(recorder='fpn', from_student=False),
    )
    values = [
        run(mapping(value))[2]['distill.loss_pkd'].item()
        for value in ('fpn', dict(recorder='fpn'), long)
    ]
    assert values[0] == values[1] == values[2] > 0


def test_levels_choose_a_part_of_the_pyramid():
    everything = run(mapping('fpn'))[2]['distill.loss_pkd']
    parts = [
        run(mapping(dict(recorder='fpn', levels=levels)))[2]['distill.loss_pkd']
        for levels in ((0, 1), (2, 3))
    ]
    assert sum(parts).item() == pytest.approx(everything.item(), rel=1e-5)


def test_loss_with_batch_receives_context_and_assignment(context_loss):
    recorders = dict(head=dict(type='HeadOutputs'))
    model, data, _ = run(
        pkd_distiller(
            recorders=recorders,
            distill_losses=dict(ctx=dict(type='aerialkd.ContextLoss')),
            loss_forward_mappings=dict(ctx=dict(recorder='head', data_idx=0)),
        )
    )
    loss = model.distiller.distill_losses['loss_ctx']
    scores_S, scores_T, context = loss.given
    assert [level.shape for level in scores_S] == [level.shape for level in scores_T]
    assert context.batch_input_shape == tuple(data['inputs'].shape[-2:])

    assigned, num_anchors = loss.assigned, 6
    cells = [level.shape[-2] * level.shape[-1] for level in scores_S]
    assert assigned.num_level_priors == tuple(num_anchors * cell for cell in cells)
    assert assigned.labels.shape == (2, sum(assigned.num_level_priors))
    assert assigned.priors.shape == (*assigned.labels.shape, 4)
    # Every positive prior overlaps an object of its class by at least min_pos_iou.
    assert assigned.positive.sum() >= 6
    assert assigned.avg_factor == assigned.positive.sum()
    assert model.distiller.assigned is None  # dropped with the step


def test_assignment_is_the_students_own_and_not_repeated(context_loss, monkeypatch):
    distiller = pkd_distiller(
        distill_losses=dict(ctx=dict(type='aerialkd.ContextLoss')),
        loss_forward_mappings=dict(ctx='fpn'),
    )
    model = MODELS.build(distill(distiller=distiller)).train()
    calls, head = [], type(model.student.bbox_head)
    original = head.get_targets

    def counting(self, *args, **kwargs):
        calls.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(head, 'get_targets', counting)
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode='loss')
    assert calls == [model.student.bbox_head]
    assert torch.isfinite(losses['distill.loss_ctx'])
    assert 'get_targets' not in vars(model.student.bbox_head)  # unwrapped again


def test_images_without_boxes_have_no_positives(context_loss):
    distiller = pkd_distiller(
        distill_losses=dict(ctx=dict(type='aerialkd.ContextLoss')),
        loss_forward_mappings=dict(ctx='fpn'),
    )
    model = MODELS.build(distill(distiller=distiller)).train()
    data = model.data_preprocessor(batch(boxes=0), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assigned = model.distiller.distill_losses['loss_ctx'].assigned
    assert not assigned.positive.any()
    assert assigned.avg_factor >= 1


@pytest.mark.parametrize(
    ('detector', 'columns'), [(retinanet, 4), (gfl, 4), (rotated_retinanet, 5)]
)
def test_targets_of_every_head_have_the_same_form(context_loss, detector, columns):
    distiller = pkd_distiller(
        distill_losses=dict(ctx=dict(type='aerialkd.ContextLoss')),
        loss_forward_mappings=dict(ctx='fpn'),
    )
    model = MODELS.build(
        distill(architecture=detector(), teacher=detector(), distiller=distiller)
    ).train()
    model(**made_batch(model, 2, (96, 128), boxes=6), mode='loss')
    loss = model.distiller.distill_losses['loss_ctx']
    assigned, context = loss.assigned, loss.given[-1]
    assert assigned.priors.shape == (*assigned.labels.shape, columns)
    assert assigned.bbox_targets.shape[-1] == columns
    assert sum(assigned.num_level_priors) == assigned.labels.shape[1]
    # Each object has a positive prior of its class in its own image.
    for image in range(2):
        labels = context.labels[context.image_index == image]
        found = assigned.labels[image][assigned.positive[image]]
        assert set(found.tolist()) == set(labels.tolist())
    assert context.is_rotated == (columns == 5)
    assert context.rasterize((12, 16)).sum() > 0


def test_a_shared_connector_runs_once(monkeypatch):
    align = dict(
        type='aerialkd.PyramidAligner', in_channels=16, out_channels=16, num_levels=4
    )
    record = dict(recorder='fpn', connector='align')
    model = MODELS.build(
        distill(
            distiller=pkd_distiller(
                connectors=dict(align=align),
                distill_losses=dict(
                    a=dict(type='aerialkd.PKDLoss'), b=dict(type='aerialkd.PKDLoss')
                ),
                loss_forward_mappings=dict(a=record, b=record),
            )
        )
    ).train()
    calls = []
    model.distiller.connectors['align'].register_forward_hook(
        lambda *args: calls.append(1)
    )
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode='loss')
    assert calls == [1]
    assert losses['distill.loss_a'] == losses['distill.loss_b']
    model(**data, mode='loss')
    assert calls == [1, 1]


def test_mmrazor_components_can_be_mixed_in():
    _, _, losses = run(
        pkd_distiller(
            recorders=dict(
                fpn=dict(type='ModuleOutputs', source='neck'),
                stem=dict(type='ModuleInputs', source='backbone.layer1'),
            ),
            distill_losses=dict(
                pkd=dict(type='aerialkd.PKDLoss'),
                cwd=dict(type='mmrazor.ChannelWiseDivergence', tau=1),
            ),
            loss_forward_mappings=dict(
                pkd='fpn',
                cwd=dict(
                    preds_S=dict(recorder='fpn', from_student=True, data_idx=0),
                    preds_T=dict(recorder='fpn', from_student=False, data_idx=0),
                ),
            ),
        )
    )
    assert losses['distill.loss_cwd'] > 0


@pytest.mark.parametrize(
    ('distiller', 'message'),
    [
        (mapping('neck'), "no student recorder 'neck'; there are \\['fpn'\\]"),
        (mapping(dict(recorder='fpn', connector='x')), "no connector 'x'"),
        (mapping(dict(recorder='fpn', level=0)), 'knows .*levels'),
        (
            mapping(dict(preds_X=dict(recorder='fpn', from_student=True))),
            "argument 'preds_X'",
        ),
        (pkd_distiller(loss_forward_mappings={}), 'each loss needs one mapping'),
        (
            pkd_distiller(recorders=dict(fpn=dict(type='Outputs', source='neck'))),
            "no recorder type 'Outputs'",
        ),
        (
            pkd_distiller(recorders=dict(fpn=dict(type='ModuleOutputs', source='nek'))),
            "'nek' is not a module of RetinaNet; its parts are: backbone, bbox_head",
        ),
    ],
)
def test_mistakes_in_the_config_are_named(distiller, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(distill(distiller=distiller))


def test_too_high_a_level_is_named():
    with pytest.raises(ConfigError, match='it has 4 levels'):
        run(mapping(dict(recorder='fpn', levels=(0, 4))))


def test_in_place_change_behind_a_record_is_noticed():
    distiller = pkd_distiller(
        recorders=dict(fpn=dict(type='ModuleOutputs', source='backbone.layer1.0.bn2'))
    )
    # ResNet adds the identity to bn2's output in place.
    with pytest.raises(RecordError, match='changed in place'):
        run(distiller)


def rdr_kd_distiller(**overrides):
    """Three losses, two of which share an aligner, one of the head."""
    cfg = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(
            fpn=dict(type='ModuleOutputs', source='neck'),
            head=dict(type='HeadOutputs'),
        ),
        connectors=dict(
            align=dict(
                type='aerialkd.PyramidAligner',
                in_channels=16,
                out_channels=16,
                num_levels=4,
            )
        ),
        distill_losses=dict(
            regenerated=dict(
                type='aerialkd.RegeneratedLoss', channels=16, num_levels=4
            ),
            decoupled=dict(type='aerialkd.DecoupledLoss'),
            responsive=dict(type='aerialkd.ResponsiveLoss'),
        ),
        loss_forward_mappings=dict(
            regenerated=dict(recorder='fpn', connector='align'),
            decoupled=dict(recorder='fpn', connector='align'),
            responsive='head',
        ),
    )
    return {**cfg, **overrides}


@pytest.mark.parametrize('name', ['regenerated', 'decoupled', 'responsive'])
def test_only_keeps_a_loss_and_what_it_needs(name):
    everything = run(rdr_kd_distiller())[2]
    model, _, losses = run(rdr_kd_distiller(only=[name]))
    distilled = [key for key in losses if key.startswith('distill.')]
    assert distilled == [f'distill.loss_{name}']
    if name == 'responsive':  # the others' blocks and aligner draw random numbers
        assert torch.equal(losses[distilled[0]], everything[distilled[0]])
    assert model.distiller.needs_teacher_head == (name == 'responsive')
    # Nothing is left that no loss trains: DDP would wait for it.
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.distiller.parameters())


def test_losses_of_a_level_share_an_aligner():
    model, _, _ = run(rdr_kd_distiller())
    calls = []
    model.distiller.connectors['align'].register_forward_hook(
        lambda *_: calls.append(1)
    )
    data = model.data_preprocessor(batch(), True)
    model(**data, mode='loss')
    assert len(calls) == 1


@pytest.mark.parametrize('only', [['decoupld'], []])
def test_only_names_losses_that_exist(only):
    with pytest.raises(ConfigError, match='expected some of'):
        run(rdr_kd_distiller(only=only))
