"""Checkpoints while the process is killed, the disk is full, files are damaged."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess

import pytest
import torch
from mmengine.registry import HOOKS as ROOT_HOOKS

from aerialkd.engine import CheckpointHook, find_resumable, read_checkpoint
from aerialkd.engine.last_checkpoint import read_kept
from aerialkd.engine.termination import Termination
from aerialkd.errors import CheckpointError
from aerialkd.files import sha256_of
from tests.engine.kills import FRACTIONS
from tests.engine.toys import in_child, train_toy
from tests.processes import run_python

SLOW = pytest.mark.slow


def keeping(number):
    """Options of a training that keeps so many checkpoints."""
    best = dict(save_best='score', rule='greater')
    hook = dict(type='CheckpointHook', interval=1, max_keep_ckpts=number, **best)
    return dict(default_hooks=dict(checkpoint=hook))


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.mark.parametrize(
    ('kept', 'epoch'),
    [(1, 3), *(pytest.param(*case, marks=SLOW) for case in ((3, 3), (1, 5), (2, 5)))],
)
def test_killed_at_any_moment_something_is_left(tmp_path, kept, epoch):
    # Epoch 4 is not the best one; epoch 6 is, and saved again with the new best score.
    work_dir, report = tmp_path / 'toy', tmp_path / 'report.json'
    kill = [dict(type='TryKills', epoch=epoch, report=str(report))]
    options = dict(epochs=epoch + 1, custom_hooks=kill, **keeping(kept))
    assert in_child(lambda: train_toy(work_dir, **options)) == 0
    tried = json.loads(report.read_text())
    moments = [moment for moment, *_ in tried]
    name = f'epoch_{epoch + 1}.pth'
    for share in FRACTIONS:
        assert f'{share:.0%} of .{name}.part' in moments
    assert f'before epoch_{epoch + 1 - kept}.pth is removed' in moments
    placed = moments.index(f'after {name} took its place')
    for number, (moment, epochs, best) in enumerate(tried):
        # Nothing is lost: from the moment that the new one is there, it is found, also
        # where last_checkpoint is empty, garbage or points nowhere.
        expected = epoch + 1 if number >= placed else epoch
        assert epochs == [expected] * 4, moment
        # The previous best one stays until the new one is there.
        assert 'best_score_epoch_2.pth' in best or 'best_score_epoch_6.pth' in best


def test_every_config_has_it():
    assert ROOT_HOOKS.get('CheckpointHook') is CheckpointHook
    assert ROOT_HOOKS.get('mmdet.CheckpointHook') is CheckpointHook


def test_files_and_digests(tmp_path):
    (tmp_path / '.epoch_9.pth.part').touch()  # of a training that was killed
    assert in_child(lambda: train_toy(tmp_path, epochs=4, **keeping(2))) == 0
    assert names(tmp_path) == ['best_score_epoch_2.pth', 'epoch_3.pth', 'epoch_4.pth']
    assert not list(tmp_path.glob('.*.part'))
    kept = read_kept(tmp_path)
    assert [k.name for k in kept] == ['epoch_4.pth', 'epoch_3.pth']
    assert all(sha256_of(tmp_path / k.name) == k.digest for k in kept)
    # MMEngine's line first; the others are those of sha256sum.
    lines = (tmp_path / 'last_checkpoint').read_text().splitlines()
    assert lines[0] == str(tmp_path / 'epoch_4.pth')
    (tmp_path / 'sums').write_text('\n'.join(lines[1:]) + '\n')
    subprocess.run(['sha256sum', '-c', 'sums'], cwd=tmp_path, check=True)
    # A copy elsewhere is resumed there.
    moved = tmp_path.rename(tmp_path.with_name('moved'))
    assert find_resumable(moved) == moved / 'epoch_4.pth'


def test_damaged_files_are_passed_over(tmp_path):
    assert in_child(lambda: train_toy(tmp_path, epochs=3, **keeping(3))) == 0
    newest, second, first = (tmp_path / f'epoch_{n}.pth' for n in (3, 2, 1))
    assert find_resumable(tmp_path) == newest
    # A single bit, which torch.load would not notice.
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert find_resumable(tmp_path) == second
    second.write_bytes(second.read_bytes()[:-100])
    assert find_resumable(tmp_path) == first
    first.write_bytes(b'')
    with pytest.raises(CheckpointError, match='no checkpoint from which training'):
        find_resumable(tmp_path)
    for file in (newest, second, first):
        file.unlink()
    assert find_resumable(tmp_path) is None  # the best one holds no optimizer


def test_resume_of_nothing_starts_and_of_damage_does_not(tmp_path, capfd):
    # As a kill leaves it that comes before the first checkpoint is in its place.
    (tmp_path / 'last_checkpoint').write_text(f'{tmp_path}/epoch_1.pth\n')
    options = dict(resume=True, log_level='WARNING')
    assert in_child(lambda: train_toy(tmp_path, epochs=1, **options)) == 0
    said = capfd.readouterr()
    assert 'names no checkpoint that is there: starting anew' in said.out + said.err
    (tmp_path / 'epoch_1.pth').write_bytes(b'x')
    assert in_child(lambda: train_toy(tmp_path, epochs=2, **options)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert f'CheckpointError: {tmp_path}: got no checkpoint from which' in said
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_another_file_that_is_named_is_not_passed_over(tmp_path):
    other = tmp_path / 'other.pth'
    other.write_bytes(b'x')
    assert find_resumable(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text(str(other))
    with pytest.raises(CheckpointError, match=r'other\.pth: damaged'):
        find_resumable(tmp_path)


def full_disk(work_dir):
    """Train with files of at most 20 kB, as if the disk were full then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
    train_toy(work_dir, epochs=2, resume=True, **keeping(1))


