"""What show_masks.py draws, for both box types, and its errors."""

import copy
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from aerialkd.visualization.masks import mask_sheet, mask_views
from tests.builders import distill, pkd_distiller, retinanet, rotated_retinanet
from tests.exports import build, config, image, save

TOOL = Path(__file__).parents[2] / 'tools' / 'show_masks.py'
BOX = [16.0, 8.0, 39.0, 31.0]


def rdr_kd(**overrides):
    cfg = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
        distill_losses=dict(
            regenerated=dict(
                type='aerialkd.RegeneratedLoss', channels=16, num_levels=2
            ),
            decoupled=dict(type='aerialkd.DecoupledLoss'),
        ),
        loss_forward_mappings=dict(
            regenerated=dict(recorder='fpn', levels=(0, 2)),
            decoupled=dict(recorder='fpn', levels=(0, 1)),
        ),
    )
    return ConfigDict({**cfg, **overrides})


@pytest.fixture
def files(tmp_path):
    """Config and image of a distillation, with a teacher's weights."""

    def made(distiller=None, student=retinanet, scope='mmdet'):
        model = distill(
            architecture=student(), teacher=student(), distiller=distiller or rdr_kd()
        )
        teacher = build(copy.deepcopy(model.teacher))
        model.teacher_ckpt = str(save(teacher, tmp_path / 'teacher.pth'))
        cfg = config(model, scope)
        cfg.dump(tmp_path / 'config.py')
        cv2.imwrite(str(tmp_path / 'image.png'), image(64, 96))
        return cfg, tmp_path / 'image.png'

    return made


def instance(box):
    return dict(bbox=box, bbox_label=0, ignore_flag=0)


def test_each_level_has_the_maps_of_the_losses_that_look_at_it(files):
    cfg, path = files()
    views = mask_views(cfg, path, instances=[instance(BOX)])
    attention, mask = views.levels[2]
    assert sorted(views.levels) == [0, 1, 2]
    assert attention == 'regenerated: attention A_s'
    assert mask.startswith('regenerated: mask M_s')
    weights = views.levels[0]['decoupled: area weights W_q / S_q']
    assert weights.shape == (8, 12)
    # From cell 2 to ceil(39 / 8) = 5 and from 1 to ceil(31 / 8) = 4, inclusive.
    assert np.argwhere(weights > 0).min(0).tolist() == [1, 2]
    assert np.argwhere(weights > 0).max(0).tolist() == [4, 5]
    assert weights.sum() == pytest.approx(1)
    assert views.levels[0]['decoupled: background weights'].sum() == pytest.approx(1)
    assert views.notes == ()
    assert mask_sheet(views).shape[2] == 3


def rotated_files(files, distiller=None):
    """As ``files``, with a pipeline that loads corners."""
    cfg, path = files(distiller, student=rotated_retinanet, scope='mmrotate')
    steps = cfg.test_dataloader.dataset.pipeline
    for step in steps:
        if step['type'].endswith('LoadAnnotations'):
            step.box_type = 'qbox'
    convert = dict(
        type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')
    )
    steps.insert(len(steps) - 1, ConfigDict(convert))
    return cfg, path


DIAMOND = [48.0, 8, 72, 32, 48, 56, 24, 32]


def test_rotated_boxes_select_rotated_cells(files):
    cfg, path = rotated_files(files)
    views = mask_views(cfg, path, instances=[instance(DIAMOND)])
    weights = views.levels[0]['decoupled: area weights W_q / S_q']
    assert views.boxes.shape == (1, 5)
    assert weights[4, 6] > 0  # in the middle
    assert weights[1, 3] == 0  # in the corner of the box around it
    assert mask_sheet(views).shape[2] == 3


def test_positives_are_those_that_the_student_assigns(files):
    """KD-RNet compares priors; their assignment needs boxes, but no trained student."""
    kd_rnet = ConfigDict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(head=dict(type='HeadOutputs')),
        distill_losses=dict(soft=dict(type='aerialkd.SoftClassLoss')),
        loss_forward_mappings=dict(soft='head'),
    )
    cfg, path = rotated_files(files, kd_rnet)
    views = mask_views(cfg, path, instances=[instance(DIAMOND)])
    drawn = [maps['soft: positive priors'] for maps in views.levels.values()]
    assert [x.shape for x in drawn] == [(8, 12), (4, 6), (2, 3), (1, 2)]
    ys, xs = np.nonzero(drawn[1])
    # Around the middle of the diamond, cell (2, 3) of 16 pixels.
    assert len(ys)
    assert np.abs(16 * (ys + 0.5) - 32).max() <= 24
    assert np.abs(16 * (xs + 0.5) - 48).max() <= 24
    empty = mask_views(cfg, path, instances=[])
    assert not any(
        maps['soft: positive priors'].any() for maps in empty.levels.values()
    )
    assert mask_sheet(views).shape[2] == 3


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_without_ground_truth_it_says_so(files, tmp_path, monkeypatch, capsys):
    files()
    out = tmp_path / 'drawn' / 'masks.png'
    run(monkeypatch, tmp_path / 'config.py', tmp_path / 'image.png', '--out', out)
    height, width = cv2.imread(str(out)).shape[:2]
    first, note = capsys.readouterr().out.splitlines()
    assert first == f'{out}: {width}x{height}, 3 levels'
    assert note.startswith('note: drawn as an image without objects: ')


def test_errors_are_one_line(files, tmp_path, monkeypatch, capsys):
    files(distiller=pkd_distiller())
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, tmp_path / 'config.py', tmp_path / 'image.png')
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.count('\n') == 1
    assert 'None of the losses (PKDLoss) selects cells' in printed.err


@pytest.mark.parametrize('threshold', ['adaptive', 0.5])
def test_key_positions_lie_on_the_teachers_image(files, threshold):
    """A teacher at twice the scale: picture, boxes and maps are of its image."""
    distiller = pkd_distiller(
        distill_losses=dict(
            pos=dict(type='aerialkd.PositionAwareL2Loss', threshold=threshold)
        ),
        loss_forward_mappings=dict(pos='fpn'),
    )
    cfg, path = files(distiller)
    cfg.model.update(type='aerialkd.CrossScaleDistill', scale=2)
    cfg.model.architecture.bbox_head.update(type='aerialkd.LARetinaHead', upsample=2)
    views = mask_views(cfg, path, instances=[instance(BOX)])
    assert views.image.shape == (128, 192, 3)  # twice the 64 x 96 of the pipeline
    assert views.boxes.tolist() == [[2 * side for side in BOX]]
    drawn = [maps['pos: key positions'] for maps in views.levels.values()]
    assert [x.shape for x in drawn] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    ys, xs = np.nonzero(drawn[0])
    # Around the middle of the box, (55, 39) of the teacher's pixels, 8 a cell.
    assert [xs.mean(), ys.mean()] == pytest.approx([55 / 8, 39 / 8], abs=1.0)
    assert len(xs) < drawn[0].size / 2
