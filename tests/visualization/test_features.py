import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    TeacherError,
)
from aerialkd.losses import DistillLoss, PKDLoss
from aerialkd.registry import MODELS as OURS
from aerialkd.visualization.features import (
    FeatureViews,
    LevelView,
    feature_sheet,
    feature_views,
)
from tests.builders import (
    batch,
    distill,
    fcos,
    pkd_distiller,
    retinanet,
    rotated_retinanet,
)
from tests.exports import build, config, image, save
from tests.miniatures import write_visdrone

WIDTH, HEIGHT = 150, 90
ALIGN = dict(
    type='aerialkd.PyramidAligner', in_channels=16, out_channels=16, num_levels=2
)
ALIGNED = pkd_distiller(
    connectors=dict(align=ALIGN),
    loss_forward_mappings=dict(
        pkd=dict(recorder='fpn', levels=(1, 3), connector='align')
    ),
)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), image(HEIGHT, WIDTH))
    return path


@pytest.fixture
def run(tmp_path):
    """A distillation's config, and files of its own and of its teacher's weights."""

    def made(pipeline=None, data_root='', scope='mmdet', **overrides):
        model = distill(**overrides)
        teacher = build(copy.deepcopy(model.teacher))
        model.teacher_ckpt = str(save(teacher, tmp_path / 'teacher.pth'))
        cfg = config(model, scope, data_root=str(data_root), test_mode=True)
        if pipeline:
            cfg.test_dataloader.dataset.pipeline = pipeline
        return cfg, save(build(copy.deepcopy(model)), tmp_path / 'epoch_1.pth')

    return made


@pytest.fixture
def area_loss():
    """A loss that looks at the ground truth."""

    @OURS.register_module(force=True)
    class AreaLoss(DistillLoss):
        def forward(self, preds_S, preds_T, batch=None):
            return sum(level.sum() * 0 for level in preds_S)

        def spatial_maps(self, preds_S, preds_T, batch=None):
            assert batch.assigned.positive.any()
            return {'boxes': tuple(batch.rasterize(x.shape[2:]) for x in preds_S)}

    yield dict(
        distiller=pkd_distiller(
            distill_losses=dict(
                area=dict(type='aerialkd.AreaLoss'), pkd=dict(type='aerialkd.PKDLoss')
            ),
            loss_forward_mappings=dict(area='fpn', pkd='fpn'),
        )
    )
    OURS.module_dict.pop('AreaLoss')


def independent_maps(cfg, checkpoint, path):
    """Pyramids of student and teacher from plain detectors, without recorders."""
    student = MODELS.build(cfg.model.architecture.copy()).eval()
    state = torch.load(checkpoint)['state_dict']
    student.load_state_dict({k: v for k, v in state.items() if 'distiller' not in k})
    teacher = MODELS.build(cfg.model.teacher.copy()).eval()
    teacher.load_state_dict(torch.load(cfg.model.teacher_ckpt)['state_dict'])
    pixels = torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)
    with torch.no_grad():
        inputs = student.data_preprocessor(dict(inputs=[pixels]))['inputs']
        return student.extract_feat(inputs), teacher.extract_feat(inputs)


def standardised(feat):
    values = feat[0].double().numpy()
    values = values - values.mean((1, 2), keepdims=True)
    return values / values.std((1, 2), ddof=1, keepdims=True)


def test_maps_are_those_of_both_detectors(run, picture):
    cfg, checkpoint = run()
    before = copy.deepcopy(cfg.to_dict())
    views = feature_views(cfg, checkpoint, picture)
    assert cfg.to_dict() == before
    assert views.record == 'fpn'
    assert views.notes == ()
    assert [view.level for view in views.levels] == [0, 1, 2, 3]
    assert [view.stride for view in views.levels] == [8, 16, 32, 64]
    assert [view.student.shape for view in views.levels] == [
        (12, 20),
        (6, 10),
        (3, 5),
        (2, 3),
    ]
    students, teachers = independent_maps(cfg, checkpoint, picture)
    for view, s, t in zip(views.levels, students, teachers, strict=True):
        s, t = standardised(s), standardised(t)
        for got, expected in (
            (view.student, s),
            (view.teacher, t),
            (view.difference, s - t),
        ):
            rms = np.sqrt((expected**2).mean(0))
            np.testing.assert_allclose(got, rms, rtol=1e-3, atol=1e-4)


