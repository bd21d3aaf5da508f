"""What the reader reads: checkpoints as runners write them, digests, the opt-in."""

import io
import random
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import PARAM_SCHEDULERS

from aerialkd.cli import one_line_errors
from aerialkd.engine import load_weights, read_checkpoint
from aerialkd.errors import CheckpointError, CheckpointRefused
from aerialkd.files import sha256_of
from aerialkd.loading import file_of, trusting
from aerialkd.loading.trust import is_trusting, set_trust
from tests.builders import retinanet
from tests.loading.hostile import STATE, Call, content, saved, system, write

NAMES = 'float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool'
SCALARS = [np.dtype(name).type(1) for name in [*NAMES.split(), 'complex128']]


def reread(value, tmp_path, **options):
    torch.save(value, tmp_path / 'file.pth', **options)
    return read_checkpoint(tmp_path / 'file.pth')


def training_checkpoint():
    """Everything that runners and hooks put into one."""
    from mmengine.registry import MODELS

    model = MODELS.build(retinanet())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model.backbone.conv1.weight.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    hub = MessageHub('reading')
    for value in (1.5, 2.5):
        hub.update_scalar('train/loss', value)
    hub.update_info('best', np.float64(0.25))
    return dict(
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        param_schedulers=[scheduler.state_dict()],
        message_hub=hub.state_dict(),
        meta=dict(
            epoch=1,
            iter=2**40,
            seed=None,
            dataset_meta=dict(classes=('car',), palette=[(1, 2, 3)]),
        ),
        random_states=dict(
            python=random.getstate(),
            numpy=np.random.get_state(),  # noqa: NPY002
            torch=torch.get_rng_state(),
            cuda=[torch.get_rng_state()],
        ),
    )


class TestRoundTrip:
    def test_training_checkpoint(self, tmp_path):
        wanted = training_checkpoint()
        got = reread(wanted, tmp_path)
        assert got.keys() == wanted.keys()
        assert got['state_dict']._metadata == wanted['state_dict']._metadata
        for key, value in wanted['state_dict'].items():
            assert torch.equal(got['state_dict'][key], value)
        step = wanted['optimizer']['state'][0]['exp_avg']
        assert torch.equal(got['optimizer']['state'][0]['exp_avg'], step)
        assert got['param_schedulers'] == wanted['param_schedulers']
        assert got['meta'] == wanted['meta']
        states = got['random_states']
        assert states['python'] == random.getstate()
        random.setstate(states['python'])
        np.random.set_state(states['numpy'])  # noqa: NPY002
        torch.set_rng_state(states['torch'])

    def test_log_history_goes_on(self, tmp_path):
        hub = reread(training_checkpoint(), tmp_path)['message_hub']
        history = hub['log_scalars']['train/loss']
        assert type(history) is HistoryBuffer
        assert (history.current(), history.mean(), history.max()) == (2.5, 2.0, 2.5)
        assert history.statistics('min') == 1.5
        history.update(4.0)
        assert history.data[0].tolist() == [1.5, 2.5, 4.0]
        assert hub['runtime_info']['best'] == 0.25
        # What was read is written again as it would have been.
        again = reread(dict(hub=hub, new=HistoryBuffer()), tmp_path)
        assert again['hub']['log_scalars']['train/loss'].current() == 4.0
        assert len(again['new'].data[0]) == 0

    @pytest.mark.parametrize('value', SCALARS, ids=lambda value: value.dtype.name)
    def test_numpy(self, value, tmp_path):
        dtype = value.dtype
        array = np.arange(6).astype(dtype).reshape(2, 3)
        turned = np.asfortranarray(array)
        swapped = array.astype(dtype.newbyteorder('>'))
        empty = np.zeros((0, 3), dtype)
        wanted = dict(v=value, a=array, t=turned, s=swapped, e=empty, d=dtype)
        got = reread(wanted, tmp_path)
        assert type(got['v']) is type(value)
        assert got['v'] == value
        assert got['d'] == dtype
        for key in 'ates':
            assert type(got[key]) is np.ndarray
            assert got[key].dtype == wanted[key].dtype
            np.testing.assert_array_equal(got[key], wanted[key])
        got['a'][0] = 1  # its own memory, not the file's

    def test_plain_python(self, tmp_path):
        shared = [1]
        value = dict(
            bytes=b'abc',
            none=b'',
            array=bytearray(b'x'),
            complex=1j,
            big=2**70,
            negative=-1.5,
            set={1, 'a', (2, 3)},
            tuples=((), (1,), ((np.float32(1),),)),
            shared=[shared, shared],
            size=torch.Size([2]),
            dtype=torch.float16,
            device=torch.device('cpu'),
            ordered=OrderedDict(a=np.zeros(1)),
            keys={1: 2, None: 3, (1, 'x'): 4, np.int64(5): 6},
            text='Grüße',
        )
        got = reread(value, tmp_path)
        assert got.pop('ordered')['a'] == 0
        value.pop('ordered')
        assert got == value
        assert got['shared'][0] is got['shared'][1]

    def test_checkpoint_of_another_numpy(self, tmp_path):
        data = saved(dict(a=np.arange(3.0), b=np.float32(2)))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(tmp_path / 'old.pth', 'w') as archive:
            for name, entry in entries.items():
                changed = entry.replace(b'numpy._core', b'numpy.core')
                archive.writestr(name, changed)
        got = read_checkpoint(tmp_path / 'old.pth')
        assert got['a'].tolist() == [0, 1, 2]
        assert got['b'] == 2

    def test_legacy_format(self, tmp_path):
        options = dict(_use_new_zipfile_serialization=False)
        assert torch.equal(reread(STATE, tmp_path, **options)['b'], STATE['b'])

    @pytest.mark.parametrize('place', ['cpu', torch.device('cpu'), None, 'callable'])
    def test_map_location(self, place, tmp_path):
        seen = []

        def keep(storage, location):
            seen.append(location)
            return storage

        torch.save(STATE, tmp_path / 'a.pth')
        place = keep if place == 'callable' else place
        got = read_checkpoint(tmp_path / 'a.pth', place)
        assert got['w'].device.type == 'cpu'
        assert seen == (['cpu', 'cpu'] if place is keep else [])


