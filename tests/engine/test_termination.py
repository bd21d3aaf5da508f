"""Signals: noted, ignored, given back; a second one; tools that they end."""

from __future__ import annotations

import os
import signal
import time

import pytest

from aerialkd.cli import one_line_errors
from aerialkd.engine import read_checkpoint
from aerialkd.engine.termination import (
    SIGNALS,
    Termination,
    ending_by_signals,
    exit_status,
)
from tests.engine.toys import in_child, train_toy
from tests.processes import run_python

STATUS = {signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGTERM: 143}


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def heeded():
    """In the background of a shell pytest may have been started deaf to Ctrl-C."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize('number', SIGNALS, ids=lambda n: n.name)
def test_a_training_saves_and_says_so(tmp_path, capfd, number):
    kill = [dict(type='KillAt', moment='after_train_iter', iteration=6, number=number)]
    options = dict(custom_hooks=kill, log_level='WARNING')
    assert in_child(lambda: train_toy(tmp_path, **options)) == STATUS[number]
    said = capfd.readouterr()
    assert f'{number.name}: the training is saved in {tmp_path}' in said.out + said.err
    assert 'Traceback' not in said.err
    assert read_checkpoint(tmp_path / 'interrupted.pth')['meta']['iter'] == 6


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP], ids=str)
def test_a_validation_ends_and_is_made_up_for(tmp_path, number):
    kill = [dict(type='KillAt', moment='before_val', iteration=4, number=number)]
    status = in_child(lambda: train_toy(tmp_path, epochs=2, custom_hooks=kill))
    assert status == STATUS[number]
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert not list(tmp_path.glob('best*'))
    assert in_child(lambda: train_toy(tmp_path, epochs=2, resume=True)) == 0
    assert (tmp_path / 'best_score_epoch_2.pth').is_file()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP], ids=str)
def test_workers_outlive_a_signal_to_the_whole_group(tmp_path, number):
    kill = dict(type='KillAt', moment='after_train_iter', iteration=6, group=True)
    hooks = [dict(kill, number=int(number))]
    code = (
        'import os, signal; from pathlib import Path; import aerialkd; '
        'from tests.engine.toys import train_toy; os.setsid(); '
        'signal.signal(signal.SIGINT, signal.default_int_handler); '
        f'train_toy(Path({str(tmp_path)!r}), workers=2, custom_hooks={hooks!r})'
    )
    done = run_python(code)
    assert done.returncode == STATUS[number]
    assert 'Traceback' not in done.stderr
    assert read_checkpoint(tmp_path / 'interrupted.pth')['meta']['iter'] == 6


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    termination = Termination()
    termination.listen()
    send(signal.SIGHUP)
    assert not termination.requested
    send(signal.SIGINT)
    assert termination.number == signal.SIGINT
    termination.stop_listening()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def second_signal(number, pause, environment=()):
    """The status of a process that is sent one twice, and then would go on."""

    def twice():
        os.environ.update(environment)
        termination = Termination()
        termination.listen()
        send(number)
        time.sleep(pause)
        send(number)

    return in_child(twice)


def test_a_second_ctrl_c_ends_at_once_but_not_the_same_one_again():
    assert second_signal(signal.SIGINT, pause=0.4) == 130
    assert second_signal(signal.SIGINT, pause=0) == 0  # timeout(1) signals twice
    for name in ('TORCHELASTIC_RUN_ID', 'AERIALKD_SIGNALS_HANDED_ON'):
        assert second_signal(signal.SIGINT, 0.4, {name: '1'}) == 0
    assert second_signal(signal.SIGHUP, pause=0.4) == 0


def test_a_training_that_failed_leaves_signals_alone():
    def train():
        termination.listen(train)
        raise ValueError('failed')

    termination = Termination()
    with pytest.raises(ValueError, match='failed'):
        train()
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    assert not termination.requested
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_forked_process_is_ended_by_its_parent():
    with ending_by_signals():

        def forked():
            send(signal.SIGINT)
            send(signal.SIGHUP)
            send(signal.SIGTERM)
            time.sleep(60)

        assert in_child(forked) == -signal.SIGTERM


@pytest.mark.parametrize('number', SIGNALS, ids=lambda n: n.name)
def test_a_tool_ends_in_one_line_and_cleans_up(number, capsys):
    cleaned = []

    @one_line_errors
    def main():
        try:
            send(number)
            time.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == STATUS[number] == exit_status(number)
    assert capsys.readouterr().err == f'{number.name}: ended before it was done.\n'
    assert cleaned
    assert signal.getsignal(number) is signal.default_int_handler