def test_image_is_what_the_model_saw(run, picture):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.Resize', scale=(75, 45), keep_ratio=True),
        dict(type='mmdet.PackDetInputs', meta_keys=('ori_shape', 'img_shape')),
    ]
    views = feature_views(*run(pipeline), picture)
    assert views.image.shape == (64, 96, 3)  # 45 x 75, padded to multiples of 32
    assert views.image.dtype == np.uint8
    small = cv2.resize(image(HEIGHT, WIDTH), (75, 45))
    assert np.abs(views.image[:45, :75].astype(int) - small).max() <= 1
    assert not views.image[45:].any()
    assert not views.image[:, 75:].any()


def test_loss_maps_have_the_loss_as_mean(run, picture):
    cfg, checkpoint = run()
    views = feature_views(cfg, checkpoint, picture)
    students, teachers = independent_maps(cfg, checkpoint, picture)
    for view, s, t in zip(views.levels, students, teachers, strict=True):
        (values,) = view.losses.values()
        assert list(view.losses) == ['pkd: loss of a cell']
        assert values.shape == view.student.shape
        expected = PKDLoss(loss_weight=1.0)(s, t).item()
        assert values.mean() == pytest.approx(expected, rel=1e-4)


def test_levels_and_connectors_are_those_of_the_loss(run, picture):
    cfg, checkpoint = run(distiller=ALIGNED)
    views = feature_views(cfg, checkpoint, picture)
    assert [view.level for view in views.levels] == [1, 3]
    assert [view.stride for view in views.levels] == [16, 64]
    state = torch.load(checkpoint)['state_dict']
    students, _ = independent_maps(cfg, checkpoint, picture)
    for index, view in enumerate(views.levels):
        weight, bias = (
            state[f'distiller.connectors.align.convs.{index}.{name}']
            for name in ('weight', 'bias')
        )
        aligned = torch.conv2d(students[view.level], weight, bias)
        rms = np.sqrt((standardised(aligned) ** 2).mean(0))
        np.testing.assert_allclose(view.student, rms, rtol=1e-3, atol=1e-4)
        assert list(view.losses) == ['pkd: loss of a cell']


def test_a_student_that_is_its_teacher_does_not_differ(run, picture):
    cfg, _ = run(teacher=retinanet())
    views = feature_views(cfg, cfg.model.teacher_ckpt, picture)
    assert all(view.difference.max() < 1e-5 for view in views.levels)
    assert all(view.student.max() > 0.5 for view in views.levels)


def test_teacher_checkpoint_replaces_that_of_the_config(run, picture, tmp_path):
    cfg, checkpoint = run()
    torch.manual_seed(5)
    other = MODELS.build(cfg.model.teacher.copy())
    other.init_weights()
    path = save(other, tmp_path / 'other.pth')
    first = feature_views(cfg, checkpoint, picture)
    second = feature_views(cfg, checkpoint, picture, teacher_checkpoint=path)
    for a, b in zip(first.levels, second.levels, strict=True):
        assert np.array_equal(a.student, b.student)
        assert not np.allclose(a.teacher, b.teacher)


def test_other_channels_are_compared_by_activation(run, picture):
    architecture = retinanet()
    architecture.neck.out_channels = architecture.bbox_head.in_channels = 8
    distiller = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    )
    cfg, checkpoint = run(architecture=architecture, distiller=distiller)
    views = feature_views(cfg, checkpoint, picture)
    for view, note in zip(views.levels, views.notes, strict=True):
        expected = view.student / view.student.mean() - view.teacher / (
            view.teacher.mean()
        )
        np.testing.assert_allclose(view.difference, np.abs(expected), atol=1e-5)
        assert f'level {view.level}: student 8 channels, teacher 16' in note
        assert view.losses == {}


def test_head_outputs_can_be_shown(run, picture):
    distiller = pkd_distiller(
        recorders=dict(
            head=dict(type='HeadOutputs'), fpn=dict(type='ModuleOutputs', source='neck')
        ),
        loss_forward_mappings=dict(pkd=dict(recorder='head', data_idx=1)),
    )
    cfg, checkpoint = run(distiller=distiller)
    views = feature_views(cfg, checkpoint, picture)
    assert views.record == 'head'  # the first
    assert feature_views(cfg, checkpoint, picture, record='fpn').record == 'fpn'
    model = build(cfg.model.architecture)
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    feats, _ = independent_maps(cfg, checkpoint, picture)
    with torch.no_grad():
        boxes = model.bbox_head(feats)[1]
    for view, level in zip(views.levels, boxes, strict=True):
        rms = np.sqrt((standardised(level) ** 2).mean(0))
        np.testing.assert_allclose(view.student, rms, rtol=1e-3, atol=1e-4)


