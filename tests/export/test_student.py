import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from safetensors import safe_open
from safetensors.torch import save_file

from aerialkd.datasets import VisDroneDataset
from aerialkd.engine import load_weights, student_model_cfg
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.export import student as export
from aerialkd.export.student import export_student
from aerialkd.registry import MODELS
from tests.builders import retinanet, rotated_retinanet, yolov8
from tests.exports import (
    CLASSES,
    PIPELINE,
    STUDENTS,
    build,
    config,
    distillation,
    gfl,
    image,
    predictions,
    save,
)
from tests.processes import ROOT

pytestmark = pytest.mark.filterwarnings(
    'ignore:DeprecationWarning. `num_anchors`:UserWarning'
)

# Plain mmdet: any import of aerialkd or mmrazor fails.
PLAIN_PROCESS = """
import importlib.util, json, sys, types
if importlib.util.find_spec('torchvision') is None:  # H2RBox-v2 of mmrotate imports it
    transforms = types.ModuleType('torchvision.transforms')
    torchvision = types.ModuleType('torchvision')
    torchvision.__version__, torchvision.transforms = '0', transforms
    sys.modules['torchvision'] = torchvision
    sys.modules['torchvision.transforms'] = transforms
folder, root, *names = sys.argv[1:]
if importlib.util.find_spec('mmcv._ext') is None:  # operators, and nothing else of it
    sys.modules['aerialkd'] = types.ModuleType('aerialkd')
    sys.modules['aerialkd'].__path__ = [f'{root}/aerialkd']
    from aerialkd.ops import backends
    backends.install('', '')
    for name in [name for name in sys.modules if name.startswith('aerialkd')]:
        sys.modules.pop(name)
sys.modules['aerialkd'] = sys.modules['mmrazor'] = None
import numpy as np, torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
img = np.load(f'{folder}/image.npy')
for name in names:
    config, weights = f'{folder}/{name}.py', f'{folder}/{name}.pth'
    model = init_detector(config, weights, device='cpu')
    content = torch.load(weights, weights_only=True)
    model.load_state_dict(content['state_dict'], strict=True)
    found = inference_detector(model, img).pred_instances
    found = {key: getattr(value, 'tensor', value) for key, value in found.items()}
    torch.save(dict(found, meta=model.dataset_meta), f'{folder}/{name}.predictions')
    inferencer = DetInferencer(config, weights, device='cpu', show_progress=False)
    if name != 'rotated':  # mmdet draws no rotated boxes
        scores = inferencer(img)['predictions'][0]['scores']
        assert np.allclose(scores, found['scores'].numpy(), atol=1e-6)
assert not any(name.startswith('aerialkd.') for name in sys.modules)
"""


@pytest.fixture
def one_thread(monkeypatch):
    """Here and in processes started here: more threads sum in an order of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    yield
    torch.set_num_threads(before)


@pytest.fixture
def checkpoint(tmp_path):
    """A distilled RetinaNet's checkpoint, which states no classes."""
    return save(build(distillation('retinanet').model), tmp_path / 'epoch_1.pth')


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('name', ['retinanet', 'gfl'])
def test_round_trip_of_a_distilled_student(tmp_path, name):
    cfg = distillation(name)
    algorithm = build(cfg.model)
    save(algorithm, tmp_path / 'epoch_1.pth', CLASSES)
    before = json.dumps(cfg.to_dict(), sort_keys=True)
    out = tmp_path / 'new' / 'student.v1.pth'
    result = export_student(cfg, tmp_path / 'epoch_1.pth', out)
    suffixes = ['.pth', '.py', '.safetensors']
    assert files(out.parent) == [f'student.v1{suffix}' for suffix in suffixes]
    assert result.difference == 0
    assert json.dumps(cfg.to_dict(), sort_keys=True) == before
    parameters = sum(p.numel() for p in algorithm.student.parameters())
    assert result.parameters == parameters
    assert f'{parameters:,} parameters, 3 classes: car, van, bus' in str(result)
    assert 'NOT PLAIN' not in str(result)

    expected = predictions(algorithm.student, cfg)
    assert len(expected['scores']) == 20
    exported = init_detector(str(out.with_suffix('.py')), str(out), device='cpu')
    found = predictions(exported, exported.cfg)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)


