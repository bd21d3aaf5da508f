"""Hostile and broken files on every path on which a checkpoint is named."""

import itertools
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from safetensors.torch import save_file

from aerialkd import compat
from aerialkd.engine import load_weights, read_checkpoint
from aerialkd.errors import CheckpointError, TeacherError
from aerialkd.loading import mmengine_reader
from tests.builders import distill, retinanet
from tests.loading.hostile import FILES, touch, write
from tests.processes import run_tool
from tests.tool_mains import main_of
from tests.trained import visdrone_config

_number = itertools.count()
OTHERS = (
    *('convert_yolov8', 'show_features', 'show_gains', 'show_masks', 'table'),
    *('pr_curves', 'report', 'profile_step'),
)


@pytest.fixture(scope='module')
def configs(tmp_path_factory, made_images):
    """A detector's and a distillation's config file."""
    folder = tmp_path_factory.mktemp('configs')
    files = {}
    for name, model in (('detector', retinanet(10)), ('distillation', distill())):
        files[name] = folder / f'{name}.py'
        cfg = visdrone_config(model, made_images)
        cfg.train_cfg.val_interval = 9
        cfg.dump(files[name])
    return files


@pytest.fixture
def run_help(monkeypatch, capsys):
    def help_of(tool):
        monkeypatch.setattr(sys, 'argv', [tool, '--help'])
        with pytest.raises(SystemExit):
            main_of(tool)()
        return capsys.readouterr().out

    return help_of


def train(run, config, work_dir, *options, **settings):
    # Runs of the same second would share a name, which mmengine warns of.
    settings['experiment_name'] = f'hostile_{next(_number)}'
    pairs = [f'{key}={value}' for key, value in settings.items()]
    return run(
        'train', config, '--work-dir', work_dir, *options, '--cfg-options', *pairs
    )


def as_teacher(run, configs, folder, name):
    setting = {'model.teacher_ckpt': name}
    return train(run, configs['distillation'], folder, **setting)


def as_resumed(run, configs, folder, name):
    return train(run, configs['detector'], folder, '--resume', name)


def as_last(run, configs, folder, name):
    (folder / 'last_checkpoint').write_text(name)
    return train(run, configs['detector'], folder, '--resume')


def as_start(run, configs, folder, name):
    return train(run, configs['detector'], folder, load_from=name)


def as_tested(run, configs, folder, name):
    return run('test', configs['detector'], name, '--work-dir', folder)


def as_exported(run, configs, folder, name):
    out = folder / 'student.pth'
    line = run('export_student', configs['detector'], name, '--out', out)
    assert not out.exists()
    return line


def as_converted(run, configs, folder, name):
    out = folder / 'converted.pth'
    line = run('convert_yolov8', name, out)
    assert not out.exists()
    return line


def as_detector(run, configs, folder, name):
    with pytest.raises(CheckpointError) as caught:
        init_detector(str(configs['detector']), name, device='cpu')
    return f'error: {caught.value}', 2


QUICK = (as_tested, as_exported, as_converted)
WITH_RUNNER = (as_teacher, as_resumed, as_last, as_start, as_detector)
# One of each kind, as a run takes a second: the reader is the same on all paths.
KINDS = (
    'system in message_hub.pth',
    'truncated to half.pth',
    'wrong digest of a hostile file.pth',
    'offsets outside.safetensors',
    'weights that are no numbers.pth',
)
MORE_KINDS = (
    'legacy format.pth',
    'history whose statistics are a call.pth',
    'zip bomb.pth',
    'state dict that is none.pth',
    'header nested deeply.safetensors',
)


def check(path, name, run, configs, folder):
    target = folder / 'target'
    line, status = path(run, configs, folder, write(name, folder / 'files', target))
    assert status == 2
    assert line.startswith('error: ')
    assert name.replace(' ', '_') in line
    assert not target.exists()


@pytest.mark.parametrize('name', FILES)
def test_every_file_on_the_quick_paths(name, run, configs, tmp_path):
    for path in QUICK:
        check(path, name, run, configs, tmp_path)


@pytest.mark.parametrize(
    'name',
    [*KINDS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_KINDS)],
)
@pytest.mark.parametrize('path', WITH_RUNNER)
def test_each_kind_of_file_in_a_run(path, name, run, configs, tmp_path):
    check(path, name, run, configs, tmp_path)


@pytest.mark.parametrize('name', FILES)
def test_every_file_as_mmengine_reads_it(name, tmp_path):
    from mmengine.runner import load_checkpoint

    target = tmp_path / 'target'
    file = write(name, tmp_path, target)
    with pytest.raises(CheckpointError):
        load_checkpoint(torch.nn.Linear(1, 1), file, map_location='cpu')
    assert not target.exists()


