"""Heads of LA: finer predictions whose boxes lie where they should."""

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.errors import ConfigError
from tests.builders import batch, gfl, retinanet, rotated_retinanet

KINDS = {'RetinaHead': retinanet, 'GFLHead': gfl, 'rotated': rotated_retinanet}


def build(kind, upsample=2):
    cfg = KINDS[kind]()
    plain = MODELS.build(cfg)
    name = cfg.bbox_head.type.removeprefix('mmdet.')
    cfg.bbox_head.update(type=f'aerialkd.LA{name}', upsample=upsample)
    adapted = MODELS.build(cfg)
    adapted.init_weights()
    plain.load_state_dict(adapted.state_dict())  # the same names and shapes
    return plain.eval(), adapted.eval()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('upsample', 'size'), [(2, (20, 14)), (1.5, (15, 10)), (1, (10, 7))]
)
def test_predicts_on_a_finer_grid(kind, upsample, size):
    plain, adapted = build(kind, upsample)
    feats = plain.extract_feat(torch.randn(1, 3, 80, 56))
    for ours, theirs in zip(
        adapted.bbox_head(feats), plain.bbox_head(feats), strict=True
    ):
        assert ours[0].shape[-2:] == size
        assert ours[0].shape[1] == theirs[0].shape[1]
    strides = [s[0] for s in plain.bbox_head.prior_generator.strides]
    finer = [s[0] * upsample for s in adapted.bbox_head.prior_generator.strides]
    assert finer == pytest.approx(strides)


def test_is_the_convolution_of_the_enlarged_map():
    plain, adapted = build('RetinaHead')
    feat = torch.randn(1, 16, 5, 4)
    head = plain.bbox_head
    for conv in head.cls_convs:
        hidden = conv(feat)
    enlarged = hidden.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = head.retina_cls(enlarged)
    assert torch.allclose(
        adapted.bbox_head.forward_single(feat)[0], expected, atol=1e-6
    )


def test_starts_from_rare_objects():
    """RetinaNet's prior probability of .01, which the head's initialisation sets."""
    head = build('RetinaHead')[1].bbox_head
    assert torch.allclose(
        head.retina_cls.bias.sigmoid(), torch.full((), 0.01), atol=1e-5
    )
    assert head.retina_reg.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_anchors_and_images_share_a_frame():
    adapted = build('RetinaHead')[1]
    anchors = adapted.bbox_head.prior_generator.grid_priors(
        [(16, 16)] * 4, device='cpu'
    )
    centres = (anchors[0][:, :2] + anchors[0][:, 2:]) / 2
    assert centres.max() == 60  # 16 cells of 4 pixels: the image of 64
    sides = (anchors[0][:, 2:] - anchors[0][:, :2]).prod(1).sqrt()
    assert sides.min() == pytest.approx(8)  # octave_base_scale 2, of the finer stride


def test_trains_and_predicts():
    adapted = build('GFLHead')[1].train()
    data = adapted.data_preprocessor(batch(), True)
    losses = adapted(**data, mode='loss')
    total, _ = adapted.parse_losses(losses)
    total.backward()
    assert adapted.bbox_head.gfl_cls.weight.grad.abs().sum() > 0
    with torch.no_grad():
        found = adapted.eval().test_step(batch())
    assert len(found[0].pred_instances) > 0


def test_refuses_to_coarsen():
    with pytest.raises(ConfigError, match='upsample'):
        build('RetinaHead', 0.5)
