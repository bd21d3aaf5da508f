"""Heads, data and weights that speak of other classes are found before a step."""

from __future__ import annotations

import itertools

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from aerialkd.engine import classes
from aerialkd.engine.classes import check_classes, class_outputs, compare_names
from aerialkd.errors import ConfigError
from tests.builders import distill, pkd_distiller, retinanet, yolov8
from tests.trained import visdrone_config

FIVE = ('car', 'van', 'truck', 'bus', 'motor')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_number = itertools.count()


def faster_rcnn(num_classes, stages=0):
    """Two-stage; with ``stages`` a cascade of box heads."""
    single = retinanet()
    head = dict(
        type='mmdet.Shared2FCBBoxHead',
        in_channels=16,
        fc_out_channels=16,
        roi_feat_size=7,
        num_classes=num_classes,
    )
    roi = dict(
        type='mmdet.CascadeRoIHead' if stages else 'mmdet.StandardRoIHead',
        bbox_roi_extractor=dict(
            type='mmdet.SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=16,
            featmap_strides=[8, 16, 32, 64],
        ),
        bbox_head=[head] * stages or head,
        **(dict(num_stages=stages, stage_loss_weights=[1] * stages) if stages else {}),
    )
    return ConfigDict(
        type='mmdet.FasterRCNN',
        data_preprocessor=single.data_preprocessor,
        backbone=single.backbone,
        neck=single.neck,
        rpn_head=dict(
            type='mmdet.RPNHead',
            in_channels=16,
            feat_channels=16,
            anchor_generator=single.bbox_head.anchor_generator,
        ),
        roi_head=roi,
        train_cfg=None,
        test_cfg=dict(rpn=dict(), rcnn=dict()),
    )


HEADS = {
    'RetinaNet': (lambda n: retinanet(n), ['bbox_head']),
    'YOLOv8': (lambda n: yolov8(n), ['bbox_head']),
    'Faster R-CNN': (faster_rcnn, ['roi_head.bbox_head']),
    'Cascade R-CNN': (
        lambda n: faster_rcnn(n, 2),
        ['roi_head.bbox_head.0', 'roi_head.bbox_head.1'],
    ),
}


def data(*names):
    """A config whose loaders have these classes, in their order."""
    loaders = {}
    for loader, each in zip(LOADERS, names, strict=True):
        dataset = dict(type='mmdet.CocoDataset', metainfo=dict(classes=each))
        loaders[loader] = dict(dataset=dataset)
    return Config(loaders)


@pytest.mark.parametrize('name', HEADS)
def test_every_head_has_the_number_of_the_data(name):
    make, places = HEADS[name]
    model = MODELS.build(make(10))
    assert list(class_outputs(model)) == [(place, 10) for place in places]
    with pytest.raises(ConfigError) as told:
        check_classes(data(FIVE, FIVE, FIVE), model, LOADERS)
    message = str(told.value)
    assert message.startswith(f'{places[0]}.num_classes: got 10, but the data of train')
    assert 'have 5 classes (car, van, truck, bus, motor); set it to 5' in message
    check_classes(data(FIVE, FIVE, FIVE), MODELS.build(make(5)), LOADERS)


@pytest.mark.parametrize('loader', LOADERS)
def test_data_of_every_loader(loader):
    model = MODELS.build(retinanet(5))
    names = [FIVE[:4] if loader == each else FIVE for each in LOADERS]
    other = f'got 5, but the data of {loader} have 4 .*give them those of'
    with pytest.raises(ConfigError, match=other):
        check_classes(data(*names), model, LOADERS)
    swapped = ('van', 'car', *FIVE[2:])
    names = [swapped if loader == each else FIVE for each in LOADERS]
    with pytest.raises(ConfigError, match='differ from position 0 on'):
        check_classes(data(*names), model, LOADERS)


def test_of_a_distillation_its_student():
    model = MODELS.build(distill())
    check_classes(data(*[('car', 'van', 'bus')] * 3), model, LOADERS)
    with pytest.raises(ConfigError, match=r'^bbox_head.num_classes: got 3'):
        check_classes(data(FIVE, FIVE, FIVE), model, LOADERS)


