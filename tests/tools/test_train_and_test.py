"""The tools as a user runs them: train, resume, distil, evaluate."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from tests.builders import distill, retinanet
from tests.processes import ROOT, run_tool


def write_images(root, count):
    """Bright cars on dark ground, in VisDrone's layout."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'annotations'):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        image = rng.integers(0, 60, (64, 96, 3), np.uint8)
        lines = []
        for x, y in rng.integers(0, (70, 44), (3, 2)):
            image[y : y + 14, x : x + 22] = 220
            lines.append(f'{x},{y},22,14,1,4,0,0')
        Image.fromarray(image).save(root / 'images' / f'{index}.png')
        (root / 'annotations' / f'{index}.txt').write_text('\n'.join(lines) + '\n')


def config(path, model, data, epochs):
    """A complete config file on the data that write_images made."""
    meta_keys = (
        'img_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'instances',
    )

    def loader(folder, shuffle, pipeline, **options):
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            dataset=dict(
                type='aerialkd.VisDroneDataset',
                data_root=str(data / folder),
                pipeline=pipeline,
                **options,
            ),
        )

    load = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
    ]
    flip = dict(type='RandomFlip', prob=0.5)
    train = loader('train', True, [*load, flip, dict(type='PackDetInputs')])
    pack = dict(type='PackDetInputs', meta_keys=meta_keys)
    val = loader('val', False, [*load, pack], test_mode=True)
    cfg = Config(
        dict(
            default_scope='mmdet',
            model=model,
            train_dataloader=train,
            val_dataloader=val,
            test_dataloader=val,
            val_evaluator=dict(type='aerialkd.VisDroneMetric'),
            test_evaluator=dict(type='aerialkd.VisDroneMetric'),
            train_cfg=dict(
                type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=9
            ),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.002)),
            custom_imports=dict(imports=['aerialkd'], allow_failed_imports=False),
            default_hooks=dict(visualization=dict(type='DetVisualizationHook')),
            visualizer=dict(
                type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
            ),
        )
    )
    cfg.dump(path)
    return path


def test_from_data_to_a_distilled_student(tmp_path):
    for folder, count in (('train', 8), ('val', 3)):
        write_images(tmp_path / folder, count)
    teacher = config(tmp_path / 'teacher.py', retinanet(10, width=16), tmp_path, 1)
    work_dir = tmp_path / 'teacher'
    done = run_tool('train', teacher, '--work-dir', work_dir)
    assert done.returncode == 0, done.stderr[-3000:]
    # Resumed, it goes on with the second epoch.
    more = ('--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    done = run_tool('train', teacher, '--work-dir', work_dir, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'resumed epoch: 1' in done.stdout + done.stderr
    checkpoint = work_dir / 'epoch_2.pth'

    model = distill(
        architecture=retinanet(10),
        teacher=str(teacher),
        teacher_ckpt=str(checkpoint),
    )
    distilled = config(tmp_path / 'pkd.py', model, tmp_path, 1)
    done = run_tool('train', distilled, '--work-dir', tmp_path / 'pkd')
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'distill.loss_pkd' in done.stdout + done.stderr
    student = tmp_path / 'pkd' / 'epoch_1.pth'
    content = torch.load(student, weights_only=False)
    assert set(content['state_dict']) == set(MODELS.build(retinanet(10)).state_dict())
    assert not any('teacher' in str(key) for key in content['optimizer'])
    # No teacher on disk: the student is evaluated alone, with detections drawn.
    checkpoint.unlink()
    done = run_tool(
        'test',
        distilled,
        student,
        '--work-dir',
        tmp_path / 'test',
        '--show-dir',
        'drawn',
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'visdrone/AP50_at_100' in done.stdout + done.stderr
    assert 'visdrone/AR_at_500' in done.stdout + done.stderr
    assert len(list((tmp_path / 'test').rglob('drawn/*.png'))) == 3
    done = run_tool(
        *('test', distilled, student, '--work-dir', tmp_path / 'tta', '--tta'),
        *('--out', tmp_path / 'predictions.pkl'),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'visdrone/AP_at_500' in done.stdout + done.stderr
    assert (tmp_path / 'predictions.pkl').is_file()
    # The run checks class names before the first step.
    renamed = torch.load(student, weights_only=False)
    renamed['meta']['dataset_meta']['classes'] = tuple('abcdefghij')
    torch.save(renamed, tmp_path / 'renamed.pth')
    options = (
        f'model.teacher_ckpt={tmp_path}/renamed.pth',
        f'model.teacher={distilled.with_name("student.py")}',
    )
    config(tmp_path / 'student.py', retinanet(10), tmp_path, 1)
    done = run_tool(
        'train', distilled, '--work-dir', tmp_path / 'x', '--cfg-options', *options
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: The teacher was trained for other classes')


@pytest.mark.parametrize(
    ('name', 'args', 'message'),
    [
        ('train', ['nothing.py'], 'error: nothing.py: no such config file.'),
        (
            'test',
            ['configs/demo/retinanet_student.py', 'nothing.pth'],
            'error: nothing.pth: no such checkpoint file.',
        ),
        pytest.param(
            'train',
            ['configs/demo/retinanet_student.py', '--amp'],
            'error: --amp needs a GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU'),
        ),
        (
            'profile_step',
            ['configs/demo/retinanet_student.py'],
            'is no distillation, there is no model.teacher.',
        ),
    ],
)
def test_mistakes_end_in_one_line(name, args, message, run, monkeypatch):
    monkeypatch.chdir(ROOT)
    last, status = run(name, *args)
    assert status == 2
    assert message in last


def test_profile_prints_the_ratio():
    done = run_tool(
        *('profile_step', 'configs/demo/pkd_retinanet.py', '--size', 96, 96),
        *('--batch-size', 1, '--boxes', 4, '--repeats', 2),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.strip().splitlines()
    assert lines[-1].startswith('ratio whole/(student + teacher): ')
    words = [line.split()[0] for line in lines[1:]]
    assert words == ['student', 'teacher', 'whole', 'loss_pkd', 'peak', 'ratio']
