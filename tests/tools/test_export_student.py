import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.builders import retinanet
from tests.exports import build, distillation, gfl, save

TOOL = Path(__file__).parents[2] / 'tools' / 'export_student.py'
pytestmark = pytest.mark.filterwarnings(
    'ignore:DeprecationWarning. `num_anchors`:UserWarning'
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'distillation.py'
    distillation('retinanet').dump(path)
    return path


@pytest.fixture
def export(monkeypatch):
    """Run the tool in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_summary(tmp_path, config, export, capsys):
    path = save(build(distillation('retinanet').model), tmp_path / 'epoch_1.pth')
    out = tmp_path / 'student.pth'
    export(config, path, '--out', out, '--classes', 'a', 'b', 'c')
    printed = capsys.readouterr().out
    for text in (
        f'{out}  ',
        'student.safetensors',
        '3 classes: a, b, c',
        'init_detector',
    ):
        assert text in printed
    assert 'largest difference to the source student: 0\n' in printed
    meta = torch.load(out, weights_only=True)['meta']['dataset_meta']
    assert meta['classes'] == ('a', 'b', 'c')


def test_onnx_options(tmp_path, config, export):
    onnx = pytest.importorskip('onnx', reason='onnx is not installed: .[onnx]')
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed: .[onnx]')
    path, out = (
        save(build(retinanet()), tmp_path / 'input.pth'),
        tmp_path / 'student.pth',
    )
    export(config, path, '--out', out, '--onnx', '--onnx-size', 64, 96, '--opset', 16)
    assert onnx.load(out.with_suffix('.onnx')).opset_import[0].version == 16


def test_options_override_the_config(tmp_path, config, export, capsys):
    path = save(build(retinanet(num_classes=2)), tmp_path / 'input.pth')
    key = 'model.architecture.bbox_head.num_classes=2'
    out = ['--out', tmp_path / 'student.pth']
    export(config, path, *out, '--cfg-options', key, '--classes', 'a', 'b')
    assert '2 classes: a, b' in capsys.readouterr().out


def test_errors_are_one_line(tmp_path, config, export, capsys):
    path = save(build(gfl()), tmp_path / 'gfl.pth')
    with pytest.raises(SystemExit) as stopped:
        export(config, path, '--out', tmp_path / 'student.pth')
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.count('\n') == 1
    assert 'bbox_head.retina_cls.weight' in printed.err
    with pytest.raises(SystemExit):
        export(tmp_path / 'none.py', path, '--out', tmp_path / 'student.pth')
    assert 'none.py: no such config file' in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ['distillation.py', 'gfl.pth']