def test_every_data_set_that_is_repeated_or_concatenated():
    inner = data(FIVE, FIVE, FIVE)
    parts = [
        dict(type='mmdet.CocoDataset', metainfo=dict(classes=FIVE[:n])) for n in (5, 4)
    ]
    inner.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=parts),
    )
    with pytest.raises(ConfigError, match=r'got 5, but the data of train.* have 4'):
        check_classes(inner, MODELS.build(retinanet(5)), LOADERS)


def test_one_string_is_no_list_of_letters(tmp_path):
    model = MODELS.build(retinanet(5))
    with pytest.raises(ConfigError, match=r"got the text 'ship', .*\('ship',\)"):
        check_classes(data('ship', 'ship', 'ship'), model, LOADERS)
    file = tmp_path / 'classes.txt'
    file.write_text('\n'.join(FIVE))
    check_classes(data(*[str(file)] * 3), model, LOADERS)


def test_classes_of_a_checkpoint(monkeypatch):
    said = []
    monkeypatch.setattr(classes, 'print_log', lambda text, **_: said.append(text))
    cfg = data(FIVE, FIVE, FIVE)
    compare_names(None, cfg, 'test_dataloader', 'a.pth')
    compare_names(FIVE, cfg, 'test_dataloader', 'a.pth')
    with pytest.raises(ConfigError, match=r'a.pth was trained for 4 classes .* have 5'):
        compare_names(FIVE[:4], cfg, 'test_dataloader', 'a.pth')
    moved = ('car', 'van', 'bus', 'truck', 'motor')
    with pytest.raises(ConfigError, match=r'differ from position 2 on\. Give the data'):
        compare_names(moved, cfg, 'test_dataloader', 'a.pth')
    # Other words for the same things are the user's business.
    compare_names(('auto', *FIVE[1:]), cfg, 'test_dataloader', 'a.pth')
    assert ['outputs are taken by their place' in text for text in said] == [True]


@pytest.fixture
def write(tmp_path, made_images):
    """A config file of a head and data with other classes in one loader."""

    def written(outputs, loader=None):
        cfg = visdrone_config(retinanet(outputs), made_images)
        for each in [loader] if loader else LOADERS:
            cfg[each].dataset.metainfo = dict(classes=FIVE)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.experiment_name = f'classes_{next(_number)}'
        cfg.dump(tmp_path / 'own.py')
        return tmp_path / 'own.py'

    return written


def test_train_says_so_before_it_writes(run, write, tmp_path):
    line, status = run('train', write(10))
    assert (status, line.count('num_classes: got 10, but the data of train')) == (2, 1)
    line, status = run('train', write(10, 'test_dataloader'))
    assert (status, line.count('the data of test_dataloader have 5 classes')) == (2, 1)
    assert not list((tmp_path / 'work').rglob('*.pth'))


def test_test_says_so(run, write, tmp_path):
    model = MODELS.build(retinanet(10))
    meta = dict(dataset_meta=dict(classes=FIVE))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'ten.pth')
    line, status = run('test', write(10), tmp_path / 'ten.pth')
    assert (status, line.count('num_classes: got 10, but the data of test')) == (2, 1)
    line, status = run('test', write(10, 'train_dataloader'), tmp_path / 'ten.pth')
    assert (status, line.count('ten.pth was trained for 5 classes')) == (2, 1)


def test_teacher_is_compared_with_the_data_it_teaches_on(write, run, tmp_path):
    """Not with those of whatever runner was built last in the process."""
    cfg = Config.fromfile(write(5))
    meta = dict(dataset_meta=dict(classes=('van', 'car', *FIVE[2:])))
    teacher = retinanet(5, width=16)
    state = MODELS.build(teacher).state_dict()
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'teacher.pth')
    cfg.model = dict(
        type='aerialkd.DetectionDistill',
        architecture=cfg.model,
        teacher=teacher,
        teacher_ckpt=str(tmp_path / 'teacher.pth'),
        teacher_check=False,
        distiller=pkd_distiller(),
    )
    cfg.dump(tmp_path / 'distilled.py')
    line, status = run('train', tmp_path / 'distilled.py')
    assert (status, line.count('The teacher was trained for other classes')) == (2, 1)
