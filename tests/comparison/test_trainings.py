"""What is trained, resumed, left alone; tools in processes of their own."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aerialkd.comparison import trainings
from aerialkd.comparison.trainings import (
    ToolError,
    check_kept,
    last_checkpoint,
    make_data,
    run_tool,
    said_to_go_on,
    seeded,
    train,
)
from aerialkd.engine.noted_inputs import INPUTS, note_inputs
from aerialkd.engine.stored_settings import DECISIVE
from aerialkd.errors import ConfigError
from tests.engine.toys import locked_elsewhere

ROOT = Path(__file__).parents[2]
STUDENT = 'configs/demo/retinanet_student.py'
PKD = 'configs/demo/pkd_retinanet.py'


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def commands(monkeypatch):
    """Tools are written down, not run."""
    written = []
    monkeypatch.setattr(trainings, 'run_tool', lambda *c, **_: written.append(c))
    return written


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A function that makes a tool of some lines."""
    monkeypatch.setattr(trainings, 'TOOLS', tmp_path)

    def make(text):
        (tmp_path / 'tool.py').write_text(text)
        return 'tool.py'

    return make


def placed(tmp_path, seed=0):
    cfg = seeded(STUDENT, seed)
    cfg.work_dir = str(tmp_path / 'retinanet_student')
    return cfg


def test_a_student_is_taught_by_the_teacher_of_its_seed():
    for seed in (0, 3):
        teacher = seeded('configs/demo/retinanet_teacher.py', seed)
        student = seeded('configs/demo/pkd_retinanet.py', seed)
        assert student.randomness.seed == seed
        assert student.model.teacher_ckpt == str(last_checkpoint(teacher))
    assert student.work_dir == 'work_dirs/demo/seed_3/pkd_retinanet'


def test_a_config_without_a_work_dir_gets_one_by_its_name():
    name = 'pkd_retinanet_r101-r18_fpn_1x_visdrone-512'
    assert seeded(f'configs/pkd/{name}.py', 0).work_dir == f'work_dirs/{name}'
    second = seeded(f'configs/pkd/{name}.py', 1)
    assert second.work_dir == f'work_dirs/seed_1/{name}'
    teacher = 'work_dirs/seed_1/retinanet_r101_fpn_1x_visdrone-512/epoch_12.pth'
    assert second.model.teacher_ckpt == teacher


def test_the_seed_0_needs_no_option_that_the_config_does_not_have():
    """`tools/train.py configs/demo/...` alone repeats the demo's trainings."""
    file = 'configs/demo/pkd_retinanet.py'
    from_file, with_seed = trainings.read_config(file), seeded(file, 0)
    assert all(from_file[key] == with_seed[key] for key in (*DECISIVE, 'work_dir'))


def test_training_starts_goes_on_and_is_not_repeated(commands, tmp_path):
    cfg = placed(tmp_path, seed=2)
    train(STUDENT, cfg)
    assert 'randomness.seed=2' in commands[-1]
    work_dir = Path(cfg.work_dir)
    cfg.dump(work_dir / 'retinanet_student.py')
    train(STUDENT, cfg)
    # Whether there is something to go on from is the training's business.
    assert all('--resume' in command for command in commands)
    (work_dir / last_checkpoint(cfg).name).write_bytes(b'')
    train(STUDENT, cfg)
    assert len(commands) == 2


@pytest.mark.parametrize('key', DECISIVE)
def test_a_training_of_another_config_is_not_taken_for_this_one(
    commands, tmp_path, key
):
    cfg = placed(tmp_path)
    Path(cfg.work_dir).mkdir()
    before = copy.deepcopy(cfg)
    part = before[key][0] if key == 'param_scheduler' else before[key]
    part.another = 1
    before.dump(Path(cfg.work_dir) / 'retinanet_student.py')
    with pytest.raises(
        ConfigError, match=rf'another config.*{key}.*another: stored 1, g'
    ):
        train(STUDENT, cfg)
    assert not commands


def test_images_of_demo_configs_are_made(commands):
    make_data(seeded('configs/demo/rotated-retinanet_student.py', 0))
    make_data(seeded('configs/pkd/pkd_retinanet_r101-r18_fpn_1x_visdrone-512.py', 0))
    ((name, *words),) = commands
    assert (name, *words[:4]) == (
        'make_demo_data.py', '--out', 'work_dirs/demo_rotated/data', '--layout', 'dota'
    )  # fmt: skip


def test_a_tool_that_fails_is_an_error_with_its_status(tool):
    with pytest.raises(ToolError, match='pkd failed with status 3'):
        run_tool(tool('raise SystemExit(3)'), 'pkd')
    run_tool(tool('import sys; assert sys.argv[1:] == ["1", "a"]'), 1, 'a')


def test_what_a_tool_prints_goes_where_it_is_told(tool, tmp_path):
    with (tmp_path / 'said').open('w') as file:
        run_tool(tool('print("hello")'), 'x', output=file.fileno())
    assert (tmp_path / 'said').read_text() == 'hello\n'