def test_weights_are_plain_and_small(tmp_path, checkpoint):
    distillation('retinanet').dump(tmp_path / 'config.py')
    export_student(tmp_path / 'config.py', checkpoint, tmp_path / 'student.pth')
    content = torch.load(tmp_path / 'student.pth', weights_only=True)
    state = content['state_dict']
    assert set(state) == set(build(retinanet()).state_dict())
    assert content['meta']['dataset_meta']['classes'] == CLASSES
    with safe_open(tmp_path / 'student.safetensors', 'pt') as opened:
        assert opened.metadata()['classes'] == 'car\nvan\nbus'
        assert opened.metadata()['detector'] == 'RetinaNet'
    again = load_weights(tmp_path / 'student.safetensors')
    assert again.classes == CLASSES
    assert all(torch.equal(state[key], v) for key, v in again.state_dict.items())
    modes = {
        (tmp_path / f'student{s}').stat().st_mode for s in ('.pth', '.safetensors')
    }
    assert len(modes) == 1


def test_config_is_plain(tmp_path, checkpoint):
    cfg = distillation('retinanet')
    cfg.merge_from_dict({'train_dataloader.dataset.data_root': '/data/mine'})
    export_student(cfg, checkpoint, tmp_path / 'student.pth')
    text = (tmp_path / 'student.py').read_text()
    for word in ('aerialkd', 'init_cfg', 'nowhere', '/data/mine', 'Annotations'):
        assert word not in text
    written = Config.fromfile(tmp_path / 'student.py')
    assert {'default_scope', 'model', 'test_dataloader', 'visualizer'} < set(written)
    loaders = written.test_dataloader, written.train_dataloader
    for pipeline in (written.test_pipeline, *(x.dataset.pipeline for x in loaders)):
        assert pipeline == written.test_pipeline
        assert 'instances' not in pipeline[-1].meta_keys
    assert written.metainfo == written.test_dataloader.dataset.metainfo
    # Building fills a detector's config in; the export must not carry that.
    assert 'train_cfg' not in written.model.bbox_head
    # The colours follow the names of a subset.
    known = VisDroneDataset.METAINFO
    colours = dict(zip(known['classes'], known['palette'], strict=True))
    expected = [tuple(colours[name]) for name in CLASSES]
    assert written.test_dataloader.dataset.metainfo.palette == expected


def test_what_only_trains_faster_is_named_as_upstream_has_it(tmp_path):
    """The plain config needs no aerialkd to train on, either."""
    path = save(build(rotated_retinanet()), tmp_path / 'rotated.pth', CLASSES)
    export_student(distillation('rotated'), path, tmp_path / 'student.pth')
    plain = Config.fromfile(tmp_path / 'student.py')
    assert 'custom_imports' not in plain
    assigner = plain.model.train_cfg.assigner
    assert assigner.type == 'mmdet.MaxIoUAssigner'
    assert assigner.iou_calculator.type == 'mmrotate.RBboxOverlaps2D'


def test_shared_and_viewed_tensors_are_written_whole(tmp_path):
    model = torch.nn.ModuleList([torch.nn.Linear(2, 3)] * 2)  # as RTMDet's head shares
    model.register_buffer('view', torch.arange(1000.0).view(10, 100)[:2, :3].t())
    paths = tmp_path / 'a.pth', tmp_path / 'a.safetensors'
    export._write_weights(model, dict(classes=CLASSES, palette=[]), *paths)
    for path in paths:
        state = load_weights(path).state_dict
        assert torch.equal(state['0.weight'], state['1.weight'])
        assert torch.equal(state['view'], model.view)
    for value in torch.load(paths[0], weights_only=True)['state_dict'].values():
        assert value.is_contiguous()
        assert value.untyped_storage().nbytes() == value.nbytes


@pytest.mark.parametrize('layout', ['mmrazor', 'plain', 'safetensors'])
def test_layouts_of_checkpoints(tmp_path, layout):
    state = build(retinanet()).state_dict()
    path = tmp_path / 'input.pth'
    if layout == 'safetensors':
        path = path.with_suffix('.safetensors')
        save_file(state, path, dict(classes='\n'.join(CLASSES)))
    elif layout == 'mmrazor':
        given = {f'architecture.{key}': value for key, value in state.items()}
        given |= {f'teacher.{key}': value + 1 for key, value in state.items()}
        torch.save(dict(state_dict=given), path)
    else:
        torch.save(state, path)
    cfg = config(retinanet()) if layout == 'plain' else distillation('retinanet')
    export_student(cfg, path, tmp_path / 'student.pth')
    exported = load_weights(tmp_path / 'student.pth').state_dict
    assert all(torch.equal(value, exported[key]) for key, value in state.items())