calls: list[str] = []


def note(text):
    calls.append(text)


def test_what_others_allowed_does_not_count(tmp_path):
    torch.save(dict(a=Call(note, 'ran')), tmp_path / 'a.pth')
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([note, getattr])
    try:
        with pytest.raises(CheckpointRefused, match=r'GLOBAL \S+note'):
            read_checkpoint(tmp_path / 'a.pth')
        assert calls == []
        assert getattr in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('system in meta.pth', r'more than weights \(GLOBAL posix.system\)'),
        ('getattr chain to builtins.pth', r"GLOBAL getattr\(...,'__globals__'\)"),
        ('array of objects.pth', r"GLOBAL numpy.dtype\('O8'\)"),
        ('whole module.pth', r'GLOBAL torch.nn.modules.linear.Linear'),
        ('nested lists.pth', '100 levels of lists'),
        ('zip bomb.pth', 'compressed, which torch.save never does'),
        ('zip whose entries overlap.pth', 'claim to be larger than the file'),
        ('legacy tar.pth', r'legacy .tar format\.$'),
        ('web page.pth', 'damaged or no checkpoint: Unsupported operand 60$'),
        ('name with control characters.pth', r'GLOBAL os\?\[2J\.system\?'),
    ],
)
def test_messages(name, message, tmp_path):
    file = write(name, tmp_path, tmp_path / 'target')
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(file)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('value', ['text', b'bytes', np.datetime64('2024-01-01')])
def test_numpy_of_other_kinds(value, tmp_path):
    with pytest.raises(CheckpointRefused, match=r'GLOBAL numpy\.dtype'):
        reread(dict(a=np.array([value])), tmp_path)


def test_environment_does_not_switch_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save(content('meta', system(tmp_path / 'target')), tmp_path / 'a.pth')
    with pytest.raises(CheckpointRefused):
        read_checkpoint(tmp_path / 'a.pth')
    assert not (tmp_path / 'target').exists()