@pytest.mark.parametrize(
    ('number', 'status'), [('SIGTERM', 143), ('SIGINT', 130), ('SIGHUP', 129)]
)
def test_a_signal_ends_the_tool_before_us(tool, tmp_path, number, status):
    ours = signal.Signals[number]
    name = tool(
        'import signal, sys\n'
        'def end(*_):\n'
        '    open(sys.argv[1], "a").write("saved")\n'
        '    sys.exit(0)\n'
        f'signal.signal(signal.{number}, end)\n'
        'open(sys.argv[1], "a").write("ready ")\n'
        'signal.pause()\n'
    )
    said = tmp_path / 'said'

    def terminate():
        while not said.is_file() or not said.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), ours)

    before = signal.signal(ours, lambda *_: None)  # not ignored
    heard = signal.getsignal(ours)
    threading.Thread(target=terminate).start()
    with pytest.raises(SystemExit) as ended:
        run_tool(name, said)
    assert ended.value.code == status
    assert said.read_text() == 'ready saved'
    assert signal.getsignal(ours) is heard
    signal.signal(ours, before)


def test_a_second_ctrl_c_ends_a_tool_that_does_not_end(tool, tmp_path):
    name = tool(
        'import signal, sys\n'
        'signal.signal(signal.SIGINT, lambda *_: None)\n'
        'open(sys.argv[1], "a").write("ready")\n'
        'while True: signal.pause()\n'
    )
    said, before = tmp_path / 'said', signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored

    def interrupt():
        while not said.is_file() or not said.read_text():
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.4)

    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(SystemExit) as ended:
            run_tool(name, said)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130


def test_what_a_signal_ends_is_said_to_go_on(capsys):
    for status, said in ((130, 'interrupted; the same command goes on'), (2, '')):
        with pytest.raises(SystemExit), said_to_go_on():
            raise SystemExit(status)
        assert said in capsys.readouterr().err or not said


def test_a_work_dir_is_trained_once_at_a_time(commands, tmp_path):
    cfg = placed(tmp_path)
    # What is left of a comparison that was killed: its training alone.
    with locked_elsewhere(Path(cfg.work_dir)) as orphan:
        with pytest.raises(ConfigError, match=f'is being trained by process {orphan}'):
            train(STUDENT, cfg)
        assert not commands
    train(STUDENT, cfg)
    assert len(commands) == 1


def note(work_dir, cfg):
    """What a training notes when it begins."""
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    begun = SimpleNamespace(cfg=cfg, work_dir=work_dir, _resume=False, _load_from=None)
    note_inputs(begun)


@pytest.fixture
def distilled(tmp_path):
    """A demo's student whose teacher is trained below a temporary folder."""
    cfg = seeded(PKD, 0)
    cfg.work_dir = str(tmp_path / 'pkd_retinanet')
    cfg.model.teacher_ckpt = str(tmp_path / 'teacher.pth')
    return cfg


def finish(cfg, teacher=b'first'):
    """Train teacher and student."""
    Path(cfg.model.teacher_ckpt).write_bytes(teacher)
    note(cfg.work_dir, cfg)
    last_checkpoint(cfg).write_bytes(b'student')


def test_a_student_of_another_teacher_is_not_trained_already(
    commands, distilled, capsys
):
    finish(distilled)
    train(PKD, distilled)
    assert 'already trained' in capsys.readouterr().out
    Path(distilled.model.teacher_ckpt).write_bytes(b'trained anew')
    for finished in (True, False):  # one that was interrupted does not go on, either
        with pytest.raises(ConfigError) as refused:
            train(PKD, distilled)
        assert 'pkd_retinanet: got a training from other inputs' in str(refused.value)
        assert 'model.teacher_ckpt: SHA-256 was a7937b64b8ca, is' in str(refused.value)
        assert f'rm -r {distilled.work_dir}' in str(refused.value)
        if finished:
            last_checkpoint(distilled).rename(
                Path(distilled.work_dir) / 'interrupted.pth'
            )
    assert 'already trained' not in capsys.readouterr().out
    assert not commands


def test_a_teacher_that_is_going_to_be_trained_anew_is_noticed_before(distilled):
    finish(distilled)
    Path(distilled.model.teacher_ckpt).unlink()
    check_kept([(PKD, distilled)])
    with pytest.raises(ConfigError, match='by a teacher that is going to be trained'):
        check_kept([(PKD, distilled)], teachers_come=True)


def test_all_that_is_of_other_inputs_is_named_at_once(distilled, tmp_path):
    finish(distilled)
    second = copy.deepcopy(distilled)
    second.work_dir = str(tmp_path / 'second')
    finish(second, b'trained anew')
    Path(distilled.model.teacher_ckpt).write_bytes(b'and again')
    with pytest.raises(ConfigError) as refused:
        check_kept([(PKD, distilled), (PKD, second)])
    assert f'rm -r {distilled.work_dir} {second.work_dir}' in str(refused.value)


def test_what_0_1_0_trained_is_left_alone_and_said(commands, distilled, capsys):
    finish(distilled)
    (Path(distilled.work_dir) / INPUTS).unlink()
    Path(distilled.model.teacher_ckpt).write_bytes(b'trained anew')
    train(PKD, distilled)
    said = capsys.readouterr()
    assert 'already trained' in said.out
    assert 'nothing notes from which teacher and data' in said.err
    assert not commands


def test_the_checkpoint_knows_better_than_a_config_that_was_dumped_over_it(
    commands, distilled
):
    """As test.py of 0.1.0 did it."""
    finish(distilled)
    meta = dict(cfg=distilled.pretty_text)
    torch.save(dict(state_dict={}, meta=meta), last_checkpoint(distilled))
    tested = copy.deepcopy(distilled)
    tested.model = dict(type='RetinaNet')
    tested.dump(Path(distilled.work_dir) / 'pkd_retinanet.py')
    train(PKD, distilled)
    last_checkpoint(distilled).write_bytes(b'')
    with pytest.raises(ConfigError, match='of another config'):
        train(PKD, distilled)
    assert not commands