# Another Python imports mmdet and mmrotate: 12 s, more on a busy machine.
def test_plain_mmdet_and_mmrotate_load_it(tmp_path, one_thread):
    """In a process where aerialkd cannot be imported."""
    expected = {}
    for name in STUDENTS:
        cfg = distillation(name)
        algorithm = build(cfg.model)
        save(algorithm, tmp_path / f'epoch_{name}.pth')
        export_student(cfg, tmp_path / f'epoch_{name}.pth', tmp_path / f'{name}.pth')
        expected[name] = predictions(algorithm.student, cfg)
    np.save(tmp_path / 'image.npy', image())
    done = subprocess.run(
        [sys.executable, '-c', PLAIN_PROCESS, str(tmp_path), str(ROOT), *expected],
        cwd=tmp_path,  # the repository must not be importable either
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, values in expected.items():
        found = torch.load(tmp_path / f'{name}.predictions', weights_only=True)
        assert found.pop('meta')['classes'] == CLASSES
        assert len(values['bboxes']) > 0
        assert values['bboxes'].shape[1] == (5 if name == 'rotated' else 4)
        for key, value in values.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)


def test_other_architecture_lists_the_keys(tmp_path):
    path = save(build(gfl()), tmp_path / 'gfl.pth', CLASSES)
    with pytest.raises(CheckpointError, match=r'does not fit RetinaNet.*retina_cls'):
        export_student(distillation('retinanet'), path, tmp_path / 'student.pth')
    assert files(tmp_path) == ['gfl.pth']


def test_existing_files_are_kept(tmp_path, checkpoint):
    cfg, out = distillation('retinanet'), tmp_path / 'student.pth'
    (tmp_path / 'student.py').write_text('mine')
    with pytest.raises(ConfigError, match=r'student.py: exists already.*--force'):
        export_student(cfg, tmp_path / 'not_even_read.pth', out)
    assert files(tmp_path) == ['epoch_1.pth', 'student.py']
    assert (tmp_path / 'student.py').read_text() == 'mine'
    export_student(cfg, checkpoint, out, force=True)
    assert 'RetinaNet' in (tmp_path / 'student.py').read_text()
    before = out.read_bytes()
    with pytest.raises(ConfigError, match='is read here'):
        export_student(cfg, out, out, force=True)
    assert out.read_bytes() == before


def test_name_must_end_in_pth(tmp_path, checkpoint):
    with pytest.raises(ConfigError, match=r'student.onnx: must end in .pth'):
        export_student(distillation('retinanet'), checkpoint, tmp_path / 'student.onnx')


@pytest.mark.parametrize(
    ('damaged', 'damage'),
    [('pth', 1e-3), ('safetensors', 1e-3), ('both', 1e-3), ('both', float('nan'))],
)
def test_failed_verification_leaves_nothing(
    tmp_path, checkpoint, monkeypatch, damaged, damage
):
    write = export._write_weights

    def write_badly(model, metainfo, pth, safetensors):
        altered = build(retinanet())
        altered.load_state_dict(model.state_dict())
        with torch.no_grad():
            altered.backbone.conv1.weight[0, 0, 0, 0] += damage
        write(model, metainfo, pth, safetensors)
        whole = {path: path.read_bytes() for path in (pth, safetensors)}
        write(altered, metainfo, pth, safetensors)
        for path, content in whole.items():
            if damaged not in ('both', path.suffix[1:]):
                path.write_bytes(content)

    monkeypatch.setattr(export, '_write_weights', write_badly)
    told = 'predicts something else' if math.isfinite(damage) else 'not finite'
    with pytest.raises(CheckpointError, match=told):
        export_student(distillation('retinanet'), checkpoint, tmp_path / 'student.pth')
    assert files(tmp_path) == ['epoch_1.pth']


def test_config_that_reads_back_differently_is_refused(
    tmp_path, checkpoint, monkeypatch
):
    monkeypatch.setattr(export, '_text', lambda plain: plain.pretty_text + '\nmore = 1')
    with pytest.raises(ConfigError, match='reads back as another'):
        export_student(distillation('retinanet'), checkpoint, tmp_path / 'student.pth')
    assert files(tmp_path) == ['epoch_1.pth']


