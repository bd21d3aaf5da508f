import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from aerialkd.detectors.yolov8 import SIZES, YOLOv8Backbone, YOLOv8PAFPN
from aerialkd.detectors.yolov8.sizes import model_size
from aerialkd.errors import ConfigError
from tests.builders import yolov8
from tests.detectors.reference_yolov8 import ReferenceYOLOv8

PARAMETERS = dict(n=3157200, s=11166560, m=25902640, l=43691520, x=68229648)


@pytest.mark.parametrize('size', SIZES)
def test_parameters_with_80_classes(size):
    """All parameters: BatchNorm's factors and offsets and the 16 fixed bins.

    Running statistics are buffers and not counted; trained are 16 parameters less.
    """
    cfg = yolov8(num_classes=80)
    for part in (cfg.backbone, cfg.neck, cfg.bbox_head):
        part.size = size
    with torch.device('meta'):
        model = MODELS.build(cfg)
        reference = ReferenceYOLOv8(size, 80)
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == PARAMETERS[size]
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    assert trained == PARAMETERS[size] - 16
    assert sum(p.numel() for p in reference.parameters()) == PARAMETERS[size]
    assert not list(model.bbox_head.buffers(recurse=False))


@pytest.mark.parametrize(
    ('size', 'channels'), [('n', (64, 128, 256)), ('l', (256, 512, 512))]
)
def test_channels_of_the_pyramid(size, channels):
    assert model_size(size).pyramid_channels == channels
    with torch.device('meta'):
        feats = YOLOv8PAFPN(size)(YOLOv8Backbone(size)(torch.empty(1, 3, 64, 64)))
    assert tuple(level.shape[1] for level in feats) == channels


@pytest.mark.parametrize('shape', [(64, 96), (75, 101), (33, 40)])
def test_outputs_on_odd_sizes(shape):
    model = MODELS.build(yolov8())
    images = torch.rand(2, 3, *shape)
    for mode in (True, False):
        model.train(mode)
        scores, dists = model.bbox_head(model.extract_feat(images))
        for level, stride in enumerate((8, 16, 32)):
            rows, columns = (-(-size // stride) for size in shape)
            assert scores[level].shape == (2, 3, rows, columns)
            assert dists[level].shape == (2, 64, rows, columns)


def test_one_s_own_size_and_unknown_ones():
    assert model_size(dict(depth=0.33, width=0.125)).pyramid_channels == (32, 64, 128)
    assert model_size(dict(depth=1, width=0.1)).channels(64) == 8  # a multiple of 8
    with pytest.raises(ConfigError, match="size: got 'q', expected one of n, s, m"):
        model_size('q')
    with pytest.raises(ConfigError, match='or a dict with depth, width'):
        model_size(dict(deep=1))


def test_initial_weights():
    """As torch initialises convolutions; few objects of each class to start with."""
    model = MODELS.build(yolov8(num_classes=4))
    model.init_weights()
    for level, cells in enumerate((80**2, 40**2, 20**2)):
        bias = model.bbox_head.cls_branches[level][-1].bias
        assert torch.allclose(bias.exp(), torch.full((4,), 5 / 4 / cells))
        assert (model.bbox_head.reg_branches[level][-1].bias == 1).all()
    weight = model.backbone.stages[3][0].conv.weight.detach()  # fan in 9 * 64
    assert weight.abs().max() <= (9 * 64) ** -0.5
    assert float(weight.std()) == pytest.approx((9 * 64) ** -0.5 / 3**0.5, rel=0.02)


def test_normalisation_and_activation():
    cfg = Config(dict(model=yolov8()))
    modules = list(MODELS.build(cfg.model).modules())
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}
    assert not any(isinstance(module, torch.nn.ReLU) for module in modules)
