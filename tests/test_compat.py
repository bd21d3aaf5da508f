from __future__ import annotations

import importlib.util
import json
import sys

import mmcv
import mmrazor
import pytest
import torch
from mmengine.registry import HOOKS, LOOPS, METRICS, MODELS, TASK_UTILS
from mmengine.utils import digit_version

from aerialkd import compat
from aerialkd.errors import EnvironmentProblem
from tests import builders
from tests.processes import run_python

REGISTERED = {
    'MODELS': [
        'mmdet.RetinaNet',
        'mmdet.GFL',
        'mmrotate.RotatedRetinaHead',
        'mmrotate.H2RBoxV2Detector',
        'mmrazor.SingleTeacherDistill',
        'mmrazor.PKDLoss',
        'aerialkd.PKDLoss',
    ],
    'TASK_UTILS': ['mmrotate.RBboxOverlaps2D', 'mmrazor.ModuleOutputsRecorder'],
    'DATASETS': ['mmdet.CocoDataset', 'mmrotate.DOTADataset'],
    'TRANSFORMS': ['mmdet.PackDetInputs', 'mmrotate.ConvertBoxType'],
    'METRICS': ['mmdet.CocoMetric', 'mmrotate.DOTAMetric'],
    'HOOKS': ['mmdet.DetVisualizationHook', 'mmrazor.StopDistillHook'],
    'VISUALIZERS': ['mmdet.DetLocalVisualizer'],
}
CONFIG = """
custom_imports = dict(imports=['aerialkd'])
features = dict(fpn=dict(type='ModuleOutputs', source='neck'))
model = dict(
    type='mmrazor.ConfigurableDistiller',
    distill_losses=dict(loss_pkd=dict(type='mmrazor.PKDLoss')),
    loss_forward_mappings=dict(
        loss_pkd=dict(
            preds_S=dict(from_student=True, recorder='fpn'),
            preds_T=dict(from_student=False, recorder='fpn'),
        )
    ),
    student_recorders=features,
    teacher_recorders=features,
)
"""
FRESH = f"""
import contextlib, io, json, sys
from mmengine import DefaultScope, registry
from mmengine.config import Config

said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    cfg = Config.fromfile(sys.argv[1])
missing = []
for kind, names in {REGISTERED!r}.items():
    for name in names:
        # _module_dict of the child: get() alone would import what is missing.
        scope, _, short = name.partition('.')
        if short not in getattr(registry, kind).children[scope].module_dict:
            missing.append(name)
scope = DefaultScope.get_current_instance()

import torch
from mmcv.ops import nms
from aerialkd import compat
print(json.dumps({{
    'printed': said.getvalue(),
    'scope': str(scope),
    'missing': str(missing),
    'built': type(registry.MODELS.build(cfg.model)).__name__,
    'kept': str(nms(torch.tensor([[0., 0, 4, 4]]), torch.ones(1), .5)[1].tolist()),
    'adaptations': str(compat.adaptations),
}}))
"""


@pytest.fixture(scope='module')
def fresh(tmp_path_factory) -> dict[str, str]:
    """What is found in a process in which a config has imported the package.

    No operators of mmcv are there to be loaded.
    """
    config = tmp_path_factory.mktemp('fresh') / 'config.py'
    config.write_text(CONFIG)
    result = run_python(FRESH, str(config), hide=('mmcv._ext',))
    assert (result.returncode, result.stderr) == (0, ''), result.stderr
    (line,) = result.stdout.splitlines()
    return json.loads(line)


