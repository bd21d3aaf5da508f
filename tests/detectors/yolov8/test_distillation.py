"""YOLOv8 taught by a larger one with RDR-KD, averaged weights included."""

import torch
from mmengine.registry import MODELS, init_default_scope

from aerialkd.engine import load_strictly, load_weights
from tests.builders import batch, distill, yolov8
from tests.trained import train, visdrone_config

CHANNELS = [64, 128, 256]  # of the teacher's neck


def rdr_kd(num_classes=3):
    """The pair of the shipped configs at an eighth and a quarter of the width."""
    aligned = dict(recorder='fpn', connector='align')
    distiller = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(
            fpn=dict(type='ModuleOutputs', source='neck'),
            head=dict(type='HeadOutputs'),
        ),
        connectors=dict(
            align=dict(
                type='aerialkd.PyramidAligner',
                in_channels=[32, 64, 128],
                out_channels=CHANNELS,
            )
        ),
        distill_losses=dict(
            regenerated=dict(type='aerialkd.RegeneratedLoss', channels=CHANNELS),
            decoupled=dict(type='aerialkd.DecoupledLoss'),
            responsive=dict(type='aerialkd.ResponsiveLoss'),
        ),
        loss_forward_mappings=dict(
            regenerated=aligned, decoupled=aligned, responsive='head'
        ),
    )
    return distill(
        architecture=yolov8(num_classes),
        teacher=yolov8(num_classes, width=0.25),
        distiller=distiller,
    )


def test_losses_see_boxes_and_targets():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(rdr_kd()).train()
    data = model.data_preprocessor(batch(), True)
    model.run_teacher(**_inputs(data))
    model.run_student(**_inputs(data))
    context = model.context(*data.values())
    assert context.assigned.positive.any()
    assert context.assigned.num_level_priors == (144, 36, 9)
    # The distribution of a teacher that is equal to the student gives equal boxes.
    outputs = model.distiller.get_record('head', from_student=True)
    boxes = context.decoded_boxes(outputs[1], of_student=True)
    same = context.decoded_boxes(outputs[1], of_student=False)
    assert torch.equal(boxes, same)
    assert boxes.shape == (2, 189, 4)
    assert context.flat_logits(outputs[0]).shape == (2, 189, 3)


def test_trains_and_leaves_the_averaged_student(made_images, tmp_path):
    cfg = visdrone_config(rdr_kd(10), made_images)
    cfg.custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', priority=49)]
    work_dir = train(cfg, tmp_path / 'run')
    content = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
    assert not any('teacher' in key for key in content['ema_state_dict'])
    student = MODELS.build(yolov8(10))
    weights = load_weights(work_dir / 'epoch_1.pth')
    load_strictly(student, weights)
    trained = content['ema_state_dict']['module.backbone.stem.conv.weight']
    assert not torch.equal(trained, student.backbone.stem.conv.weight)  # averaged


def _inputs(data):
    return dict(batch_inputs=data['inputs'], data_samples=data['data_samples'])
