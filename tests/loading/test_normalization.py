"""Statistics of normalization in files of early MMDetection 3, wherever one is read."""

import itertools

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.registry import MODELS

from aerialkd.engine import load_strictly, load_weights
from aerialkd.visualization.feature_inputs import load_model
from tests.builders import IMAGENET, distill, retinanet
from tests.trained import visdrone_config

COCO = dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395])
OTHER = dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0])
SAID = 'trained with another normalization'
GOT = 'got mean [0, 0, 0], std [255, 255, 255], expected mean [123.675, 116.28, 103.53]'
_number = itertools.count()


def statistics(values, prefix='', shape=(-1, 1, 1)):
    return {
        f'{prefix}data_preprocessor.{name}': torch.tensor(part).view(shape)
        for name, part in values.items()
    }


def write(folder, values=IMAGENET, prefix='', shape=(-1, 1, 1), classes=10):
    """A file as the model zoo has it."""
    state = MODELS.build(retinanet(classes)).state_dict()
    weights = {prefix + key: value for key, value in state.items()}
    content = dict(state_dict={**statistics(values, prefix, shape), **weights})
    torch.save(content, folder / 'zoo.pth')
    return folder / 'zoo.pth'


class TestStrictly:
    """Teachers, and every tool that is given a checkpoint."""

    @pytest.fixture
    def model(self):
        return MODELS.build(retinanet(10))

    @pytest.mark.parametrize('prefix', ['', 'module.', 'architecture.', 'student.'])
    @pytest.mark.parametrize('shape', [(-1, 1, 1), (-1,), (1, -1, 1, 1)])
    def test_equal_ones_are_left_out(self, prefix, shape, model, tmp_path, logged):
        load_strictly(model, load_weights(write(tmp_path, IMAGENET, prefix, shape)))
        assert not any(SAID in line for line in logged)
        assert not {'mean', 'std'} & {k.rpartition('.')[2] for k in model.state_dict()}

    def test_half_precision_is_equal(self, model, tmp_path, logged):
        weights = load_weights(write(tmp_path))
        halves = {key: value.half() for key, value in weights.state_dict.items()}
        weights.state_dict.update(halves)
        load_strictly(model, weights)
        assert not any(SAID in line for line in logged)

    def test_others_are_said_in_one_line(self, model, tmp_path, logged):
        file = write(tmp_path, OTHER)
        load_strictly(model, load_weights(file))
        (line,) = (line for line in logged if SAID in line)
        assert line.startswith(f'{file}: its weights')
        assert GOT in line
        assert 'std [58.395, 57.12, 57.375] of the config, which is used. ' in line
        assert '\n' not in line
        assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
            IMAGENET['mean']
        )

    def test_the_other_order_is_named(self, model, tmp_path, logged):
        load_strictly(model, load_weights(write(tmp_path, COCO)))
        (line,) = (line for line in logged if SAID in line)
        assert 'the same in the other order of channels' in line

    @pytest.mark.parametrize(
        ('preprocessor', 'expected'),
        [
            (dict(mean=None, std=None), 'expected mean none, std none'),
            (dict(mean=[127.5], std=[127.5]), 'expected mean [127.5], std [127.5]'),
        ],
    )
    def test_configs_of_another_kind(self, preprocessor, expected, tmp_path, logged):
        model = MODELS.build(retinanet(10, preprocessor=preprocessor))
        load_strictly(model, load_weights(write(tmp_path)))
        (line,) = (line for line in logged if SAID in line)
        assert expected in line

    def test_a_teacher_without_settings_is_fed_as_the_student(self, tmp_path, logged):
        teacher = retinanet(3)
        teacher.pop('data_preprocessor')
        for values, number in ((IMAGENET, 0), (OTHER, 1)):
            file = write(tmp_path, values, classes=3)
            MODELS.build(distill(teacher=teacher, teacher_ckpt=str(file)))
            assert sum(SAID in line for line in logged) == number
        assert GOT in logged[-1]

    def test_features(self, tmp_path, made_images, logged):
        cfg = visdrone_config(retinanet(10), made_images)
        load_model(cfg, write(tmp_path, OTHER), None, 'cpu')
        assert GOT in logged[-1]


@pytest.fixture(scope='module')
def config(tmp_path_factory, made_images):
    file = tmp_path_factory.mktemp('config') / 'detector.py'
    cfg = visdrone_config(retinanet(10), made_images)
    # It takes averaged weights strictly.
    cfg.custom_hooks = [dict(type='EMAHook')]
    cfg.train_cfg.val_interval = 9
    cfg.dump(file)
    return file


class TestMMEngine:
    """What MMEngine's own functions load."""

    @pytest.mark.parametrize('values', [IMAGENET, OTHER])
    def test_start_of_a_training_with_averaged_weights(
        self, values, config, run, tmp_path
    ):
        options = [f'load_from={write(tmp_path, values)}', 'train_cfg.max_epochs=1']
        options += [f'experiment_name=normalization_{next(_number)}']
        work_dir = tmp_path / 'run'
        command = ('train', config, '--work-dir', work_dir, '--cfg-options', *options)
        assert run(*command)[1] == 0
        (log,) = work_dir.glob('*/*.log')
        said = [line for line in log.read_text().splitlines() if SAID in line]
        assert len(said) == (values is OTHER)
        assert 'unexpected key' not in log.read_text()

    def test_detector(self, config, tmp_path, logged):
        file = str(write(tmp_path, OTHER))
        with pytest.warns(UserWarning, match='COCO classes'):
            model = init_detector(str(config), file, device='cpu')
        assert any(GOT in line for line in logged)
        assert not any('unexpected key' in line for line in logged)
        model.load_state_dict({**model.state_dict(), **statistics(IMAGENET)})

    def test_pretrained_student_and_backbone(self, tmp_path, logged):
        file = str(write(tmp_path, OTHER, classes=3))
        weights = load_weights(file).state_dict
        init = dict(type='Pretrained', checkpoint=file)
        student = retinanet(init_cfg=dict(init, prefix='backbone.'))
        model = MODELS.build(distill(architecture=student))
        model.init_weights()
        key = 'backbone.conv1.weight'
        assert torch.equal(model.student.state_dict()[key], weights[key])
        assert not any(SAID in line for line in logged)
        whole = MODELS.build(distill(architecture=retinanet(), init_cfg=init))
        whole.init_weights()
        assert torch.equal(whole.student.state_dict()[key], weights[key])
        assert sum(SAID in line for line in logged) == 1

    def test_other_unknown_keys_are_still_refused(self, tmp_path):
        model = MODELS.build(retinanet(10))
        for name in ('data_preprocessor.var', 'mean', 'neck.mean'):
            with pytest.raises(RuntimeError, match=f'Unexpected key.*"{name}"'):
                model.load_state_dict({**model.state_dict(), name: torch.ones(3)})


def test_tools(config, run, tmp_path):
    file = write(tmp_path)
    assert run('test', config, file, '--work-dir', tmp_path / 'test')[1] == 0
    line, status = run('export_student', config, file, '--out', tmp_path / 'out.pth')
    assert status == 0, line
    exported = load_weights(tmp_path / 'out.pth').state_dict
    assert not any('data_preprocessor' in key for key in exported)
    assert Config.fromfile(tmp_path / 'out.py').model.data_preprocessor.mean