class TestTrust:
    """The opt-in runs what a file brings along; that is its meaning."""

    @pytest.fixture
    def file(self, tmp_path):
        torch.save(content('meta', system(tmp_path / 'target')), tmp_path / 'a.pth')
        return tmp_path / 'a.pth'

    def test_argument(self, file, logged):
        load_weights(file, trust=True)
        assert file.with_name('target').exists()
        assert f'{file}: is unpickled in full' in logged[-1]
        with pytest.raises(CheckpointRefused):
            load_weights(file)

    def test_block(self, file):
        with trusting():
            assert set(load_weights(file).state_dict) == set(STATE)
            with trusting(False), pytest.raises(CheckpointRefused):
                load_weights(file)
        assert not is_trusting()
        with pytest.raises(CheckpointRefused):
            load_weights(file)

    def test_ends_with_the_command(self):
        one_line_errors(lambda: set_trust(True))()
        assert not is_trusting()

    def test_a_harmless_file_is_not_unpickled_in_full(self, tmp_path, monkeypatch):
        torch.save(STATE, tmp_path / 'a.pth')
        seen = []
        load = torch.load

        def record(*args, **options):
            seen.append(options['weights_only'])
            return load(*args, **options)

        monkeypatch.setattr(torch, 'load', record)
        read_checkpoint(tmp_path / 'a.pth', trust=True)
        assert seen == [True]

    def test_wrong_digest_is_not_trusted(self, file):
        with pytest.raises(CheckpointError, match='SHA-256'):
            load_weights(f'{file}#sha256={"0" * 64}', trust=True)
        assert not file.with_name('target').exists()

    def test_a_damaged_file_is_not_run(self, tmp_path, file):
        """It is no checkpoint of anybody who is trusted."""
        with (
            zipfile.ZipFile(file) as whole,
            zipfile.ZipFile(tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as packed,
        ):
            for entry in whole.namelist():
                packed.writestr(entry, whole.read(entry))
        with pytest.raises(CheckpointError, match=r'b\.pth: damaged.*compressed'):
            load_weights(tmp_path / 'b.pth', trust=True)
        assert not file.with_name('target').exists()

    def test_damaged_file(self, tmp_path):
        (tmp_path / 'a.pth').write_bytes(b'broken')
        with pytest.raises(CheckpointError, match=r'a\.pth: damaged'):
            load_weights(tmp_path / 'a.pth', trust=True)


class TestDigest:
    @pytest.mark.parametrize('name', ['a.pth', 'a#b.pth', 'a#sha256.pth', '#.pth'])
    def test_right_one(self, name, tmp_path):
        torch.save(STATE, tmp_path / name)
        digest = sha256_of(tmp_path / name)
        assert set(load_weights(tmp_path / name).state_dict) == set(STATE)
        for text in (digest, digest.upper()):
            weights = load_weights(f'{tmp_path / name}#sha256={text}')
            assert weights.path == str(tmp_path / name)
        assert file_of(f'{tmp_path / name}#sha256={digest}') == tmp_path / name

    def test_wrong_one_is_found_before_anything_is_parsed(self, tmp_path, monkeypatch):
        torch.save(STATE, tmp_path / 'a.pth')
        before = (tmp_path / 'a.pth').read_bytes()
        monkeypatch.setattr(torch, 'load', lambda *_, **__: pytest.fail('parsed'))
        got, wanted = sha256_of(tmp_path / 'a.pth'), 'ab' * 32
        with pytest.raises(CheckpointError, match=f'got .* {got}, expected {wanted}'):
            read_checkpoint(f'{tmp_path / "a.pth"}#sha256={wanted}')
        assert (tmp_path / 'a.pth').read_bytes() == before

    @pytest.mark.parametrize('digest', ['', 'ab', 'x' * 64, 'ab' * 33, 'ab' * 32 + ' '])
    def test_none(self, digest, tmp_path):
        torch.save(STATE, tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match='expected 64 hexadecimal digits'):
            load_weights(f'{tmp_path / "a.pth"}#sha256={digest}')

    def test_a_file_cannot_pass_by_its_name(self, tmp_path):
        """A file that is called as if it had a digest is not taken for the one."""
        torch.save(STATE, tmp_path / f'a.pth#sha256={"0" * 64}')
        with pytest.raises(CheckpointError, match=r'a\.pth: no such checkpoint'):
            load_weights(tmp_path / f'a.pth#sha256={"0" * 64}')


@pytest.mark.parametrize(
    'schedule',
    [
        dict(type='OneCycleLR', eta_max=0.1, total_steps=9),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=9, anneal_strategy='linear'),
        dict(type='LinearLR', start_factor=0.1, end=5),
        dict(type='CosineRestartLR', periods=[3, 3], restart_weights=[1, 1], eta_min=0),
        dict(type='MultiStepLR', milestones=[3, 6]),
        dict(type='PolyLR', power=0.9, end=9),
        dict(type='ReduceOnPlateauLR', monitor='loss'),
        dict(type='StepMomentum', step_size=3),
    ],
    ids=lambda schedule: schedule['type'],
)
def test_state_of_a_schedule_is_data(schedule, tmp_path):
    def built():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        return PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=optimizer))

    before = built().state_dict()
    weights = dict(w=torch.ones(1))
    torch.save(dict(state_dict=weights, param_schedulers=[before]), tmp_path / 'a.pth')
    (state,) = read_checkpoint(tmp_path / 'a.pth')['param_schedulers']
    fresh = built()
    fresh.load_state_dict(state)  # goes on with a function of its own
    assert fresh.state_dict().keys() == before.keys()
    fresh.optimizer.step()
    fresh.step(*([dict(loss=1.0)] if hasattr(fresh, 'need_val_args') else []))