class TestNothingIsLeftBehind:
    def test_mmcv_version(self):
        assert compat.is_installed('mmcv')
        assert mmcv.__version__ == mmcv.version.__version__
        assert digit_version(mmcv.__version__) > digit_version('2.1.0')

    def test_digit_version(self):
        holders = [
            name
            for name, module in sys.modules.items()
            if name.startswith('mmrazor')
            and getattr(module, 'digit_version', digit_version) is not digit_version
        ]
        assert holders == []
        assert mmrazor.digit_version(torch.__version__) >= digit_version('2.6')

    @pytest.mark.skipif(
        compat.is_installed('torchvision'), reason='torchvision is installed'
    )
    def test_torchvision_placeholder(self):
        assert not [name for name in sys.modules if name.startswith('torchvision')]
        assert importlib.util.find_spec('torchvision') is None
        with pytest.raises(ModuleNotFoundError):
            import torchvision  # noqa: F401

    def test_default_scope_is_not_touched(self, fresh):
        assert fresh['scope'] == 'None'

    def test_after_an_exception(self):
        """An import that fails in the middle restores every name."""
        code = """
import importlib, sys
import mmcv
real = mmcv.__version__
from mmengine.utils import digit_version
sys.path.insert(0, '.')
import types
bare = types.ModuleType('aerialkd')
bare.__path__ = ['aerialkd']
sys.modules['aerialkd'] = bare
from aerialkd import compat
register = compat._register
def fail(package):
    if package == 'mmrazor':
        raise compat.EnvironmentProblem('on purpose')
    register(package)
compat._register = fail
try:
    compat.adapt()
except compat.EnvironmentProblem as problem:
    print(problem)
import mmrazor
print(mmcv.__version__ == real, mmrazor.digit_version is digit_version)
print([name for name in sys.modules if name.startswith('torchvision')])
compat._register = register
compat.adapt()
print(len(compat.adaptations) > 0, 'mmrazor.models' in sys.modules)
"""
        result = run_python(code, hide=('torchvision',))
        assert result.stdout.splitlines() == [
            'on purpose',
            'True True',
            '[]',
            'True True',
        ], result.stderr

    def test_placeholder_is_removed_when_mmrotate_fails(self):
        code = """
import sys, types
bare = types.ModuleType('aerialkd')
bare.__path__ = ['aerialkd']
sys.modules['aerialkd'] = bare
from aerialkd import compat
try:
    with compat._torchvision_for_mmrotate():
        import torchvision
        print(torchvision.__version__, torchvision.__spec__ is not None)
        raise KeyError
except KeyError:
    print('torchvision' in sys.modules)
"""
        result = run_python(code, hide=('torchvision',))
        assert result.stdout == '0.0.0 True\nFalse\n', result.stderr


class TestAdapt:
    def test_twice_changes_nothing(self):
        before = list(compat.adaptations)
        compat.adapt()
        assert compat.adaptations == before
        assert any('mmrazor' in sentence for sentence in before)

    def test_import_prints_nothing(self, fresh):
        assert fresh['printed'] == ''

    def test_everything_is_registered(self, fresh):
        assert fresh['missing'] == '[]'

    def test_config_needs_nothing_but_aerialkd(self, fresh):
        assert fresh['built'] == 'ConfigurableDistiller'

    @pytest.mark.skipif(
        compat.is_installed('torchvision'), reason='torchvision is installed'
    )
    def test_using_the_placeholder_says_what_to_do(self):
        from mmrotate.models.detectors import h2rbox_v2

        with pytest.raises(EnvironmentProblem, match='torchvision is not installed'):
            h2rbox_v2.transforms.functional.vflip(torch.zeros(1, 3, 4, 4))


class TestProblems:
    @pytest.mark.parametrize('module', [needed.module for needed in compat.NEEDED])
    def test_missing_package(self, module):
        result = run_python('import aerialkd', hide=(module,))
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert last.startswith('aerialkd.errors.EnvironmentProblem: ')
        assert f'{module} is not installed. Fix: {compat.fix_of(module)}' in last

    @pytest.mark.parametrize(
        ('dependency', 'fix'),
        [
            ('imgaug', 'python -m pip install --no-deps imaug=='),
            ('terminaltables', compat.RUNTIME),
            ('cv2', compat.OPENCV),
        ],
    )
    def test_missing_dependency(self, dependency, fix):
        result = run_python('import aerialkd', hide=(dependency,))
        last = result.stderr.splitlines()[-1]
        assert last.startswith('aerialkd.errors.EnvironmentProblem: ')
        assert f'{dependency}, which is not installed. Fix: {fix}' in last

    def test_mmcv_without_operators(self, fresh):
        assert fresh['kept'] == '[0]'
        assert "mmcv's operators are not compiled: plain torch" in fresh['adaptations']

    def test_operators_of_another_torch(self):
        code = """
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmcv._ext':
            raise ImportError('undefined symbol: _ZN3c10')
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: name if name == 'mmcv._ext' else found(name)
import sys
sys.meta_path.insert(0, Broken())
import aerialkd
"""
        last = run_python(code).stderr.splitlines()[-1]
        assert 'built against another torch (undefined symbol: _ZN3c10)' in last
        assert f'Fix: {compat.MMCV}, or compile' in last
        assert last.endswith(compat.COMPILE_OPS)

    @pytest.mark.parametrize(
        ('module', 'version', 'good'),
        [
            ('torch', '2.5.1+cu121', False),
            ('torch', '1.13.0', False),
            ('torch', '2.6.0', True),
            ('torch', '2.13.0a0+git1234', True),
            ('torch', '3.0.0', True),
            ('mmcv', '1.7.2', False),
            ('mmcv', '2.0.0rc4', True),
            ('mmengine', '0.10.12', True),
            ('mmengine', '0.9.1', False),
        ],
    )
    def test_minimum_version(self, module, version, good, monkeypatch):
        monkeypatch.setattr(sys.modules[module], '__version__', version)
        if good:
            assert compat.check_version(module) == version
        else:
            with pytest.raises(EnvironmentProblem, match=r'too old.*Fix: python') as e:
                compat.check_version(module)
            assert version in str(e.value)


