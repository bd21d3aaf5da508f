"""Trainings of a second on a few small images, with work dirs as real ones leave."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
_names = (f'trained_{number}' for number in itertools.count())


def visdrone_config(model: dict, data: Path, epochs: int = 1, seed: int = 0) -> Config:
    """A complete config on ``data/train`` and ``data/val`` in VisDrone's layout."""
    load = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
    ]
    pack = dict(type='PackDetInputs', meta_keys=(*META_KEYS, 'instances'))

    def dataset(folder: str, **options: Any) -> dict:
        return dict(
            type='aerialkd.VisDroneDataset', data_root=str(data / folder), **options
        )

    return config(
        model,
        dataset('train', pipeline=[*load, dict(type='PackDetInputs')]),
        dataset('val', pipeline=[*load, pack], test_mode=True),
        dict(type='aerialkd.VisDroneMetric', classwise=True),
        epochs,
        seed,
    )


def config(
    model: dict, train: dict, val: dict, metric: dict, epochs: int = 1, seed: int = 0
) -> Config:
    """A complete config; trains with batches of two, validates after each epoch."""

    def loader(dataset: dict, shuffle: bool) -> dict:
        sampler = dict(type='DefaultSampler', shuffle=shuffle)
        return dict(batch_size=2, num_workers=0, sampler=sampler, dataset=dataset)

    return Config(
        dict(
            default_scope='mmdet',
            model=model,
            train_dataloader=loader(train, True),
            val_dataloader=loader(val, False),
            test_dataloader=loader(val, False),
            val_evaluator=metric,
            test_evaluator=metric,
            train_cfg=dict(
                type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1
            ),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(
                optimizer=dict(type='AdamW', lr=0.002), clip_grad=dict(max_norm=10)
            ),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            custom_imports=dict(imports=['aerialkd'], allow_failed_imports=False),
            randomness=dict(seed=seed),
            log_level='WARNING',
        )
    )


def train(cfg: Config, work_dir: Path, resume: bool = False) -> Path:
    """Train in this process with a config file beside the work dir; returns that."""
    file = work_dir.with_suffix('.py')
    cfg.dump(file)
    cfg = Config.fromfile(file)
    name = next(_names)
    cfg.update(work_dir=str(work_dir), experiment_name=name, resume=resume)
    backends = [dict(type='LocalVisBackend')]
    cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=backends, name=name)
    Runner.from_cfg(cfg).train()
    return work_dir


def write_turned_objects(root: Path, images: int = 3, seed: int = 0) -> Path:
    """Turned bright planes and ships on dark ground, in DOTA's layout."""
    rng = np.random.default_rng(seed)
    for folder in ('images', 'annfiles'):
        (root / folder).mkdir(parents=True)
    for index in range(images):
        image = rng.integers(0, 60, (64, 64, 3), np.uint8)
        lines = []
        for number, centre in enumerate(rng.uniform(14, 50, (3, 2))):
            box = (centre.tolist(), (22.0, 9.0), float(rng.uniform(0, 180)))
            points = cv2.boxPoints(box)
            cv2.fillPoly(image, [points.round().astype(int)], (220, 200, 180))
            name = ('plane', 'ship')[number % 2]
            numbers = ' '.join(f'{value:.1f}' for value in points.ravel())
            # The last one is difficult, hence ignored with diff_thr=0.
            lines.append(f'{numbers} {name} {int(number == 2)}\n')
        cv2.imwrite(str(root / 'images' / f'P{index:04d}.png'), image)
        (root / 'annfiles' / f'P{index:04d}.txt').write_text(''.join(lines))
    return root


def dota_config(model: dict, root: Path) -> Config:
    """A complete config on DOTA's layout, with rotated boxes."""
    load = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.Resize', scale=(64, 64), keep_ratio=True),
        dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
        dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    ]

    def dataset(**options: Any) -> dict:
        return dict(
            type='mmrotate.DOTADataset',
            data_root=str(root),
            ann_file='annfiles/',
            data_prefix=dict(img_path='images/'),
            diff_thr=0,
            metainfo=dict(classes=('plane', 'ship', 'harbor')),
            **options,
        )

    pack = dict(type='mmdet.PackDetInputs', meta_keys=META_KEYS)
    return config(
        model,
        dataset(pipeline=[*load, dict(type='mmdet.PackDetInputs')]),
        dataset(pipeline=[*load, pack], test_mode=True),
        dict(type='mmrotate.DOTAMetric'),
    )
