"""Testing on images without annotations: the files that benchmarks take."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from aerialkd.engine.format_only import write_files_only
from aerialkd.errors import ConfigError
from tests.builders import retinanet, rotated_retinanet
from tests.miniatures import write_dota, write_hrsc2016, write_visdrone
from tests.trained import META_KEYS, config, visdrone_config

SIZE = (64, 64)
CLASSES = ('insulator', 'tower', 'cable')
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=SIZE, keep_ratio=True),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    dict(type='mmdet.PackDetInputs', meta_keys=(*META_KEYS, 'instances')),
]


def files_of(cfg: Config, model: dict, root: Path) -> tuple[Path, Path]:
    """The config, and a checkpoint of weights that are drawn by lot."""
    cfg.experiment_name = root.name  # two tests may begin in the same second
    cfg.dump(root / 'config.py')
    torch.save(MODELS.build(model).state_dict(), root / 'weights.pth')
    return root / 'config.py', root / 'weights.pth'


@pytest.fixture
def visdrone(tmp_path: Path) -> tuple[Path, Path]:
    """A config on data of three classes, whose annotations are nowhere."""
    data = tmp_path / 'data'
    images = {f'{name}.jpg': [] for name in ('0000002_00005', '9999')}
    write_visdrone(data / 'val', images, SIZE)
    shutil.rmtree(data / 'val/annotations')
    cfg = visdrone_config(retinanet(3), data)
    for loader in (cfg.test_dataloader, cfg.val_dataloader, cfg.train_dataloader):
        loader.dataset.classes = CLASSES
    return files_of(cfg, retinanet(3), tmp_path)


def test_without_the_option_it_is_named(
    run: Callable, visdrone: tuple[Path, Path], tmp_path: Path
) -> None:
    last, status = run('test', *visdrone, '--work-dir', tmp_path / 'work')
    assert status == 2
    assert 'annotations: no such folder' in last
    assert 'tools/test.py --format-only PREFIX' in last


def test_visdrone_without_annotations(
    run: Callable, visdrone: tuple[Path, Path], tmp_path: Path
) -> None:
    prefix, work_dir = tmp_path / 'new/results', ('--work-dir', tmp_path / 'work')
    assert run('test', *visdrone, *work_dir, '--format-only', prefix)[1] == 0
    written = sorted((tmp_path / 'new/results_visdrone').iterdir())
    assert [file.name for file in written] == ['0000002_00005.txt', '9999.txt']
    rows = [row.split(',') for row in written[0].read_text().splitlines()]
    assert rows
    assert all(len(row) == 8 and row[6:] == ['-1', '-1'] for row in rows)
    assert {row[5] for row in rows} <= {'1', '2', '3'}
    assert (tmp_path / 'new/results.bbox.json').is_file()


def test_other_images_than_the_config_s(
    run: Callable, visdrone: tuple[Path, Path], tmp_path: Path
) -> None:
    write_visdrone(tmp_path / 'data/challenge', {'7.jpg': []}, SIZE)
    shutil.rmtree(tmp_path / 'data/challenge/annotations')
    options = 'test_dataloader.dataset.data_prefix.img_path=../challenge/images'
    done = run(
        *('test', *visdrone, '--work-dir', tmp_path / 'work', '--cfg-options', options),
        *('--format-only', tmp_path / 'results'),
    )
    assert done[1] == 0
    assert [p.name for p in (tmp_path / 'results_visdrone').iterdir()] == ['7.txt']


def test_options_alone_do_it(
    run: Callable, visdrone: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run(
        *('test', *visdrone, '--work-dir', tmp_path / 'work', '--cfg-options'),
        'test_dataloader.dataset.data_prefix.img_path=images',
        'test_dataloader.dataset.data_prefix.ann_path=None',
        'test_evaluator.format_only=True',
        f'test_evaluator.outfile_prefix={tmp_path}/results',
    )
    assert done == ('', 0)
    assert len(list((tmp_path / 'results_visdrone').iterdir())) == 2


def test_tiles_of_dota_and_their_scenes(run: Callable, tmp_path: Path) -> None:
    names = ('P1__64__0___0', 'P1__64__32___0', 'P2__64__0___0')
    root = write_dota(tmp_path / 'data', {f'{n}.png': [] for n in names}, SIZE)
    shutil.rmtree(root / 'labelTxt')
    model = rotated_retinanet()
    dataset = dict(
        type='aerialkd.DOTADataset',
        data_root=str(root),
        classes=CLASSES,
        pipeline=LOAD,
    )
    scenes = dict(img_path='nowhere/images', ann_path='nowhere/labelTxt')
    metric = dict(type='aerialkd.RotatedMetric', merging=dict(scenes=scenes))
    files = files_of(config(model, dataset, dataset, metric), model, tmp_path)
    prefix, work_dir = tmp_path / 'results', ('--work-dir', tmp_path / 'work')
    assert run('test', *files, *work_dir, '--format-only', prefix) == ('', 0)
    for folder in ('results_tiles', 'results_scenes'):
        written = [file.name for file in (tmp_path / folder).iterdir()]
        assert sorted(written) == sorted(
            f'Task1_{name}.txt' for name in dataset['classes']
        )
    lines = (tmp_path / 'results_scenes/Task1_insulator.txt').read_text().splitlines()
    assert {line.split()[0] for line in lines} <= {'P1', 'P2'}


def test_ships_without_xml(run: Callable, tmp_path: Path) -> None:
    root = write_hrsc2016(tmp_path / 'data', {'1.bmp': [], '2.bmp': []}, SIZE)
    shutil.rmtree(root / 'FullDataSet/Annotations')
    model = rotated_retinanet()
    dataset = dict(
        type='aerialkd.HRSC2016Dataset',
        data_root=str(root),
        classes=CLASSES,
        pipeline=LOAD,
    )
    metric = dict(type='aerialkd.RotatedMetric')
    files = files_of(config(model, dataset, dataset, metric), model, tmp_path)
    prefix, work_dir = tmp_path / 'results', ('--work-dir', tmp_path / 'work')
    assert run('test', *files, *work_dir, '--format-only', prefix) == ('', 0)
    assert (tmp_path / 'results_tiles/Task1_insulator.txt').is_file()


@pytest.mark.parametrize(
    ('change', 'prefix', 'message'),
    [
        (dict(test_evaluator=dict(type='DumpResults')), 'a', 'which writes no result'),
        (dict(test_evaluator=None), 'a', 'no test_dataloader or no test_evaluator'),
        (dict(test_dataloader=None), 'a', 'no test_dataloader or no test_evaluator'),
        ({}, '', "format_only: got '', expected the beginning"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, change: dict, prefix: str, message: str
) -> None:
    cfg = visdrone_config(retinanet(3), tmp_path)
    cfg.merge_from_dict(change)
    if change.get('test_evaluator'):
        cfg.test_evaluator = [change['test_evaluator']]
    with pytest.raises(ConfigError, match=message):
        write_files_only(cfg, prefix)


def test_wrapped_data_and_several_metrics(tmp_path: Path) -> None:
    cfg = visdrone_config(retinanet(3), tmp_path)
    inner = cfg.test_dataloader.dataset
    other = dict(type='CocoDataset', ann_file='images.json')
    wrapped = dict(type='ConcatDataset', datasets=[inner, other])
    cfg.test_dataloader.dataset = dict(type='RepeatDataset', times=1, dataset=wrapped)
    coco = dict(type='CocoMetric', ann_file='images.json')
    cfg.test_evaluator = dict(type='Evaluator', metrics=[cfg.test_evaluator, coco])
    write_files_only(cfg, 'results')
    first, second = cfg.test_dataloader.dataset.dataset.datasets
    assert first.data_prefix == dict(img_path='images', ann_path=None)
    assert second == other
    for metric in cfg.test_evaluator:
        assert (metric.format_only, metric.outfile_prefix) == (True, 'results')
