"""The data configs find their folders; a detector trains and is measured on them."""

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
from tests.miniatures import write_visdrone
from tests.trained import write_dota

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
SPLITS = {
    'visdrone_512': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_640': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_1333x800': ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'),
    'visdrone_mini': ('train', 'val'),
    'demo': ('train', 'val'),
}
ROTATED_SPLITS = {'dota_1024': ('train', 'val')}
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
    assert 0 <= metrics['visdrone/AP@500'] < 0.5


@pytest.mark.parametrize('name', ROTATED_SPLITS)
def test_rotated_trains_and_measures(
    name: str, tmp_path: Path, monkeypatch, without_processes
) -> None:
    monkeypatch.chdir(tmp_path)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmrotate')
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    for split in ROTATED_SPLITS[name]:
        write_dota(Path(cfg.data_root) / split)
    detector = rotated_retinanet()
    detector.bbox_head.num_classes = 15
    model = MODELS.build(detector)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    assert tuple(batch['inputs'].shape[2:]) == cfg.image_scale
    losses = model(**batch, mode='loss')
    assert all(
        torch.isfinite(torch.stack(list(loss))).all() for loss in losses.values()
    )
    val = DATASETS.build(cfg.val_dataloader.dataset)
    # Without it mmrotate leaves a folder to the garbage collector, which warns.
    cfg.val_evaluator.outfile_prefix = str(tmp_path / 'results')
    evaluator = Evaluator([METRICS.build(cfg.val_evaluator)])
    evaluator.dataset_meta = val.metainfo
    samples = [sample['data_samples'] for sample in (val[0], val[1])]
    # The truth as the prediction: both are in pixels of the original image.
    for sample in samples:
        truth = sample.gt_instances
        assert (truth.bboxes.centers < max(sample.ori_shape)).all()
        scores = torch.ones(len(truth.labels))
        sample.pred_instances = InstanceData(
            bboxes=truth.bboxes.tensor, labels=truth.labels, scores=scores
        )
        truth.bboxes = truth.bboxes.tensor
        sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
        evaluator.process(data_samples=[sample.to_dict()])
    metrics = evaluator.evaluate(len(samples))
    assert metrics['dota/mAP'] == pytest.approx(1)


def test_official_training_data_has_bad_lines(tmp_path: Path) -> None:
    """Three boxes of height 0 must not stop a run on the official archives."""
    for name in ('visdrone_512', 'visdrone_640', 'visdrone_1333x800'):
        cfg = Config.fromfile(FOLDER / f'{name}.py')
        images = cfg.train_dataloader.dataset
        assert images.get('dataset', images).bad_annotations == 'skip'
        # What is measured is never thinned out silently.
        assert 'bad_annotations' not in cfg.val_dataloader.dataset
