"""Ends a training at every moment at which it changes files, and looks what is left."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from mmengine.fileio.backends import local_backend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from aerialkd.engine import find_resumable, read_checkpoint

FRACTIONS = (0, 0.25, 0.5, 0.99, 1)
DAMAGES = {
    'whole': None,
    'empty': '',
    'garbage': '\0\x01 %$',
    'dangling': '/nowhere/epoch_9.pth\n',
}


class Kills:
    """Counts what is done to files, and ends the process at one of these moments.

    Args:
        at: the moment; None for none.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.moments: list[str] = []

    def moment(self, what: str) -> None:
        if len(self.moments) == self.at:
            os._exit(9)
        self.moments.append(what)

    def install(self) -> None:
        replace, fsync, unlink = os.replace, os.fsync, Path.unlink

        def write(path: Path, content: bytes) -> None:
            with open(path, 'wb', buffering=0) as file:
                done = 0
                for share in FRACTIONS:
                    end = int(len(content) * share)
                    file.write(content[done:end])
                    done = end
                    self.moment(f'{share:.0%} of {path.name}')

        def renamed(source, target) -> None:
            self.moment(f'before {Path(target).name} takes its place')
            replace(source, target)
            self.moment(f'after {Path(target).name} took its place')

        def flushed(handle) -> None:
            self.moment('before a flush')
            fsync(handle)

        def unlinked(path, missing_ok=False) -> None:
            self.moment(f'before {path.name} is removed')
            unlink(path, missing_ok)

        local_backend.LocalBackend.put = lambda _, content, path: write(
            Path(path), content
        )
        Path.write_bytes = write
        os.replace, os.fsync, Path.unlink = renamed, flushed, unlinked


@HOOKS.register_module(force=True)
class TryKills(Hook):
    """Before an epoch: trains it once for each moment, and is killed there.

    Args:
        epoch: counted from 0; those before are trained once.
        report: file for what was found, as JSON.
    """

    def __init__(self, epoch: int, report: str) -> None:
        self.epoch, self.report = epoch, report

    def before_train_epoch(self, runner) -> None:
        if runner.epoch != self.epoch:
            return
        folder = Path(runner.work_dir)
        before = folder.with_name('before')
        shutil.copytree(folder, before)
        found = []
        for at in (None, *range(1000)):
            shutil.rmtree(folder)
            shutil.copytree(before, folder)
            child = os.fork()
            if child == 0:
                kills = Kills(at)
                kills.install()
                runner.train_loop._max_epochs = self.epoch + 1
                self.kills = kills
                return  # and trains on
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            moments = json.loads(Path(self.report).read_text())
            if at is not None:
                assert status == 9, (at, status)
                found.append([moments[at], *_what_is_left(folder)])
            if at == len(moments) - 1:
                break
        Path(self.report).write_text(json.dumps(found))
        os._exit(0)

    def after_train(self, runner) -> None:
        with open(self.report, 'w') as file:
            json.dump(self.kills.moments, file)
        os._exit(0)


def _what_is_left(folder: Path) -> list:
    """Epochs that can be resumed, for each damage to last_checkpoint, and best ones.

    All files under their own names can be read.
    """
    pointer, epochs = folder / 'last_checkpoint', []
    content = pointer.read_text() if pointer.is_file() else ''
    for damage in DAMAGES.values():
        with open(pointer, 'w') as file:
            file.write(content if damage is None else damage)
        file = find_resumable(folder)
        epochs.append(file and read_checkpoint(file)['meta']['epoch'])
    with open(pointer, 'w') as file:
        file.write(content)
    files = {file.name: read_checkpoint(file) for file in folder.glob('[!.]*.pth')}
    return [epochs, sorted(name for name in files if name.startswith('best_'))]
