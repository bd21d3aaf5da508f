"""Locks on folders: other processes and names, kills, forks, what has no locks."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aerialkd import locks
from aerialkd.datasets.made import make_data
from aerialkd.errors import ConfigError
from aerialkd.locks import LOCK, FolderLock
from tests.engine.toys import in_child, locked_elsewhere


def is_free(folder):
    """Whether another process gets the lock."""

    def take():
        try:
            FolderLock(folder).acquire()
        except ConfigError:
            sys.exit(2)

    return in_child(take) == 0


def test_another_process_is_refused_with_who_holds_it(tmp_path):
    lock = FolderLock(tmp_path / 'run')
    with (
        locked_elsewhere(tmp_path / 'run') as other,
        pytest.raises(ConfigError) as refused,
    ):
        lock.acquire()
    said = str(refused.value)
    assert f'run: is being trained by process {other} on ' in said
    assert ', since 20' in said
    assert 'wait for it, end it, or choose another --work-dir' in said
    lock.acquire()
    lock.release()


def test_a_folder_is_the_same_by_any_name(tmp_path, monkeypatch):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'run')
    monkeypatch.chdir(tmp_path)
    with FolderLock('run'):
        for name in (tmp_path / 'link', tmp_path / 'run/../run', './run'):
            assert not is_free(name)
        assert is_free(tmp_path / 'other')


def test_a_process_takes_its_own_lock_again(tmp_path):
    outer, inner = FolderLock(tmp_path), FolderLock(tmp_path)
    with outer:
        with inner:
            inner.acquire()
        assert not is_free(tmp_path)
    assert is_free(tmp_path)
    outer.release()


def test_a_kill_leaves_no_lock_even_if_a_forked_process_lives_on(tmp_path):
    read, write = os.pipe()

    def train():
        FolderLock(tmp_path).acquire()
        if os.fork() == 0:  # a loader's worker
            os.write(write, b'%d' % os.getpid())
            signal.pause()
        signal.pause()

    trainer = os.fork()
    if trainer == 0:
        in_child(train)
        os._exit(0)
    worker = int(os.read(read, 20))
    parent = int(Path(f'/proc/{worker}/stat').read_text().split()[3])
    assert not is_free(tmp_path)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(trainer, 0)
    try:
        os.kill(worker, 0)  # lives on
        assert is_free(tmp_path)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_programs_that_are_started_do_not_inherit_it(tmp_path):
    with FolderLock(tmp_path):
        sleep = subprocess.Popen(['sleep', '60'])
    try:
        assert is_free(tmp_path)
    finally:
        sleep.kill()
        sleep.wait()


def test_who_wrote_nothing_is_another_process(tmp_path):
    with (tmp_path / LOCK).open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match='is being trained by another process'):
            FolderLock(tmp_path).acquire()


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    for folder in (tmp_path / 'file', tmp_path / 'file/run'):
        with pytest.raises(ConfigError, match=r'file.*: cannot be written: .*--work'):
            FolderLock(folder).acquire()


@pytest.mark.parametrize('missing', ['locks of the file system', 'fcntl'])
def test_without_locks_a_warning(tmp_path, monkeypatch, missing):
    def refuse(*_):
        raise OSError(95, 'Operation not supported')

    if missing == 'fcntl':
        monkeypatch.setattr(locks, 'fcntl', None)
    else:
        monkeypatch.setattr(fcntl, 'flock', refuse)
    said = []
    monkeypatch.setattr(locks, 'print_log', lambda text, **_: said.append(text))
    with FolderLock(tmp_path):
        assert len(said) == 1
    assert f'{tmp_path}: cannot be locked: ' in said[0]


def test_a_data_set_is_made_once_at_a_time_and_read_by_many(tmp_path):
    options = dict(layout='visdrone', out=tmp_path / 'made', images=4, size=64)
    with (
        locked_elsewhere(tmp_path / 'made') as other,
        pytest.raises(ConfigError, match=rf'made: is being written by.*{other}'),
    ):
        make_data(**options, progress=False)
    assert [file.name for file in (tmp_path / 'made').iterdir()] == [LOCK]
    make_data(**options, progress=False)
    with locked_elsewhere(tmp_path / 'made'):
        make_data(**options, progress=False)  # it is complete