class TestDistillationPartsOfMMRazor:
    """Everything that distillation needs from mmrazor builds and runs."""

    FEATURE_LOSSES = (
        'ABLoss',
        'ATLoss',
        'ChannelWiseDivergence',
        'FTLoss',
        'L1Loss',
        'L2Loss',
        'MGDLoss',
        'OFDLoss',
        'PKDLoss',
    )
    LOGIT_LOSSES = (
        'AngleWiseRKD',
        'DISTLoss',
        'DistanceWiseRKD',
        'KLDivergence',
    )

    @pytest.mark.parametrize('name', [*FEATURE_LOSSES, *LOGIT_LOSSES])
    def test_loss(self, name):
        shape = (2, 8, 6, 5) if name in self.FEATURE_LOSSES else (4, 7)
        loss = MODELS.build(dict(type=f'mmrazor.{name}'))
        student = torch.rand(shape, requires_grad=True)
        value = loss(student, torch.rand(shape)).sum()
        value.backward()
        assert torch.isfinite(value)
        assert student.grad.abs().sum() > 0

    # DKDLoss passes size_average, which torch deprecated.
    @pytest.mark.filterwarnings('ignore:size_average and reduce args')
    @pytest.mark.parametrize('name', ['DKDLoss', 'WSLD'])
    def test_loss_with_labels(self, name):
        options = dict(num_classes=7) if name == 'WSLD' else {}
        loss = MODELS.build(dict(type=f'mmrazor.{name}', **options))
        student = torch.rand(4, 7, requires_grad=True)
        value = loss(student, torch.rand(4, 7), torch.tensor([0, 3, 6, 1]))
        value.backward()
        assert torch.isfinite(value)
        assert student.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ('name', 'options', 'channels'),
        [
            ('ConvModuleConnector', dict(in_channel=8, out_channel=16), 16),
            ('MGDConnector', dict(student_channels=8, teacher_channels=16), 16),
            ('NormConnector', dict(in_channels=8, norm_cfg=dict(type='BN')), 8),
            ('Paraphraser', dict(in_channel=8, out_channel=4, phase='train'), 4),
            ('Translator', dict(in_channel=8, out_channel=4), 4),
            (
                'TorchNNConnector',
                dict(module_name='AvgPool2d', module_args=dict(kernel_size=1)),
                8,
            ),
            (
                'TorchFunctionalConnector',
                dict(function_name='relu', func_args=dict()),
                8,
            ),
        ],
    )
    def test_connector(self, name, options, channels):
        connector = MODELS.build(dict(type=f'mmrazor.{name}', **options))
        assert connector(torch.rand(2, 8, 6, 5)).shape == (2, channels, 6, 5)

    def test_fbkd(self):
        student = MODELS.build(dict(type='mmrazor.FBKDStudentConnector', in_channels=8))
        teacher = MODELS.build(dict(type='mmrazor.FBKDTeacherConnector', in_channels=8))
        loss = MODELS.build(dict(type='mmrazor.FBKDLoss'))
        feature = torch.rand(2, 8, 8, 8)
        assert torch.isfinite(loss(student(feature), teacher(feature + 1)))

    @pytest.mark.parametrize(
        ('kind', 'source', 'expected'),
        [
            ('ModuleOutputs', '0', 'convolved'),
            ('ModuleInputs', '1', 'convolved'),
            ('Parameter', '0.weight', 'weight'),
            ('MethodOutputs', 'tests.test_compat.Doubler.double', 'doubled'),
            ('MethodInputs', 'tests.test_compat.Doubler.double', 'image'),
            ('FunctionOutputs', 'tests.test_compat.halve', 'halved'),
            ('FunctionInputs', 'tests.test_compat.halve', 'image'),
        ],
    )
    def test_recorder(self, kind, source, expected):
        from mmrazor.models.task_modules import RecorderManager

        this = importlib.import_module('tests.test_compat')
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Sigmoid())
        manager = RecorderManager({'it': dict(type=kind, source=source)})
        manager.initialize(model)
        image = torch.rand(1, 3, 4, 4)
        with manager:
            model(image)
            this.Doubler().double(image)
            this.halve(image)
        wanted = {
            'convolved': model[0](image),
            'weight': model[0].weight,
            'doubled': 2 * image,
            'halved': image / 2,
            'image': image,
        }[expected]
        index = 0 if kind.endswith('Inputs') else None  # of the arguments
        found = manager.get_recorder('it').get_record_data(data_idx=index)
        assert torch.equal(found, wanted)

    @pytest.mark.parametrize(
        ('kind', 'path', 'call'),
        [
            (
                'MethodOutputs',
                dict(method_path='tests.test_compat.Doubler.noise'),
                lambda module: module.Doubler().noise(),
            ),
            (
                'FunctionOutputs',
                dict(func_path='tests.test_compat.noise'),
                lambda module: module.noise(),
            ),
        ],
    )
    def test_delivery(self, kind, path, call):
        from mmrazor.models.task_modules import DistillDeliveryManager

        module = importlib.import_module('tests.test_compat')
        deliveries = {'it': dict(type=kind, max_keep_data=1, **path)}
        manager = DistillDeliveryManager(deliveries)
        manager.override_data = False
        with manager:
            first = call(module)
        assert not torch.equal(first, call(module))
        manager.override_data = True
        with manager:
            assert torch.equal(first, call(module))

    def test_single_teacher_distill(self):
        detector = builders.retinanet()
        record = dict(fpn=dict(type='ModuleOutputs', source='neck.fpn_convs.0.conv'))
        mapping = {
            f'preds_{side}': dict(from_student=side == 'S', recorder='fpn')
            for side in 'ST'
        }
        model = MODELS.build(
            dict(
                type='mmrazor.SingleTeacherDistill',
                architecture=detector,
                teacher=detector,
                distiller=dict(
                    type='mmrazor.ConfigurableDistiller',
                    student_recorders=record,
                    teacher_recorders=record,
                    distill_losses=dict(loss_pkd=dict(type='mmrazor.PKDLoss')),
                    loss_forward_mappings=dict(loss_pkd=mapping),
                ),
            )
        )
        assert type(model).__module__.startswith('mmrazor.')
        data = model.architecture.data_preprocessor(builders.batch(), training=True)
        losses = model(**data, mode='loss')
        assert losses['distill.loss_pkd'] > 0
        assert 'student.loss_cls' in losses

    @pytest.mark.parametrize(
        ('registry', 'name'),
        [
            (HOOKS, 'StopDistillHook'),
            (LOOPS, 'SingleTeacherDistillValLoop'),
            (MODELS, 'FpnTeacherDistill'),
            (MODELS, 'SelfDistill'),
            (MODELS, 'BYOTDistiller'),
            (TASK_UTILS, 'ModuleInputsRecorder'),
        ],
    )
    def test_also_registered(self, registry, name):
        assert registry.get(f'mmrazor.{name}') is not None

    def test_names_of_other_registries(self):
        assert METRICS.get('mmrotate.DOTAMetric') is not None


class Doubler:
    def double(self, image):
        return 2 * image

    def noise(self):
        return torch.rand(3)


def halve(image):
    return image / 2


def noise():
    return torch.rand(3)
