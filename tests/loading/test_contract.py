"""What takes the place of MMEngine's functions keeps what is relied on of them."""

import errno
import importlib.util
import inspect
import io
import pickle
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError

import mmengine
import pytest
import torch
from mmengine import hooks
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, find_latest_checkpoint
from mmengine.runner import checkpoint as replaced

from aerialkd.errors import (
    AerialKDError,
    CheckpointError,
    CheckpointFileError,
    CheckpointRefused,
)
from aerialkd.loading.mmengine_reader import CONFIG_TEXT
from tests.engine.toys import in_child, train_toy
from tests.loading.test_download import put

STATE = {'w': torch.ones(2)}
# load_url is torch's own.
NAMES = (
    *('load_from_local', 'load_from_http', 'load_url', '_safe_torch_load'),
    'find_latest_checkpoint',
)
SCHEMES = ('', 'http://', 'torchvision://', 'open-mmlab://', 'mmcls://')


@pytest.fixture(scope='module')
def original():
    """MMEngine's module as it is without us."""
    before = dict(CheckpointLoader._schemes)
    spec = importlib.util.spec_from_file_location(
        'mmengine.runner.original', Path(replaced.__file__)
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert CheckpointLoader._schemes == before  # it has a loader class of its own
    return module


def arguments(function):
    """Names, kinds and defaults."""
    listed = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in listed]


@pytest.mark.parametrize('name', NAMES)
def test_functions_take_the_same_arguments(name, original):
    ours, theirs = getattr(replaced, name), getattr(original, name)
    assert ours is not theirs
    assert ours.__module__ == 'aerialkd.loading.mmengine_reader'
    assert arguments(ours) == arguments(theirs)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_loaders_take_the_same_arguments(scheme, original):
    ours = CheckpointLoader._get_checkpoint_loader(f'{scheme}a')
    theirs = original.CheckpointLoader._get_checkpoint_loader(f'{scheme}a')
    assert ours.__module__ == 'aerialkd.loading.mmengine_reader'
    assert ours.__name__ == theirs.__name__
    assert arguments(ours) == arguments(theirs)


def both(original, function):
    """The exceptions of both; ours is of each kind that theirs is, and of our tree."""
    found = []
    for module in (original, replaced):
        with pytest.raises(Exception) as told:  # noqa: PT011 - compared below
            function(module)
        found.append(told.value)
    theirs, ours = found
    if isinstance(theirs, HTTPError):
        theirs.close()
    assert not isinstance(theirs, AerialKDError)
    assert isinstance(ours, CheckpointError)
    assert isinstance(ours, type(theirs))
    assert '\n' not in str(ours)
    assert str(ours)[0] not in '\'"'  # as KeyError has it
    return ours


def load(name, tmp_path):
    return lambda module: module._load_checkpoint(name.format(tmp_path))


@pytest.mark.parametrize(
    'name',
    [
        *('{}/nowhere.pth', '{}', 'nowhere://a.pth'),
        *('torchvision://nothing', 'modelzoo://nothing'),
        *('open-mmlab://nothing', 'openmmlab://nothing', 'mmcls://nothing'),
    ],
)
def test_what_is_not_there(name, original, tmp_path, monkeypatch):
    monkeypatch.setattr(original, 'get_torchvision_models', dict)
    both(original, load(name, tmp_path))


@pytest.mark.parametrize(
    'data', [b'', b'garbage', b'\x80\x02}q\x00.\x80\x02', b'PK\x03\x04 cut off'],
    ids=['empty', 'garbage', 'pickle', 'archive'],
)  # fmt: skip
def test_damaged(data, original, tmp_path):
    (tmp_path / 'a.pth').write_bytes(data)
    both(original, load('{}/a.pth', tmp_path))
    both(original, lambda module: module._safe_torch_load(io.BytesIO(data)))


