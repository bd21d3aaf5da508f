"""ZoomInNet's configs against the paper's numbers and against each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from aerialkd.engine import without_pretrained

FOLDER = Path(__file__).parents[2] / 'configs' / 'zoominnet'
SNET = 'retinanet_r50_fpn_20e_visdrone-512'
TNET = 'retinanet_r50_fpn_20e_visdrone-1024'
PLAIN = sorted(
    path.stem
    for path in FOLDER.glob('*.py')
    if 'visdrone' in path.stem and 'cskd' not in path.stem
)


def load(name: str) -> Config:
    return Config.fromfile(FOLDER / f'{name}.py')


@pytest.mark.parametrize(
    ('name', 'giga'),
    [
        (SNET, 53.3),
        (TNET, 213.2),
        ('la_retinanet_r50_fpn_20e_visdrone-512', 58.05),
        ('fa-thin-head_retinanet_r50_fpn_20e_visdrone-512', 94.56),
        ('fa_retinanet_r50_fpn_20e_visdrone-512', 146.09),
    ],
)
def test_multiply_adds_of_table_3(name: str, giga: float) -> None:
    cfg = load(name)
    init_default_scope('mmdet')
    width, height = cfg.test_dataloader.dataset.pipeline[1].scale
    with torch.device('meta'), torch.no_grad():
        model = MODELS.build(without_pretrained(cfg.model)).eval()
        with FlopCounterMode(display=False) as counter:
            model.bbox_head(model.extract_feat(torch.zeros(1, 3, height, width)))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.005)


def rates(name: str) -> list[float]:
    """Learning rate at the start and after each epoch of 600 iterations."""
    cfg = load(name)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        (
            scheduler.by_epoch,
            PARAM_SCHEDULERS.build({**scheduler, 'optimizer': optimizer}),
        )
        for scheduler in cfg.get('param_scheduler') or ()
    ]
    found = [optimizer.param_groups[0]['lr']]
    for _ in range(cfg.train_cfg.max_epochs):
        for _ in range(600):
            optimizer.step()
            for _, scheduler in (s for s in schedulers if not s[0]):
                scheduler.step()
        for _, scheduler in (s for s in schedulers if s[0]):
            scheduler.step()
        found.append(optimizer.param_groups[0]['lr'])
    return found


def test_schedule() -> None:
    found = rates(SNET)
    assert len(found) == 1 + 20
    assert found[0] == pytest.approx(0.001)
    assert found[1:7] == pytest.approx([0.01] * 6)
    assert found[7:15] == pytest.approx([0.001] * 8)
    assert found[15:20] == pytest.approx([0.0001] * 5)


def test_fine_tuning_goes_on_from_the_teacher() -> None:
    """Table 9: the teacher's checkpoint, and learning rates that follow on its last."""
    plans = [f'retinanet-fine-tune-{plan}_r50_fpn_10e_visdrone-512' for plan in (1, 2)]
    last = rates(TNET)[19]
    assert rates(plans[0])[:10] == pytest.approx([last] * 3 + [last / 10] * 7)
    assert rates(plans[1]) == pytest.approx([last / 10] * 11)
    epochs = load(TNET).train_cfg.max_epochs
    for plan in plans:
        assert load(plan).load_from == f'work_dirs/{TNET}/epoch_{epochs}.pth'
        assert different(plan, SNET) == {
            *('load_from', 'train_cfg', 'optim_wrapper', 'param_scheduler')
        }


def different(name: str, base: str) -> set[str]:
    """Keys of two configs that differ, those of the model one level deeper."""
    flat = []
    for cfg in (load(name).to_dict(), load(base).to_dict()):
        model = {f'model.{key}': value for key, value in cfg.pop('model').items()}
        flat.append({**cfg, **model})
    return {key for key in {*flat[0], *flat[1]} if flat[0].get(key) != flat[1].get(key)}


@pytest.mark.parametrize(
    ('name', 'base', 'keys'),
    [
        ('retinanet_r50_pafpn_20e_visdrone-512', SNET, {'neck'}),
        ('retinanet_r50_no-top-down_20e_visdrone-512', SNET, {'neck', 'backbone'}),
        ('retinanet_r50_libra_20e_visdrone-512', SNET, {'neck', 'bbox_head'}),
        (
            'retinanet_r50_nas-fpn_20e_visdrone-512',
            SNET,
            {'neck', 'data_preprocessor'},
        ),
        ('retinanet_r101_fpn_20e_visdrone-1024', TNET, {'backbone'}),
        (
            'atss_r101_fpn_20e_visdrone-1024',
            'retinanet_r101_fpn_20e_visdrone-1024',
            {'type', 'bbox_head', 'train_cfg'},
        ),
        (
            'faster-rcnn_hrnetv2-w18_fpn_20e_visdrone-512',
            'faster-rcnn_r50_fpn_20e_visdrone-512',
            {'backbone', 'neck'},
        ),
    ],
)
def test_rows_differ_in_one_thing(name: str, base: str, keys: set[str]) -> None:
    """Same data, schedule and evaluation: tables 4, 6 and 8 compare networks."""
    assert different(name, base) == {f'model.{key}' for key in keys}


def found(cfg: Any, key: str) -> Iterator[Any]:
    """Every value of a key, however deep."""
    if isinstance(cfg, dict):
        if key in cfg:
            yield cfg[key]
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for part in cfg:
            yield from found(part, key)


@pytest.mark.parametrize('name', PLAIN)
def test_conditions_that_all_share(name: str) -> None:
    cfg = load(name)
    assert cfg.train_dataloader.batch_size == 4
    assert set(found(cfg.model, 'num_classes')) == {10}
    assigners = list(found(cfg.model.train_cfg, 'assigner'))
    assert assigners
    assert {assigner.ignore_iof_thr for assigner in assigners} == {0.5}
    test_cfg = cfg.model.test_cfg
    assert test_cfg.get('rcnn', test_cfg).max_per_img == 500