def test_plain_detector_shows_its_own_features(tmp_path, run, picture):
    checkpoint = save(build(retinanet()), tmp_path / 'plain.pth')
    views = feature_views(config(retinanet()), checkpoint, picture)
    cfg, _ = run()
    same = feature_views(cfg, checkpoint, picture)
    for view, other in zip(views.levels, same.levels, strict=True):
        assert view.teacher is None
        assert view.difference is None
        np.testing.assert_allclose(view.student, other.student, atol=1e-6)
    assert views.record == 'extract_feat'
    sheets = feature_sheet(views), feature_sheet(same)
    assert sheets[0].shape[1] * 3 < sheets[1].shape[1]  # one column instead of four


def test_rotated_detector(run, picture, area_loss):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.Resize', scale=(75, 45), clip_object_border=False),
        dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
        dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
        dict(type='mmdet.PackDetInputs', meta_keys=('ori_shape', 'img_shape')),
    ]
    cfg, checkpoint = run(
        pipeline,
        scope='mmrotate',
        architecture=rotated_retinanet(),
        teacher=rotated_retinanet(),
        **area_loss,
    )
    # A diamond around (60, 48), which becomes (30, 24).
    points = [60, 16, 92, 48, 60, 80, 28, 48]
    instances = [dict(bbox=points, bbox_label=0, ignore_flag=0)]
    views = feature_views(cfg, checkpoint, picture, instances=instances)
    boxes = views.levels[0].losses['area: boxes']
    assert views.notes == ()
    assert boxes[3, 3] == 1
    assert boxes[1, 1] == 0  # in the diamond's surrounding box
    assert feature_sheet(views).shape[2] == 3


def test_ground_truth_of_the_test_data_in_pixels_of_the_input(
    run, tmp_path, picture, area_loss
):
    data = write_visdrone(
        tmp_path / 'data', {'a.png': [], 'b.png': ['8,16,32,16,1,4,0,0']}
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.Resize', scale=(128, 96), keep_ratio=True),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='mmdet.PackDetInputs', meta_keys=('ori_shape', 'img_shape')),
    ]
    cfg, checkpoint = run(pipeline, data, **area_loss)
    views = feature_views(cfg, checkpoint, data / 'images' / '..' / 'images' / 'b.png')
    boxes = views.levels[0].losses['area: boxes']  # 8 px a cell, images twice as large
    rows, columns = np.nonzero(boxes)
    assert (rows.min(), rows.max()) == (4, 8)
    assert (columns.min(), columns.max()) == (2, 10)

    views = feature_views(cfg, checkpoint, picture)
    assert [list(view.losses) for view in views.levels] == [['pkd: loss of a cell']] * 4
    assert views.notes == (
        'area needs ground truth and is left out: the image is in neither the test nor '
        'the training data, its ground truth is not known',
    )
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    (note,) = feature_views(cfg, checkpoint, picture).notes
    assert 'the test data cannot be read' in note
    assert 'nowhere' in note
    del cfg.test_dataloader.dataset.pipeline[2]
    (note,) = feature_views(cfg, checkpoint, picture, instances=[]).notes
    assert 'does not load annotations' in note


def test_levels_that_only_a_loss_has_are_noted(run, picture):
    distiller = pkd_distiller(
        recorders=dict(
            fpn=dict(type='ModuleOutputs', source='neck'),
            head=dict(type='HeadOutputs'),
        ),
        distill_losses=dict(
            pkd=dict(type='aerialkd.PKDLoss'), scores=dict(type='aerialkd.PKDLoss')
        ),
        loss_forward_mappings=dict(
            pkd=dict(recorder='fpn', levels=(0, 1)),
            scores=dict(recorder='head', data_idx=0),
        ),
    )
    views = feature_views(*run(distiller=distiller), picture)
    assert [view.level for view in views.levels] == [0, 1]
    assert all(len(view.losses) == 2 for view in views.levels)
    assert views.notes == (
        'losses also look at levels [2, 3], which the record has not',
    )


def test_sheet_grows_with_levels_and_columns(run, picture):
    views = feature_views(*run(), picture)
    sheet = feature_sheet(views)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] >= 4 * 256  # small images are enlarged
    one = feature_sheet(type(views)(views.image, views.levels[:1], views.record))
    assert sheet.shape[0] - one.shape[0] > 3 * 192
    assert sheet.std() > 20


def test_student_and_teacher_share_their_colours():
    ramp = np.linspace(0, 2, 64, dtype=np.float32).reshape(8, 8)
    level = LevelView(0, 8, np.ones((8, 8), np.float32), ramp, ramp)
    sheet = feature_sheet(FeatureViews(np.zeros((64, 64, 3), np.uint8), [level], 'fpn'))
    _, green, red = sheet[:, 8:264].transpose(2, 0, 1).astype(int)
    # The student's 1 is half way: green in viridis, whose lower end is purple.
    assert (green > 2 * red).sum() > 0.9 * 256**2