def test_class_names(tmp_path):
    cfg = config(retinanet(), type='mmdet.BaseDetDataset', metainfo={})
    path = save(build(retinanet()), tmp_path / 'nameless.pth')
    with pytest.raises(ConfigError, match='Name them in the order of the outputs'):
        export_student(cfg, path, tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match='predicts 3 classes, but --classes names 2'):
        export_student(cfg, path, tmp_path / 'a.pth', classes=['car', 'van'])
    result = export_student(cfg, path, tmp_path / 'a.pth', classes=['x', 'y', 'z'])
    assert result.classes == ('x', 'y', 'z')
    # What the checkpoint was trained for counts, not what the config says today.
    path = save(build(retinanet()), tmp_path / 'named.pth', ('a', 'b', 'c'))
    result = export_student(config(retinanet()), path, tmp_path / 'b.pth')
    assert result.classes == ('a', 'b', 'c')


def test_needs_a_test_pipeline(tmp_path, checkpoint):
    cfg = distillation('retinanet')
    cfg.pop('test_dataloader')
    with pytest.raises(ConfigError, match='neither test_dataloader nor val_dataloader'):
        export_student(cfg, checkpoint, tmp_path / 'student.pth', classes=CLASSES)
    cfg = config(retinanet(), pipeline=[PIPELINE[0], PIPELINE[-1]])
    with pytest.raises(ConfigError, match='leaves no scale_factor'):
        export_student(cfg, checkpoint, tmp_path / 'student.pth')
    assert files(tmp_path) == ['epoch_1.pth']


def test_component_of_ours_keeps_the_import(tmp_path, monkeypatch):
    class ScaledFPN(MODELS.get('mmdet.FPN')):
        pass

    ScaledFPN.__module__ = 'aerialkd.detectors.made_up'
    monkeypatch.setitem(MODELS.module_dict, 'ScaledFPN', ScaledFPN)
    model = retinanet()
    model.neck.type = 'aerialkd.ScaledFPN'
    path = save(build(model), tmp_path / 'input.pth')
    result = export_student(config(model), path, tmp_path / 'student.pth')
    assert result.imports == ('aerialkd',)
    assert 'NOT PLAIN: the student has components of aerialkd' in str(result)
    written = Config.fromfile(tmp_path / 'student.py')
    assert written.custom_imports.imports == ['aerialkd']


# Another Python imports mmdet: 6 s, more on a busy machine.
def test_a_student_at_its_own_scale_is_exported_without_a_resize(tmp_path):
    """Taught at twice the scale on a finer grid, it takes its images as they are."""
    cfg = distillation('retinanet')
    cfg.model.update(type='aerialkd.CrossScaleDistill', scale=2)
    cfg.model.architecture.bbox_head.update(type='aerialkd.LARetinaHead', upsample=2)
    student = build(student_model_cfg(cfg))
    path = save(student, tmp_path / 'epoch_1.pth', CLASSES)
    result = export_student(cfg, path, tmp_path / 'student.pth')
    assert result.imports == ('aerialkd',)
    exported = Config.fromfile(tmp_path / 'student.py')
    steps = exported.test_dataloader.dataset.pipeline
    assert [step.scale_factor for step in steps if 'Resize' in step.type] == [1.0]
    assert exported.model.type == 'mmdet.RetinaNet'
    assert exported.model.bbox_head.anchor_generator.strides == [8, 16, 32, 64]
    seen = []
    model = init_detector(
        tmp_path / 'student.py', str(tmp_path / 'student.pth'), device='cpu'
    )
    model.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[-2:]))
    found = inference_detector(model, image()).pred_instances
    assert seen == [tuple(-(-side // 32) * 32 for side in image().shape[:2])]
    expected = predictions(student, cfg)
    torch.testing.assert_close(found.bboxes, expected['bboxes'])


def test_yolov8_is_exported_with_the_import(tmp_path, one_thread):
    """Plain mmdet's inference reads config and weights, and aerialkd by itself."""
    cfg = config(yolov8())
    path = save(build(yolov8()), tmp_path / 'epoch_1.pth', CLASSES)
    result = export_student(cfg, path, tmp_path / 'student.pth')
    assert result.imports == ('aerialkd',)
    assert 'NOT PLAIN' in str(result)
    np.save(tmp_path / 'image.npy', image())
    program = """
import sys
import numpy as np, torch
from mmdet.apis import inference_detector, init_detector
assert 'aerialkd' not in sys.modules
model = init_detector('student.py', 'student.pth', device='cpu')
found = inference_detector(model, np.load('image.npy')).pred_instances
torch.save(dict(found.items()), 'predictions')
"""
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    expected = predictions(build(yolov8()), cfg)
    assert len(expected['scores']) == 20
    found = torch.load(tmp_path / 'predictions', weights_only=True)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
