import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from safetensors.torch import save_file

from aerialkd.datasets.visdrone_format import CLASSES
from aerialkd.detectors.yolov8 import convert_ultralytics_state_dict
from aerialkd.detectors.yolov8.checkpoint import convert_checkpoint
from aerialkd.engine import load_strictly, load_weights
from aerialkd.engine.weights import Weights
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.loading import trusting
from tests.detectors.reference_yolov8 import (
    ReferenceYOLOv8,
    different_images,
    trained,
)
from tests.processes import ROOT, run_tool

CONFIG = ROOT / 'configs/detectors/yolov8/yolov8-n_640_visdrone.py'


def config(size='n', num_classes=10):
    cfg = Config.fromfile(CONFIG.with_name(f'yolov8-{size}_640_visdrone.py'))
    cfg.model.bbox_head.num_classes = num_classes
    return cfg


def detector(size='n', num_classes=10):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(config(size, num_classes).model).eval()


@pytest.fixture(scope='module')
def plain():
    """A plain state dict of size n with ten classes."""
    return trained('n', 10).state_dict()


@torch.no_grad()
@pytest.mark.parametrize(
    ('size', 'num_classes', 'shape'),
    [('n', 10, (96, 160)), ('n', 80, (64, 32)), ('s', 3, (96, 64)), ('s', 1, (32, 32))],
)
def test_same_outputs(size, num_classes, shape):
    reference = trained(size, num_classes)
    ours = detector(size, num_classes)
    state = convert_ultralytics_state_dict(reference.state_dict())
    load_strictly(ours, Weights('converted', state, None))
    # In double precision: rounding in sixty layers is no matter of the names.
    images = different_images(*shape).double()
    reference, ours = reference.double(), ours.double()
    expected = reference(images)
    found = ours.bbox_head(ours.extract_feat(images))
    for kind in (0, 1):
        for got, want in zip(found[kind], expected[kind], strict=True):
            # They depend on the image.
            assert (want[0] - want[1]).abs().max() > 0.1
            torch.testing.assert_close(got, want, rtol=0, atol=1e-8)
    for level, dists in enumerate(found[1]):
        distances = ours.bbox_head.distances(dists.permute(0, 2, 3, 1))
        want = reference.model[22].dfl(expected[1][level])
        # These are computed in single precision.
        torch.testing.assert_close(
            distances.permute(0, 3, 1, 2).double(), want, rtol=1e-3, atol=1e-3
        )


def test_every_size_has_its_names():
    for size in 'mlx':
        with torch.device('meta'):
            wanted = detector(size, 5).state_dict()
            given = ReferenceYOLOv8(size, 5).state_dict()
        converted = convert_ultralytics_state_dict(given)
        assert {k: v.shape for k, v in converted.items()} == {
            k: v.shape for k, v in wanted.items()
        }


def test_half_precision_becomes_single(plain):
    half = {k: v.half() if v.is_floating_point() else v for k, v in plain.items()}
    converted = convert_ultralytics_state_dict(half)
    assert converted['backbone.stem.conv.weight'].dtype == torch.float
    counter = converted['backbone.stem.bn.num_batches_tracked']
    assert (counter.dtype, int(counter)) == (torch.long, 7)


def without(plain, *keys):
    return {key: value for key, value in plain.items() if key not in keys}


