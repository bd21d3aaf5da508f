"""Towers of every served head, put together again, predict what the head does."""

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RetinaHead
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from aerialkd.errors import ConfigError
from aerialkd.structures import Tower, Towers, head_towers, split_towers
from tests.builders import HEADS, fcos, retinanet

SIZES = ((8, 12), (4, 6), (2, 3), (1, 2))


def built(cfg, **options):
    """The head of a detector, with weights that move its outputs."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg.bbox_head.update(options)
    head = MODELS.build(cfg).bbox_head
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return head


def feats_of(name):
    channels = [32, 64, 128] if name == 'yolov8' else [16] * 4
    maps = zip(channels, SIZES, strict=False)
    return [torch.randn(2, width, *size) for width, size in maps]


def assert_rebuilt(head, feats):
    levels = head_towers(head)
    assert len(levels) == len(feats)
    outputs = head(feats)
    for number, (towers, feat) in enumerate(zip(levels, feats, strict=True)):
        for tower, level in zip(towers, outputs, strict=False):
            x = feat
            for conv in tower.convs:
                x = conv(x)
            torch.testing.assert_close(tower.predict(x), level[number])


@pytest.mark.parametrize('name', HEADS)
def test_towers_predict_what_the_head_does(name):
    head = built(HEADS[name]())
    for scale in getattr(head, 'scales', []):
        nn.init.uniform_(scale.scale, 0.5, 2.0)
    assert_rebuilt(head, feats_of(name))


def test_fcos_without_normalised_distances():
    assert_rebuilt(built(fcos(), norm_on_bbox=False), feats_of('fcos'))


@pytest.mark.parametrize('idx', [1, 2, 3])
def test_resumes_behind_any_convolution(idx):
    head = built(retinanet(), stacked_convs=3)
    tower = head_towers(head)[0].reg
    x = torch.randn(1, 16, 4, 4)
    expected = tower.predict(tower.convs[2](tower.convs[1](tower.convs[0](x))))
    for conv in tower.convs[: idx - 1]:
        x = conv(x)
    before = tower.convs[idx - 1](x, activate=False)
    torch.testing.assert_close(tower.resume(before, idx), expected)


def test_a_tower_may_have_no_activation():
    conv = ConvModule(1, 1, 1, act_cfg=None)
    feat = -torch.ones(1, 1, 2, 2)
    assert torch.equal(Tower([conv], lambda x: 2 * x).resume(feat, 1), 2 * feat)


class SameForward(RetinaHead):
    """Derived, with the forward pass of its base."""


class OtherForward(RetinaHead):
    """Its base's towers would be wrong here."""

    def forward_single(self, x):
        return super().forward_single(-x)


class OwnTowers(OtherForward):
    """It says itself where its towers are."""

    def towers(self, level):
        return Towers(
            *(Tower(c, p) for c, p in ((self.cls_convs, self.retina_cls),) * 2)
        )


def head_like(kind):
    head = built(retinanet())
    head.__class__ = kind
    return head


def test_derived_heads_are_served_if_they_compute_the_same():
    assert_rebuilt(head_like(SameForward), feats_of('retinanet'))
    for head in (head_like(OtherForward), nn.Identity()):
        with pytest.raises(ConfigError, match=f'{type(head).__name__}: where its'):
            head_towers(head)


def test_a_head_may_know_its_towers_or_be_registered():
    assert len(head_towers(head_like(OwnTowers))) == 4

    class Another(OtherForward):
        pass

    @split_towers.register(Another)
    def split(head, level):
        return OwnTowers.towers(head, level)

    assert len(head_towers(head_like(Another))) == 4


def test_towers_are_convolutions_with_the_activation_last():
    head = head_like(OwnTowers)
    head.cls_convs[0].order = ('act', 'conv', 'norm')
    with pytest.raises(ConfigError, match='ConvModule with the activation last'):
        head_towers(head)
    head.cls_convs[0] = nn.Conv2d(16, 16, 1)
    with pytest.raises(ConfigError, match='its towers hold Conv2d'):
        head_towers(head)