@pytest.fixture(scope='module')
def trained(tmp_path_factory, configs):
    """A real training checkpoint of one epoch."""
    cfg = Config.fromfile(configs['detector'])
    cfg.work_dir = str(tmp_path_factory.mktemp('trained'))
    cfg.experiment_name = 'hostile'
    Runner.from_cfg(cfg).train()
    return Path(cfg.work_dir) / 'epoch_1.pth'


class TestConfigText:
    """Config text with a side effect loads, and is never executed."""

    @pytest.fixture
    def checkpoint(self, trained, tmp_path):
        content = torch.load(trained, weights_only=False)
        text = touch(tmp_path / 'target')
        content['meta'].update(config=text, cfg=text)
        content['message_hub']['runtime_info']['cfg'] = text
        torch.save(content, tmp_path / 'text.pth')
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'text.pth'))
        return tmp_path / 'text.pth'

    @pytest.mark.parametrize('resume', ['file', 'last', 'trusted'])
    def test_resume(self, resume, run, configs, checkpoint, tmp_path):
        options = ['--resume'] if resume == 'last' else ['--resume', checkpoint]
        options += ['--trust-checkpoint'] if resume == 'trusted' else []
        more = {'train_cfg.max_epochs': 2}
        _, status = train(run, configs['detector'], tmp_path, *options, **more)
        assert status == 0
        assert (tmp_path / 'epoch_2.pth').is_file()
        assert not (tmp_path / 'target').exists()

    def test_other_paths(self, run, configs, checkpoint, tmp_path):
        _, status = as_start(run, configs, tmp_path / 'new', checkpoint)
        assert status == 0
        _, status = as_tested(run, configs, tmp_path, checkpoint)
        assert status == 0
        init_detector(str(configs['detector']), str(checkpoint), device='cpu')
        assert not (tmp_path / 'target').exists()

    def test_inferencer_without_a_config(self, checkpoint, tmp_path):
        from mmdet.apis import DetInferencer

        with pytest.raises(ValueError, match='Cannot find the config'):
            DetInferencer(weights=str(checkpoint), device='cpu')
        assert not (tmp_path / 'target').exists()


def test_teacher_in_python(tmp_path):
    target = tmp_path / 'target'
    file = write('system in state_dict.pth', tmp_path, target)
    with pytest.raises((CheckpointError, TeacherError), match='--trust-checkpoint'):
        MODELS.build(distill(teacher_ckpt=file))
    assert not target.exists()


def test_pretrained_backbone(tmp_path):
    target = tmp_path / 'target'
    file = write('system in state_dict.pth', tmp_path, target)
    model = MODELS.build(
        retinanet(init_cfg=dict(type='Pretrained', checkpoint=file)),
    )
    with pytest.raises(CheckpointError, match='refused'):
        model.init_weights()
    assert not target.exists()


@pytest.mark.parametrize(
    'tool',
    [
        'train',
        pytest.param('test', marks=pytest.mark.slow),
        pytest.param('export_student', marks=pytest.mark.slow),
        pytest.param('convert_yolov8', marks=pytest.mark.slow),
    ],
)
def test_exit_code_of_the_process(tool, configs, tmp_path):
    target = tmp_path / 'target'
    file = write('system in state_dict.pth', tmp_path, target)
    out = ('--work-dir', tmp_path)
    arguments = {
        'train': (configs['detector'], '--resume', file, *out),
        'test': (configs['detector'], file, *out),
        'export_student': (configs['detector'], file, '--out', tmp_path / 'out.pth'),
        'convert_yolov8': (file, tmp_path / 'out.pth'),
    }[tool]
    done = run_tool(tool, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: ')
    assert 'GLOBAL posix.system' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not target.exists()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_flipped_bytes(suffix, trained, tmp_path):
    """A damaged file loads or is refused; nothing else comes out of it."""
    rng = torch.Generator().manual_seed(0)
    file = tmp_path / f'small{suffix}'
    state = {'w': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(1)}
    if suffix == '.pth':
        hub = read_checkpoint(trained)['message_hub']
        history = dict(list(hub['log_scalars'].items())[:2])
        torch.save(dict(state_dict=state, meta=dict(epoch=1), hub=history), file)
    else:
        save_file(state, file, {'classes': 'car'})
    whole = file.read_bytes()
    loaded = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(torch.randint(1, 4, (1,), generator=rng))):
            at = int(torch.randint(len(data), (1,), generator=rng))
            data[at] = int(torch.randint(256, (1,), generator=rng))
        file.write_bytes(data)
        with suppress(CheckpointError):
            load_weights(file)
            loaded += 1
    assert 0 < loaded < 300


def test_doctor_reports_the_replaced_readers():
    assert mmengine_reader.ADAPTATION in compat.adaptations


@pytest.mark.parametrize('tool', [*('train', 'test', 'export_student'), *OTHERS])
def test_help_says_what_the_flag_does(tool, run_help):
    text = ' '.join(run_help(tool).split())
    assert '--trust-checkpoint' in text
    assert 'can run any code' in text
