"""Shipped configs need no operator that has to be compiled."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from aerialkd.engine import student_model_cfg
from aerialkd.engine.profile import made_batch
from aerialkd.ops.extension import PLAIN, build
from tests.ops.cases import put_behind_mmcv
from tests.shipped import CONFIGS, ROOT, narrow, parts


def architecture(path):
    """What decides which operators a config's detector calls."""
    model = student_model_cfg(Config.fromfile(ROOT / path))
    blocks = [*parts(model.get('neck') or []), model.get('bbox_head') or {}]
    types = [model.type, model.backbone.type, *(block.get('type') for block in blocks)]
    limits = model.test_cfg.get('rcnn', model.test_cfg)
    return (*map(str, types), str(limits.get('nms')), str(model.get('train_cfg')))


@pytest.fixture(scope='module')
def detectors():
    """One config of each kind of detector."""
    return {architecture(path): path for path in CONFIGS}


def test_all_run_on_plain_torch(detectors, monkeypatch):
    monkeypatch.chdir(ROOT)
    called = set()

    def counted(name, operator):
        def call(*args, **kwargs):
            called.add(name)
            return operator(*args, **kwargs)

        return call

    extension = build({k: counted(k, v) for k, v in PLAIN.items()}, 'compile it')
    put_behind_mmcv(extension, monkeypatch)
    assert len(detectors) >= 12
    for path in detectors.values():
        train_and_predict(path)
    assert {'nms', 'nms_rotated', 'box_iou_rotated', 'roi_align'} <= called


def train_and_predict(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = narrow(student_model_cfg(cfg))
    limits = model.test_cfg.get('rcnn', model.test_cfg)
    limits.score_thr = 0.0  # so that something is there to suppress
    model = MODELS.build(model).train()
    head = getattr(model, 'bbox_head', None) or model.roi_head.bbox_head
    head = head[0] if isinstance(head, torch.nn.ModuleList) else head
    preprocessor = model.data_preprocessor
    made_for = SimpleNamespace(
        student=SimpleNamespace(bbox_head=head), data_preprocessor=preprocessor
    )
    data = made_batch(made_for, 1, (128, 160), boxes=5)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    with torch.no_grad():
        (found,) = model.eval()(**data, mode='predict')
    assert len(found.pred_instances) > 1, path
