import os

import pytest

from aerialkd.engine.staging import staging
from aerialkd.errors import ConfigError


def write(folder, targets, text='new'):
    for target in targets:
        (folder / target.name).write_text(text)


def test_files_appear_at_the_end(tmp_path):
    targets = [tmp_path / 'new' / name for name in ('a.txt', 'b.txt')]
    with staging(targets) as folder:
        write(folder, targets)
        assert folder.parent == targets[0].parent
        assert not any(target.exists() for target in targets)
    assert sorted(p.name for p in targets[0].parent.iterdir()) == ['a.txt', 'b.txt']


def export(targets, force=False, before_the_end=lambda: None):
    with staging(targets, force) as folder:
        write(folder, targets)
        before_the_end()


def test_exception_leaves_nothing_and_keeps_the_old(tmp_path):
    target = tmp_path / 'a.txt'
    target.write_text('old')
    with pytest.raises(ZeroDivisionError):
        export([target], force=True, before_the_end=lambda: 1 / 0)
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']
    assert target.read_text() == 'old'
    export([target], force=True)
    assert target.read_text() == 'new'


def test_file_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / 'a.txt'
    with pytest.raises(ConfigError, match='exists already'):
        export([target], before_the_end=lambda: target.write_text('of somebody else'))
    assert target.read_text() == 'of somebody else'
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_failure_on_the_way_takes_the_first_files_back(tmp_path, monkeypatch):
    targets = [tmp_path / 'a.txt', tmp_path / 'b.txt']
    replace = os.replace

    def fail_at_b(source, target):
        if target.name == 'b.txt':
            raise OSError(28, 'No space left', str(source), None, str(target))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', fail_at_b)
    with pytest.raises(ConfigError, match=r'b\.txt: cannot be written'):
        export(targets)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='cannot be written'):
        export([tmp_path / 'file' / 'a.txt'])
