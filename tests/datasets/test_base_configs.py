"""The data configs find their folders; a detector trains and is measured on them."""

import math
from pathlib import Path

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from mmengine.structures import InstanceData

from tests.builders import retinanet, rotated_retinanet
from tests.miniatures import (
    hrsc_object,
    write_dota,
    write_hrsc2016,
    write_visdrone,
)

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
SPLITS = {
    'visdrone_512': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_640': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_1024': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_1333x800': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_mini': ('train', 'val'),
    'visdrone_mini_half': ('train', 'val'),
    'demo': ('train', 'val'),
    'demo_96': ('train', 'val'),
}
ROTATED_SPLITS = {
    'dota_512': ('train', 'val'),
    'dota_600': ('train', 'val'),
    'dota_1024': ('train', 'val'),
    'dota_mini': ('tiles/train', 'tiles/val'),
    'demo_rotated': ('train', 'val'),
    'hrsc2016_800': (),
}
LINES = ['20,20,40,30,1,4,0,0', '70,60,9,12,1,1,0,0', '100,10,20,16,0,0,0,0']


def test_every_config_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob('*.py')} == {*SPLITS, *ROTATED_SPLITS}


@pytest.mark.parametrize('name', SPLITS)
def test_trains_and_measures(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    for split in SPLITS[name]:
        images = {'a.jpg': LINES, 'b.jpg': LINES[:2]}
        write_visdrone(Path(cfg.data_root) / split, images, size=(160, 120))
    model = MODELS.build(retinanet(num_classes=10))
    train = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    losses = model(**batch, mode='loss')
    assert all(
        torch.isfinite(torch.stack(list(loss))).all() for loss in losses.values()
    )
    boxes = torch.cat([s.gt_instances.bboxes for s in batch['data_samples']])
    assert len(boxes)
    assert (boxes[:, 2:] > boxes[:, :2]).all()

    val = DATASETS.build(cfg.val_dataloader.dataset)
    evaluator = Evaluator([METRICS.build(cfg.val_evaluator)])
    evaluator.dataset_meta = val.metainfo
    model.eval()
    for index in range(len(val)):
        batch = pseudo_collate([val[index]])
        with torch.no_grad():
            samples = model.test_step(batch)
        evaluator.process(data_samples=samples, data_batch=batch)
        # Predictions and ground truth that is drawn: in pixels of the original.
        truth = samples[0].gt_instances.bboxes[0]
        assert truth.tolist() == [20, 20, 60, 50]
        assert (samples[0].pred_instances.bboxes[:, 2] <= 160.01).all()
    metrics = evaluator.evaluate(len(val))
    assert 0 <= metrics['visdrone/AP_at_500'] < 0.5


def write_rotated(name: str, cfg: Config) -> None:
    """A miniature of the data, in the folders that the config names."""
    line, moved = (
        f'{20 + x} 30 {60 + x} 20 {65 + x} 40 {25 + x} 50 ship 0' for x in (0, 40)
    )
    images = {'P0001__120__0___0.png': [line], 'P0001__120__40___0.png': [line]}
    if name == 'hrsc2016_800':
        objects = [hrsc_object((42.5, 35.0, 41.2, 20.6, -0.24))]
        write_hrsc2016(Path(cfg.data_root), dict.fromkeys(images, objects), (160, 120))
        lists = Path(cfg.data_root) / 'ImageSets'
        (lists / 'test.txt').write_text((lists / 'trainval.txt').read_text())
        return
    for split in ROTATED_SPLITS[name]:
        folder = write_dota(Path(cfg.data_root) / split, images, (160, 120))
        assert (folder / 'labelTxt').is_dir()
    scenes = (cfg.val_evaluator.get('merging') or {}).get('scenes')
    if scenes:
        root = Path(scenes.img_path).parent
        write_dota(root, {'P0001.png': [line, moved]}, (200, 120))


@pytest.mark.parametrize('name', ROTATED_SPLITS)
def test_rotated_trains_and_measures(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmrotate')
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    write_rotated(name, cfg)
    detector = rotated_retinanet()
    detector.bbox_head.num_classes = 15
    model = MODELS.build(detector)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    width, height = cfg.get('crop_size', cfg.image_scale)
    assert batch['inputs'].shape[2] <= 32 * math.ceil(height / 32)
    assert batch['inputs'].shape[3] <= 32 * math.ceil(width / 32)
    losses = model(**batch, mode='loss')
    assert all(
        torch.isfinite(torch.stack(list(loss))).all() for loss in losses.values()
    )
    val = DATASETS.build(cfg.val_dataloader.dataset)
    evaluator = Evaluator([METRICS.build(cfg.val_evaluator)])
    evaluator.dataset_meta = val.metainfo
    samples = [sample['data_samples'] for sample in (val[0], val[1])]
    # The truth as the prediction: both are in pixels of the original image.
    for sample in samples:
        truth = sample.gt_instances
        assert (truth.bboxes.centers < 65).all()
        sample.pred_instances = InstanceData(
            bboxes=truth.bboxes.tensor, labels=truth.labels, scores=torch.ones(1)
        )
        truth.bboxes = truth.bboxes.tensor
        evaluator.process(data_samples=[sample.to_dict()])
    metrics = evaluator.evaluate(len(samples))
    assert metrics['rotated/mAP50'] == pytest.approx(1)
    if 'merging' in cfg.val_evaluator:
        assert metrics['rotated/scenes/mAP50'] == pytest.approx(1)


def test_official_training_data_has_bad_lines(tmp_path: Path) -> None:
    """Three boxes of height 0 must not stop a run on the official archives."""
    for name in ('visdrone_512', 'visdrone_640', 'visdrone_1024', 'visdrone_1333x800'):
        cfg = Config.fromfile(FOLDER / f'{name}.py')
        images = cfg.train_dataloader.dataset
        assert images.get('dataset', images).bad_annotations == 'skip'
        # What is measured is never thinned out silently.
        assert 'bad_annotations' not in cfg.val_dataloader.dataset


@pytest.mark.parametrize(
    ('half', 'whole'),
    [
        ('visdrone_512', 'visdrone_1024'),
        ('visdrone_mini_half', 'visdrone_mini'),
        ('demo_96', 'demo'),
        ('dota_512', 'dota_1024'),
    ],
)
def test_zoomed_pipeline_is_that_of_twice_the_size(half: str, whole: str) -> None:
    """Student and teacher of a cross-scale pair see the same augmentations."""
    student, teacher = (
        Config.fromfile(FOLDER / f'{name}.py') for name in (half, whole)
    )
    assert student.zoomed_train_pipeline == teacher.train_dataloader.dataset.get(
        'dataset', teacher.train_dataloader.dataset
    ).get('pipeline')
    scales = [
        cfg.test_dataloader.dataset.pipeline[1].scale for cfg in (student, teacher)
    ]
    assert [2 * length for length in scales[0]] == list(scales[1])