def fits_not(cfg, checkpoint, tmp_path):
    save(build(retinanet(num_classes=2)), checkpoint)


def without_distiller(cfg, checkpoint, tmp_path):
    del cfg.model.distiller


def without_teacher(cfg, checkpoint, tmp_path):
    cfg.model.teacher_ckpt = None


def wrong_teacher(cfg, checkpoint, tmp_path):
    save(build(retinanet()), tmp_path / 'teacher.pth')


def plain_checkpoint(cfg, checkpoint, tmp_path):
    cfg.model.distiller = ALIGNED
    save(build(retinanet()), checkpoint)


def other_config(cfg, checkpoint, tmp_path):
    save(build({**cfg.model, 'distiller': ALIGNED}), checkpoint)


def broken_image(cfg, checkpoint, tmp_path):
    path = tmp_path / 'image.png'
    path.write_bytes(path.read_bytes()[:40])


def text_as_image(cfg, checkpoint, tmp_path):
    (tmp_path / 'image.png').write_text('no picture')


def no_image(cfg, checkpoint, tmp_path):
    (tmp_path / 'image.png').unlink()


def no_test_data(cfg, checkpoint, tmp_path):
    cfg.pop('test_dataloader')


@pytest.mark.parametrize(
    ('spoil', 'error', 'message'),
    [
        (
            fits_not,
            CheckpointError,
            r'retina_cls.*Name the config that this checkpoint',
        ),
        (without_distiller, ConfigError, 'model.distiller.*config of a method'),
        (without_teacher, ConfigError, 'got None.*--teacher-checkpoint'),
        (wrong_teacher, TeacherError, 'teacher.pth does not fit'),
        (plain_checkpoint, CheckpointError, 'align.*a checkpoint of the distilled run'),
        (other_config, CheckpointError, '4 not in the model.*the distilled run and'),
        (broken_image, AnnotationError, 'image.png: not a readable image'),
        (text_as_image, AnnotationError, 'image.png: not a readable image'),
        (no_image, ConfigError, 'image.png: no such image file'),
        (no_test_data, ConfigError, 'no test_dataloader.dataset'),
    ],
)
def test_mistakes_are_named(run, picture, tmp_path, spoil, error, message):
    cfg, checkpoint = run()
    spoil(cfg, checkpoint, tmp_path)
    with pytest.raises(error, match=message):
        feature_views(cfg, checkpoint, picture)


def test_wrong_arguments_are_named(run, picture):
    cfg, checkpoint = run(
        distiller=pkd_distiller(
            recorders=dict(
                fpn=dict(type='ModuleOutputs', source='neck'),
                head=dict(type='HeadOutputs'),
            )
        )
    )
    with pytest.raises(ConfigError, match=r"got 'neck', expected.*config: fpn, head"):
        feature_views(cfg, checkpoint, picture, record='neck')
    with pytest.raises(ConfigError, match='head hold no maps'):
        feature_views(cfg, checkpoint, picture, record='head')
    with pytest.raises(ConfigError, match="device: got 'tpu9'"):
        feature_views(cfg, checkpoint, picture, device='tpu9')
    plain = config(retinanet())
    with pytest.raises(ConfigError, match='no recorders'):
        feature_views(plain, checkpoint, picture, record='fpn')
    with pytest.raises(ConfigError, match='distils nothing'):
        feature_views(plain, checkpoint, picture, teacher_checkpoint=checkpoint)


@pytest.mark.parametrize('annotated', [True, False])
def test_observed_student_gives_what_it_gives_in_training(annotated):
    # FCOS's head multiplies by the stride in evaluation mode.
    head = dict(head=dict(type='HeadOutputs', source='bbox_head'))
    mapping = dict(pkd=dict(recorder='head', data_idx=1))
    distiller = pkd_distiller(recorders=head, loss_forward_mappings=mapping)
    cfg = distill(architecture=fcos(), teacher=fcos(), distiller=distiller)
    model = MODELS.build(cfg).train()
    data = model.data_preprocessor(batch(), True)
    context = model.observe(data['inputs'], data['data_samples'], annotated)
    (record,) = model.distiller.student_recorders.get_recorder('head').data_buffer
    assert not any(level.requires_grad for level in record[1])
    assert not any(module.training for module in model.modules())
    assert (context is not None) == annotated

    feats = model.student.extract_feat(data['inputs'])
    model.student.bbox_head.training = True
    for level, expected in zip(
        record[1], model.student.bbox_head(feats)[1], strict=True
    ):
        assert torch.equal(level, expected)