def forbidden(work_dir):
    """Train where a file cannot take another one's place."""

    def refuse(source, target):
        raise PermissionError(13, 'Permission denied', str(target))

    os.replace = refuse
    train_toy(work_dir, epochs=2, resume=True, **keeping(1))


@pytest.mark.parametrize('train', [full_disk, forbidden])
def test_what_cannot_be_written_is_an_error(tmp_path, capfd, train):
    assert in_child(lambda: train_toy(tmp_path, epochs=1, **keeping(1))) == 0
    before = (tmp_path / 'epoch_1.pth').read_bytes()
    assert len(before) > 20_000
    assert in_child(lambda: train(tmp_path)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert 'epoch_2.pth: the checkpoint cannot be written: ' in said
    assert ('File too large' in said) or ('Permission denied' in said)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == before
    assert not list(tmp_path.glob('.*.part'))
    assert find_resumable(tmp_path) == tmp_path / 'epoch_1.pth'


def test_sigterm_while_validating(tmp_path):
    term = dict(moment='before_val', iteration=4, number=signal.SIGTERM)
    hooks = [dict(type='KillAt', **term)]
    status = in_child(lambda: train_toy(tmp_path, epochs=2, custom_hooks=hooks))
    assert status == 128 + signal.SIGTERM
    assert names(tmp_path) == ['epoch_1.pth']
    # A checkpoint that is not due is written all the same.
    hook = dict(checkpoint=dict(type='CheckpointHook', interval=5))
    options = dict(epochs=2, custom_hooks=hooks, default_hooks=hook)
    other = tmp_path / 'other'
    assert in_child(lambda: train_toy(other, **options)) == 128 + signal.SIGTERM
    assert names(other) == ['interrupted.pth']
    content = read_checkpoint(other / 'interrupted.pth')
    assert (content['meta']['epoch'], content['meta']['iter']) == (1, 4)
    assert not content['aerialkd_resume']['validated']


def test_sigterm_to_the_whole_group(tmp_path):
    """Workers go on until the step is done, and end with their process."""
    terminate = dict(moment='after_train_iter', iteration=6, number=15)
    hooks = [dict(type='KillAt', group=True, **terminate)]

    # The interpreter ends as usual: it asks workers to end, and waits for them.
    code = (
        'import os; from pathlib import Path; import aerialkd; '
        'from tests.engine.toys import train_toy; os.setsid(); '
        f'train_toy(Path({str(tmp_path)!r}), workers=2, custom_hooks={hooks!r})'
    )
    assert run_python(code).returncode == 128 + signal.SIGTERM
    assert names(tmp_path)[-1] == 'interrupted.pth'


def test_sigterm_is_given_back():
    before = signal.getsignal(signal.SIGTERM)
    termination = Termination()
    termination.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # handed on by a launcher
    assert termination.requested
    termination.stop_listening()
    assert signal.getsignal(signal.SIGTERM) is before


def test_weights_cannot_be_resumed(tmp_path, capfd):
    file = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(1)), meta=dict(epoch=1, iter=4)), file)
    options = dict(resume=True, load_from=str(file))
    assert in_child(lambda: train_toy(tmp_path / 'toy', **options)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert f'CheckpointError: {file}: holds weights, but no state of a training' in said


def test_unknown_best_measure_is_named(tmp_path, capfd):
    hook = dict(type='CheckpointHook', interval=1, save_best='scroe', rule='greater')
    options = dict(default_hooks=dict(checkpoint=hook))
    assert in_child(lambda: train_toy(tmp_path, **options)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert 'ConfigError: save_best: got scroe, expected some of score, mean' in said


def test_model_that_is_not_finite_is_not_saved(tmp_path, capfd):
    hooks = [dict(type='Poison', iteration=8)]
    assert in_child(lambda: train_toy(tmp_path, custom_hooks=hooks)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert 'NonFiniteError: Iteration 8: 1 parameters are not finite, the first' in said
    assert f'Last good checkpoint: {tmp_path}/epoch_1.pth' in said
    assert 'epoch_2.pth' not in names(tmp_path)