@pytest.mark.parametrize(
    ('alter', 'message'),
    [
        (
            lambda s: without(s, 'model.4.m.1.cv2.bn.running_var'),
            r'1 missing: model\.4\.m\.1\.cv2\.bn\.running_var',
        ),
        (lambda s: {**s, 'model.30.w': s['model.0.bn.bias']}, '1 unknown: model.30.w'),
        (
            lambda s: {**s, 'model.9.cv1.conv.weight': torch.ones(4, 4, 1, 1)},
            r'model.9.cv1.conv.weight \(got \(4, 4, 1, 1\), expected \(128, 256, 1, 1',
        ),
        (
            lambda s: {**s, 'model.0.conv.weight': torch.ones(24, 3, 3, 3)},
            'got 24 channels, expected one of 16, 32, 48, 64, 80',
        ),
        (
            lambda s: {**s, 'model.22.proto.cv1.conv.weight': torch.ones(1)},
            'segmentation model',
        ),
        (lambda s: {**s, 'model.22.cv4.0.2.bias': torch.ones(1)}, 'pose'),
        (lambda s: {f'model.{k}': v for k, v in s.items()}, 'prefix of a wrapper'),
        (lambda s: {f'module.{k}': v for k, v in s.items()}, 'prefix of a wrapper'),
        (
            lambda s: {k.replace('.22.', '.23.'): v for k, v in s.items()},
            'looks like YOLO11',
        ),
        (
            lambda s: {k.replace('.22.', '.24.'): v for k, v in s.items()},
            'looks like YOLOv5',
        ),
        (
            lambda s: {k: v for k, v in s.items() if '.bn.' not in k},
            'BatchNorm was fused',
        ),
        (lambda s: {'backbone.stem.conv.weight': torch.ones(1)}, 'already'),
        (lambda s: {}, 'Likely another version'),
    ],
)
def test_other_weights_are_refused(plain, alter, message):
    with pytest.raises(CheckpointError, match=message):
        convert_ultralytics_state_dict(alter(plain))


def test_file_with_config_and_classes(tmp_path, plain):
    torch.save(plain, tmp_path / 'plain.pt')
    arguments = tmp_path / 'plain.pt', tmp_path / 'teacher.pth', '--config', CONFIG
    done = run_tool('convert_yolov8', *arguments)
    assert done.returncode == 0, done.stderr
    assert 'classes pedestrian, people, bicycle' in done.stdout
    weights = load_weights(tmp_path / 'teacher.pth')
    assert weights.classes == CLASSES
    load_strictly(detector(), weights)


def test_safetensors_without_config(tmp_path, plain):
    save_file(plain, tmp_path / 'plain.safetensors')
    text = convert_checkpoint(tmp_path / 'plain.safetensors', tmp_path / 'teacher.pth')
    assert 'without class names' in text
    assert load_weights(tmp_path / 'teacher.pth').classes is None


class Pickled:
    """Stands for the model's classes in a checkpoint of Ultralytics."""


def test_full_checkpoint_names_the_remedy(tmp_path):
    torch.save(dict(model=Pickled()), tmp_path / 'best.pt')
    with pytest.raises(CheckpointError, match=r"YOLO\('best.pt'\).model.float\(\)"):
        convert_checkpoint(tmp_path / 'best.pt', tmp_path / 'teacher.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['best.pt']


def test_full_checkpoint_that_is_trusted(tmp_path, plain):
    content = dict(epoch=-1, ema=None, model=trained('n', 10))
    torch.save(content, tmp_path / 'best.pt')
    with trusting():
        convert_checkpoint(tmp_path / 'best.pt', tmp_path / 'teacher.pth')
    found = load_weights(tmp_path / 'teacher.pth').state_dict
    wanted = convert_ultralytics_state_dict(plain)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_what_cannot_be_written(tmp_path, plain):
    torch.save(plain, tmp_path / 'plain.pth')
    source, out = tmp_path / 'plain.pth', tmp_path / 'teacher.pth'
    with pytest.raises(CheckpointError, match=r'plain.pth does not fit YOLOv8'):
        convert_checkpoint(source, out, config('s'))
    cfg = config(num_classes=10)
    cfg.test_dataloader.dataset.metainfo = dict(classes=('car', 'van'))
    with pytest.raises(ConfigError, match='predicts 10 classes, but the data set name'):
        convert_checkpoint(source, out, cfg)
    with pytest.raises(ConfigError, match='must end in'):
        convert_checkpoint(source, tmp_path / 'teacher.onnx')
    with pytest.raises(ConfigError, match='is read here'):
        convert_checkpoint(source, source, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ['plain.pth']
    out.write_bytes(b'mine')
    with pytest.raises(ConfigError, match='exists already'):
        convert_checkpoint(source, out)
    convert_checkpoint(source, out, force=True)
    assert load_weights(out).state_dict