def test_cut_off(original, tmp_path):
    torch.save({'w': torch.zeros(1000)}, tmp_path / 'a.pth')
    whole = (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'a.pth').write_bytes(whole[: len(whole) // 2])
    both(original, load('{}/a.pth', tmp_path))


def test_not_a_dict(original, tmp_path):
    torch.save([1, 2], tmp_path / 'a.pth')
    file = str(tmp_path / 'a.pth')
    both(original, lambda m: m.load_checkpoint(torch.nn.Linear(1, 1), file))


def test_refused_as_torch_refuses(tmp_path):
    torch.save({'w': Path}, tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'a.pth', weights_only=True)
    with pytest.raises(pickle.UnpicklingError) as told:
        replaced._load_checkpoint(str(tmp_path / 'a.pth'))
    assert isinstance(told.value, CheckpointRefused)


@pytest.mark.parametrize(
    ('number', 'kind'),
    [
        (errno.EACCES, PermissionError),
        (errno.ENOENT, FileNotFoundError),
        (errno.EIO, OSError),
    ],
)
def test_what_the_system_says(number, kind, tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / 'a.pth')

    def fail(*_):
        raise OSError(number, 'No', 'a.pth')

    monkeypatch.setattr(Path, 'open', fail)
    with pytest.raises(kind, match=r'a\.pth: cannot be read: .*No') as told:
        replaced._load_checkpoint(str(tmp_path / 'a.pth'))
    assert isinstance(told.value, CheckpointFileError)
    assert (told.value.errno, told.value.filename) == (number, 'a.pth')


class TestNetwork:
    def test_file_that_the_server_has_not(self, server, original):
        error = both(original, load(f'{server.url}/nothing.pth', ''))
        assert isinstance(error, HTTPError)
        assert (error.code, error.filename) == (404, f'{server.url}/nothing.pth')
        assert '404' in str(error)

    def test_no_server(self, server, original):
        error = both(original, load('http://127.0.0.1:9/a.pth', ''))
        assert isinstance(error, URLError)

    def test_folder_and_name_of_a_download(self, server, tmp_path):
        url, digest = put(server)
        replaced.load_from_http(url, 'cpu', str(tmp_path / 'one'))
        (downloaded,) = (tmp_path / 'one').glob('[!.]*')  # without the note of its URL
        assert downloaded.name == 'teacher.pth'
        named = dict(map_location='cpu', file_name='other.pth')
        replaced.load_url(f'{url}#sha256={digest}', str(tmp_path / 'two'), **named)
        assert [file.name for file in (tmp_path / 'two').iterdir()] == ['other.pth']
        assert not server.kept.exists()


def test_results(original, tmp_path):
    """As they were written, but nobody executes the config's text, as MMEngine does."""
    meta = dict(epoch=1, cfg='model = None', dataset_meta=dict(classes=('car',)))
    torch.save(dict(state_dict=STATE, meta=meta), tmp_path / 'a.pth')
    file = str(tmp_path / 'a.pth')
    ours, theirs = (m.load_from_local(file, None) for m in (replaced, original))
    theirs['meta'][CONFIG_TEXT] = theirs['meta'].pop('cfg')
    assert torch.equal(ours.pop('state_dict')['w'], theirs.pop('state_dict')['w'])
    assert ours == theirs


class TestLatestCheckpoint:
    def test_digests_are_left_out(self, tmp_path):
        newest = str(tmp_path / 'epoch_2.pth')
        text = f'{newest}\n{"0" * 64}  epoch_2.pth\n'
        for content in (text, newest, f'{newest}\n'):
            (tmp_path / 'last_checkpoint').write_text(content)
            assert find_latest_checkpoint(str(tmp_path)) == newest

    def test_without_one(self, tmp_path, original):
        assert find_latest_checkpoint(str(tmp_path)) is None
        (tmp_path / 'last_checkpoint').write_text('')
        theirs = original.find_latest_checkpoint(str(tmp_path))
        assert find_latest_checkpoint(str(tmp_path)) == theirs

    def test_everywhere(self):
        holders = [
            module
            for name, module in sys.modules.items()
            if name.startswith('mmengine') and 'find_latest_checkpoint' in vars(module)
        ]
        assert len(holders) >= 3
        assert {m.find_latest_checkpoint for m in holders} == {find_latest_checkpoint}
        assert mmengine.runner.runner in holders


def test_hook_is_one_of_mmengine():
    hook = HOOKS.get('CheckpointHook')
    assert issubclass(hook, hooks.CheckpointHook)
    assert arguments(hook) == arguments(hooks.CheckpointHook)
    assert hook().priority == hooks.CheckpointHook().priority
    with pytest.raises(ValueError, match='at the same time'):
        hook(file_client_args={'backend': 'disk'}, backend_args={'backend': 'local'})
    with pytest.raises(AssertionError, match='save_best'):
        hook(save_best=dict(acc='acc'))


def test_checkpoints_elsewhere_are_named_in_the_work_dir(tmp_path):
    best = dict(save_best='score', rule='greater')
    hook = dict(type='CheckpointHook', out_dir=str(tmp_path / 'other'), **best)
    options = dict(epochs=1, default_hooks=dict(checkpoint=hook))
    assert in_child(lambda: train_toy(tmp_path / 'toy', **options)) == 0
    newest = tmp_path / 'other' / 'toy' / 'epoch_1.pth'
    assert newest.is_file()
    assert find_latest_checkpoint(str(tmp_path / 'toy')) == str(newest)


def test_on_a_backend_of_its_own_the_oldest_go(tmp_path):
    """There MMEngine's order holds: no folder of this machine is meant."""
    hook = dict(max_keep_ckpts=1, backend_args=dict(backend='local'), save_best='score')
    hook.update(rule='greater')
    hooks = dict(checkpoint=dict(type='CheckpointHook', **hook))
    options = dict(epochs=2, default_hooks=hooks)
    assert in_child(lambda: train_toy(tmp_path, **options)) == 0
    assert sorted(file.name for file in tmp_path.glob('*.pth')) == [
        'best_score_epoch_2.pth',
        'epoch_2.pth',
    ]
    newest = str(tmp_path / 'epoch_2.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == newest
