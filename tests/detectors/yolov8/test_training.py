"""The shipped config at 64 pixels: mosaic, its end, averaged weights, resuming."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner

from aerialkd.engine import load_weights

CONFIG = Path(__file__).parents[3] / 'configs/detectors/yolov8/yolov8-n_640_visdrone.py'


def smaller(value):
    """The same config with 64 instead of 640 pixels."""
    if isinstance(value, dict):
        return type(value)({key: smaller(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(smaller(item) for item in value)
    return {640: 64, -320: -32}.get(value, value) if isinstance(value, int) else value


def config(data, work_dir, epochs=2):
    cfg = Config(smaller(Config.fromfile(CONFIG)._cfg_dict))
    for part in (cfg.model.backbone, cfg.model.neck, cfg.model.bbox_head):
        part.size = dict(depth=0.33, width=0.125)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.visualizer.name = work_dir.name
    cfg.log_level = 'WARNING'
    images = cfg.train_dataloader.dataset.dataset
    for dataset, split in (
        (images, 'train'),
        (cfg.val_dataloader.dataset, 'val'),
        (cfg.test_dataloader.dataset, 'val'),
    ):
        dataset.data_root = str(data / split)
        dataset.data_prefix = dict(img_path='images', ann_path='annotations')
    cfg.train_dataloader.update(batch_size=2, num_workers=1)
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.param_scheduler[0].end = cfg.param_scheduler[1].begin = 1
    cfg.param_scheduler[1].end = epochs
    cfg.custom_hooks[1].switch_epoch = 1
    return cfg


class Seen(Hook):
    """Keeps whether the images of each epoch were flipped."""

    def __init__(self):
        self.flips = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        flips = [sample.flip for sample in data_batch['data_samples']]
        self.flips.append((runner.epoch, *flips))


def run(cfg):
    runner = Runner.from_cfg(cfg)
    seen = Seen()
    runner.register_hook(seen)
    runner.train()
    # Left to the garbage collector, a later test would wait for them.
    runner.train_dataloader._iterator._shutdown_workers()
    return runner, seen.flips


def test_training_switches_averages_and_resumes(made_images, tmp_path):
    cfg = config(made_images, tmp_path / 'first')
    # Mosaic or not shows in whether images are flipped: never before, always after.
    cfg.train_dataloader.dataset.pipeline[3].prob = 0.0
    cfg.custom_hooks[1].switch_pipeline[3].prob = 1.0
    assert cfg.train_dataloader.persistent_workers
    runner, flips = run(cfg)
    assert flips == [(0, False, False)] * 3 + [(1, True, True)] * 3

    # The checkpoint's weights are the averaged ones, in the layout of the detector.
    trained = runner.model.state_dict()
    saved = torch.load(tmp_path / 'first/epoch_2.pth', weights_only=False)
    assert saved['state_dict'].keys() == trained.keys()
    name = 'backbone.stages.0.1.main_conv.conv.weight'
    average = runner._hooks[[type(h).__name__ for h in runner._hooks].index('EMAHook')]
    averaged = average.ema_model.module.state_dict()
    assert not torch.equal(averaged[name], trained[name])
    for key, value in load_weights(tmp_path / 'first/epoch_2.pth').state_dict.items():
        assert torch.equal(value, averaged[key]), key
    assert any('visdrone/AP' in key for key in runner.message_hub.log_scalars)

    # No decay of norms and biases; the bins are not trained.
    decays = {}
    for group in runner.optim_wrapper.param_groups:
        decays.setdefault(group['weight_decay'], []).extend(group['params'])
    assert set(decays) == {0.0, 0.0005}
    assert all(p.ndim == 4 or not p.requires_grad for p in decays[0.0005])
    assert all(p.ndim == 1 for p in decays[0.0])
    assert torch.equal(trained['bbox_head.projection'], torch.arange(16.0))

    # Resumed behind the switch: without mosaic, from trained and averaged weights.
    cfg = config(made_images, tmp_path / 'second', epochs=3)
    cfg.train_dataloader.dataset.pipeline[3].prob = 0.0
    cfg.custom_hooks[1].switch_pipeline[3].prob = 1.0
    cfg.resume, cfg.load_from = True, str(tmp_path / 'first/epoch_2.pth')
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.param_scheduler = []
    again, flips = run(cfg)
    assert flips == [(2, True, True)] * 3
    average = again._hooks[[type(h).__name__ for h in again._hooks].index('EMAHook')]
    assert int(average.ema_model.steps) == 9


def write_images(folder, lines, image):
    for name in ('images', 'annotations'):
        (folder / 'train' / name).mkdir(parents=True)
    for name in 'abcdef':
        cv2.imwrite(str(folder / f'train/images/{name}.png'), image)
        (folder / f'train/annotations/{name}.txt').write_text('\n'.join(lines))


def built(folder, late=False):
    """The training data; ``late`` as in the last epochs."""
    cfg = config(folder, folder / 'work')
    dataset = cfg.train_dataloader.dataset
    if late:
        # More steps than before would be cut off silently.
        assert len(cfg.custom_hooks[1].switch_pipeline) <= len(dataset.pipeline)
        dataset.pipeline = cfg.custom_hooks[1].switch_pipeline
    dataset.pipeline = [s for s in dataset.pipeline if 'HSV' not in s.type]
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dataset)


def test_images_that_lose_all_objects_stay(tmp_path):
    """One object of one pixel: too small to keep."""
    write_images(tmp_path, ['5,5,1,1,1,4,0,0'], np.zeros((48, 64, 3), np.uint8))
    dataset = built(tmp_path)
    for packed in (dataset[index] for index in range(6)):
        assert len(packed['data_samples'].gt_instances) == 0


@pytest.mark.parametrize('late', [False, True])
def test_ignored_regions_survive_the_pipelines(tmp_path, late):
    """Boxes and flags stay together: what is ignored is grey, what is not is white."""

    lines = ['10,8,20,16,1,4,0,0', '40,30,16,12,0,0,0,0', '4,34,14,10,1,1,0,0']
    image = np.zeros((48, 64, 3), np.uint8)
    image[8:24, 10:30] = image[34:44, 4:18] = 255
    image[30:42, 40:56] = 60
    write_images(tmp_path, lines, image)
    dataset = built(tmp_path, late)
    objects = ignored = 0
    for index in range(30):
        packed = dataset[index % 6]
        pixels, sample = packed['inputs'].float().mean(0), packed['data_samples']
        assert pixels.shape == (64, 64)
        for instances, value in (
            (sample.gt_instances, 255),
            (sample.ignored_instances, 60),
        ):
            for x1, y1, x2, y2 in instances.bboxes.tensor.tolist():
                column, row = int((x1 + x2) / 2), int((y1 + y2) / 2)
                assert abs(float(pixels[row, column]) - value) < 60
            assert len(instances.bboxes) == len(instances.labels)
        bboxes = sample.gt_instances.bboxes.tensor
        assert ((bboxes >= 0) & (bboxes <= 64)).all()
        objects += len(sample.gt_instances)
        ignored += len(sample.ignored_instances)
    assert objects > 25
    assert ignored > 10
