"""The shipped configs, and their models at a width that runs in a second."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, init_default_scope

from aerialkd.algorithms import DetectionDistill
from aerialkd.engine import model_cfg, without_pretrained
from aerialkd.engine.profile import made_batch

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
# Which losses a method has, by the first word of the file name.
METHODS = {
    'cross-kd': ['CrossKDLoss'],
    'pkd': ['PKDLoss'],
    'rdr-kd': ['RegeneratedLoss', 'DecoupledLoss', 'ResponsiveLoss'],
    'rdr-kd-regenerated': ['RegeneratedLoss'],
    'rdr-kd-decoupled': ['DecoupledLoss'],
    'rdr-kd-features': ['RegeneratedLoss', 'DecoupledLoss'],
    'rdr-kd-responsive': ['ResponsiveLoss'],
    'ld': ['LDLoss'],
    'kd-rnet': ['SoftClassLoss', 'SoftRegressionLoss'],
    'kd-rnet-cls': ['SoftClassLoss'],
    'kd-rnet-reg': ['SoftRegressionLoss'],
    'cskd': ['PositionAwareL2Loss'],
    'la-cskd': ['PositionAwareL2Loss'],
    'fa-cskd': ['PositionAwareL2Loss'],
    'fa-thin-head-cskd': ['PositionAwareL2Loss'],
    'cwd': ['CWDLoss'],
    'cwd-logits': ['CWDLoss'],
    'mgd': ['MGDLoss'],
    'fgd': ['FGDLoss'],
    'amd': ['AMDLoss'],
    'wsld': ['WSLDLoss'],
    'dkd': ['DKDLoss'],
    'nkd': ['NKDLoss'],
    'bckd': ['BCKDLoss'],
    'fgfi': ['FGFILoss'],
    'cwd-wsld': ['CWDLoss', 'WSLDLoss'],
    'mgd-wsld': ['MGDLoss', 'WSLDLoss'],
    'mgd-dkd': ['MGDLoss', 'DKDLoss'],
    'pkd-nkd': ['PKDLoss', 'NKDLoss'],
    'pkd-dkd': ['PKDLoss', 'DKDLoss'],
}
DISTILLATIONS = [path for path in CONFIGS if path.stem.split('_')[0] in METHODS]


def narrow(model: Any) -> Any:
    """The same architecture at a width that runs in a second."""
    model = without_pretrained(model)
    backbone = model.backbone
    if 'size' in backbone:
        for part in (backbone, model.neck, model.bbox_head):
            part.size = dict(depth=0.33, width=0.125)
        return model
    factor = backbone.get('base_channels', 64) // 8
    if 'extra' in backbone:  # HRNet
        for stage in backbone.extra.values():
            stage.update(num_modules=1, num_blocks=[1] * stage.num_branches)
            stage.num_channels = [width // factor for width in stage.num_channels]
    else:
        backbone.base_channels = backbone.stem_channels = 8
        backbone.depth = min(backbone.depth, 50)
    narrow_neck(model, factor)
    if 'roi_head' in model:
        narrow_two_stage(model)
    else:
        head = model.bbox_head
        head.in_channels = head.feat_channels = 32
        head.stacked_convs = 1
    return model


def narrow_neck(model: Any, factor: int) -> None:
    first, *others = parts(model.neck)
    first.in_channels = [channels // factor for channels in first.in_channels]
    for neck in others:
        widths = neck.in_channels
        neck.in_channels = 32 if isinstance(widths, int) else [32] * len(widths)
    for neck in (first, *others):
        if 'out_channels' in neck:
            neck.out_channels = 32
        if 'stack_times' in neck:
            neck.stack_times = 1


def narrow_two_stage(model: Any) -> None:
    model.rpn_head.in_channels = model.rpn_head.feat_channels = 32
    model.roi_head.bbox_roi_extractor.out_channels = 32
    for head in parts(model.roi_head.bbox_head):
        head.in_channels = head.fc_out_channels = 32


def parts(one_or_more: Any) -> list[Any]:
    """What may stand alone or in a list, as a list."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def narrow_distiller(distiller: Any, levels: int) -> None:
    """Connectors and blocks for the maps of narrow models."""
    channels = [32, 64, 128][:levels] if levels == 3 else 32
    for connector in (distiller.get('connectors') or {}).values():
        if 'cls' in connector:  # of the head, whose towers are as wide on all levels
            connector.cls.update(in_channels=32, out_channels=32)
        else:
            connector.update(in_channels=channels, out_channels=channels)
    for recorder in distiller.recorders.values():
        if 'idx' in recorder:  # a single stacked convolution is left
            recorder.idx = 1
    for loss in distiller.distill_losses.values():
        for name in ('channels', 'student_channels', 'teacher_channels'):
            if name in loss:
                loss[name] = channels


def narrow_pair(model: Any) -> None:
    """Student, teacher and distiller of an algorithm, without a checkpoint."""
    model.architecture = narrow(model.architecture)
    model.teacher = narrow(model_cfg(model.teacher))
    model.teacher_ckpt = None
    neck = model.architecture.neck
    levels = 3 if 'YOLOv8' in model.architecture.type else neck.num_outs
    narrow_distiller(model.distiller, levels)


@contextmanager
def _at_root() -> Iterator[None]:
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        yield
    finally:
        os.chdir(before)


def narrow_algorithm(path: Path) -> DetectionDistill:
    """The algorithm of a shipped config, narrow, with its initial weights."""
    with _at_root():
        cfg = Config.fromfile(path)
        init_default_scope(cfg.default_scope)
        narrow_pair(cfg.model)
        torch.manual_seed(0)
        algorithm = MODELS.build(cfg.model).train()
    algorithm.student.init_weights()
    return algorithm


def unused_parameters(algorithm: DetectionDistill, boxes: int) -> list[str]:
    """Trainable parameters without a gradient after a step on one image."""
    data = made_batch(algorithm, 1, (128, 160), boxes)
    algorithm.zero_grad(set_to_none=True)
    algorithm.parse_losses(algorithm(**data, mode='loss'))[0].backward()
    return [
        name
        for name, parameter in algorithm.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]


def shared_training(rank: int, path: Path) -> tuple[list[dict[str, float]], float]:
    """Two steps of two processes with distillation, and two after it was stopped.

    Only the first process has objects; in the second steps, nobody has. DDP does not
    look for unused parameters: it raises at the step after one.

    Returns:
        What each step logged, and a sum over the trained parameters.
    """
    algorithm = narrow_algorithm(path)
    model = MMDistributedDataParallel(algorithm, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    logs = []
    for stopped in (False, True):
        algorithm.distillation_stopped = stopped
        for boxes in ((5, 0)[rank], 0):
            data = made_batch(algorithm, 1, (128, 160), boxes, seed=rank)
            loss, log = algorithm.parse_losses(model(**data, mode='loss'))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            logs.append({name: value.item() for name, value in log.items()})
    trained = [p for p in algorithm.parameters() if p.requires_grad]
    return logs, sum(p.detach().double().abs().sum().item() for p in trained)
