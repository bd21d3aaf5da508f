"""Files that would run code, lie about themselves or are broken.

Each maker writes one file. What would run code creates the file ``target``.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from safetensors.torch import save as safetensors_bytes

Maker = Callable[[Path, Path], None]
STATE = {'w': torch.zeros(100), 'b': torch.ones(3)}
PICKLES: dict[str, Callable[[Path], Any]] = {}
FILES: dict[str, Maker] = {}


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.call


def touch(target: Path) -> str:
    return f'open({str(target)!r}, "w").close()'


def content(part: str, value: Any) -> dict[str, Any]:
    """A training checkpoint with a value somewhere in it."""
    whole: dict[str, Any] = dict(
        state_dict=dict(STATE),
        meta=dict(epoch=1, iter=1, dataset_meta=dict(classes=('car', 'van', 'bus'))),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
        param_schedulers=[{}],
    )
    holder = whole[part]
    if isinstance(holder, list):
        holder.append(value)
    else:
        holder['extra'] = value
    return whole


def system(target: Path) -> Call:
    return Call(os.system, f'touch {target}')


for _part in ('state_dict', 'meta', 'message_hub', 'optimizer', 'param_schedulers'):
    PICKLES[f'system in {_part}'] = lambda target, part=_part: content(
        part, system(target)
    )


def pickled(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Register an object to be put into a checkpoint's meta."""
    name = make.__name__.replace('_', ' ')
    PICKLES[name] = lambda target: content('meta', make(target))
    return make


@pickled
def builtin_open(target):
    return Call(open, str(target), 'w')


@pickled
def builtin_exec(target):
    return Call(exec, touch(target))


@pickled
def builtin_eval(target):
    return Call(eval, touch(target))


@pickled
def popen(target):
    return Call(subprocess.Popen, ['touch', str(target)])


@pickled
def config_from_text(target):
    return Call(Config.fromstring, touch(target), '.py')


@pickled
def torch_load_of_another_file(target):
    inner = target.with_suffix('.inner')
    torch.save(system(target), inner)
    return Call(torch.load, str(inner))


@pickled
def numpy_load_of_another_file(target):
    inner = target.with_suffix('.npy')
    np.save(inner, np.array([system(target)], dtype=object), allow_pickle=True)
    return Call(np.load, str(inner), None, True)


@pickled
def pickle_in_a_pickle(target):
    return Call(pickle.loads, pickle.dumps(system(target)))


@pickled
def getattr_of_init(target):
    return Call(getattr, HistoryBuffer, '__init__')


@pickled
def array_of_objects(target):
    return np.array([system(target)], dtype=object)


@pickled
def empty_array_of_objects(target):
    return np.empty(0, dtype=object)


@pickled
def dtype_whose_flags_lie(target):
    """Bytes as pointers: a structure of objects that says it has none."""
    fields = {'f0': (np.dtype('O'), 0)}
    state = (3, '|', None, ('f0',), fields, 8, 1, 0)
    dtype = Call(np.dtype, 'V8', False, True, state=state)
    scalar = np._core.multiarray.scalar if hasattr(np, '_core') else None
    return Call(scalar or np.core.multiarray.scalar, dtype, b'\x01' * 8)


@pickled
def dtype_of_another_byte_order_and_fields(target):
    state = (3, '<', None, ('f0',), {'f0': (np.dtype('f8'), 0)}, 8, 1, 0)
    return Call(np.dtype, 'f8', False, True, state=state)


@pickled
def array_with_too_little_data(target):
    return _array((1000,), b'\x00' * 8)


@pickled
def array_of_negative_size(target):
    return _array((-1,), b'\x00' * 8)


@pickled
def array_of_another_class(target):
    return Call(_reconstruct(), np.matrix, (0,), b'b')


def _reconstruct() -> Any:
    core = np._core if hasattr(np, '_core') else np.core
    return core.multiarray._reconstruct


def _array(shape: tuple, data: bytes) -> Call:
    state = (1, shape, np.dtype('f8'), False, data)
    return Call(_reconstruct(), np.ndarray, (0,), b'b', state=state)


@pickled
def history_called_with_arguments(target):
    return Call(HistoryBuffer, [1.0], [1])


@pickled
def allowed_function_as_a_value(target):
    return dict(copy=torch.Tensor, method=HistoryBuffer)


@pickled
def ordered_dict_with_methods_replaced(target):
    return Call(OrderedDict, state=dict(copy=torch.Tensor))


@pickled
def tensor_with_attributes(target):
    import torch._tensor as tensor

    args = (torch._utils._rebuild_parameter, (torch.zeros(1), False, OrderedDict()))
    return Call(
        tensor._rebuild_from_type_v2, args[0], torch.nn.Parameter, args[1], {'x': 1}
    )


@pickled
def tensor_with_hooks(target):
    hooks = OrderedDict({0: torch.Tensor})
    return Call(torch._utils._rebuild_parameter, torch.zeros(1), False, hooks)


@pickled
def sparse_tensor(target):
    return torch.eye(2).to_sparse()


@pickled
def tensor_without_storage(target):
    return torch.zeros(2, device='meta')


@pickled
def bytes_of_a_size(target):
    return Call(bytes, 10)


@pickled
def whole_module(target):
    return torch.nn.Linear(1, 1)


for _name, _make in PICKLES.items():
    FILES[f'{_name}.pth'] = lambda path, target, make=_make: torch.save(
        make(target), path
    )


def file(name: str) -> Callable[[Any], Any]:
    """Register a writer of bytes."""

    def register(make: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
        FILES[name] = lambda path, target: _put(path, make(target))
        return make

    return register


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@file('legacy format.pth')
def _(target):
    value = content('meta', system(target))
    return saved(value, _use_new_zipfile_serialization=False)


@file('newer pickle protocol.pth')
def _(target):
    return saved(content('meta', system(target)), pickle_protocol=4)


@file('bare pickle.pth')
def _(target):
    return pickle.dumps(content('meta', builtin_exec(target)), protocol=2)


@file('bare pickle as text.pth')
def _(target):
    return pickle.dumps(builtin_exec(target), protocol=0)


@file('bare pickle of the newest protocol.pth')
def _(target):
    return pickle.dumps(builtin_exec(target), protocol=5)


@file('legacy tar.pth')
def _(target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            data = pickle.dumps(builtin_exec(target), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as opened:
        for name, data in entries.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@file('TorchScript.pth')
def _(target):
    data = pickle.dumps(builtin_exec(target), protocol=2)
    return archive({'a/data.pkl': data, 'a/constants.pkl': data, 'a/version': b'3\n'})


def program(*steps: Any) -> bytes:
    """An archive of torch with a pickle that Python itself would not write."""
    data = b'\x80\x02' + b''.join(
        step if isinstance(step, bytes) else pickle.dumps(step, 2)[2:-1]
        for step in steps
    )
    pickled = data + b'.'
    return archive(
        {'a/data.pkl': pickled, 'a/version': b'3\n', 'a/byteorder': b'little'}
    )


def named(module: str, name: str) -> bytes:
    return f'c{module}\n{name}\n'.encode()


HISTORY = named('mmengine.logging.history_buffer', 'HistoryBuffer')
GETATTR = named('builtins', 'getattr')
ROWS = dict(_log_history=np.zeros(1), _count_history=np.ones(1), max_length=10)
# REDUCE, NEWOBJ, BUILD, TUPLE2, EMPTY_TUPLE
CALL, NEW_OBJECT, SET_STATE, PAIR, NOTHING = b'R', b'\x81', b'b', b'\x86', b')'
PROGRAMS: dict[str, Callable[[Path], tuple]] = {
    'nested lists': lambda target: (b']' * 100_000 + b'a' * 99_999,),
    'stack underflow': lambda target: (b'RRR',),
    'getattr chain to builtins': lambda target: (
        *(GETATTR, GETATTR, HISTORY, 'mean', PAIR, CALL, '__globals__', PAIR, CALL),
        *(b'}U\x01a', b's'),
    ),
    'getattr of the stand-in itself': lambda target: (
        *(GETATTR, GETATTR, '__globals__', PAIR, CALL),
    ),
    'getattr by a name that is none': lambda target: (
        *(GETATTR, HISTORY, ['mean'], PAIR, CALL),
    ),
    'method of a history called': lambda target: (
        *(GETATTR, HISTORY, 'mean', PAIR, CALL, ([1.0],), CALL),
    ),
    'getattr of os': lambda target: (
        *(GETATTR, named('os', 'path'), 'os', PAIR, CALL),
        *((f'touch {target}',), CALL),
    ),
    'system under the name of Python 2': lambda target: (
        *(named('__builtin__', 'eval'), (touch(target),), CALL),
    ),
    'name with a dot': lambda target: (
        *(named('torch', '_utils.os.system'), (f'touch {target}',), CALL),
    ),
    'name with control characters': lambda target: (
        named('os\x1b[2J', 'system\x07'),
        *((f'touch {target}',), CALL),
    ),
    'history without state': lambda target: (
        *(b'}', 'h', HISTORY, NOTHING, NEW_OBJECT, b's'),
    ),
    'history with a list as state': lambda target: (
        *(HISTORY, NOTHING, NEW_OBJECT, [1, 2], SET_STATE),
    ),
    'history of rows that are none': lambda target: (
        *(HISTORY, NOTHING, NEW_OBJECT),
        *(dict(_log_history=[1], _count_history=[1], max_length=1), SET_STATE),
    ),
    'history with slots': lambda target: (
        *(HISTORY, NOTHING, NEW_OBJECT, ({}, {'__class__': 1}), SET_STATE),
    ),
    'history whose statistics are a call': lambda target: (
        *(HISTORY, NOTHING, NEW_OBJECT, b'}', 'statistics_methods'),
        *(named('os', 'system'), (f'touch {target}',), CALL, b's', SET_STATE),
    ),
    'array without state': lambda target: (
        *(b'}', 'a', named('numpy', 'ndarray'), NOTHING, NEW_OBJECT, b's'),
    ),
    'array of a buffer': lambda target: (
        *(named('numpy', 'ndarray'), ((1,), 'O', b'\x01' * 8), CALL),
    ),
    'scalar of objects': lambda target: (
        *(named('numpy._core.multiarray', 'scalar'), ('O', b'\x01' * 8), CALL),
    ),
    'data type without a kind': lambda target: (
        *(b'}', 'd', named('numpy', 'dtype'), NOTHING, NEW_OBJECT, b's'),
    ),
    'tuple that holds itself': lambda target: (b']q\x05h\x05\x85q\x06ah\x06',),
    'class as the content': lambda target: (named('torch', 'Tensor'),),
    'function as a key': lambda target: (b'}', named('_codecs', 'encode'), 1, b's'),
    'tensor of too many bytes': lambda target: (
        *(named('torch', 'FloatTensor'), (1 << 60,), CALL),
    ),
    'encode with a codec of its own': lambda target: (
        *(named('_codecs', 'encode'), (touch(target), 'os.system'), CALL),
    ),
    'storage from bytes': lambda target: (
        named('torch.storage', '_load_from_bytes'),
        *((pickle.dumps(builtin_exec(target), 2),), CALL),
    ),
}
for _name, _steps in PROGRAMS.items():
    FILES[f'{_name}.pth'] = lambda path, target, steps=_steps: _put(
        path, program(*steps(target))
    )


@file('zip bomb.pth')
def _(target):
    data = b'\x80\x02' + b'}0' * 10_000_000 + b'}.'
    return archive({'a/data.pkl': data, 'a/version': b'3\n'}, zipfile.ZIP_DEFLATED)


@file('zip without data.pth')
def _(target):
    return archive({'a/version': b'3\n'})


@file('zip with entries in two folders.pth')
def _(target):
    return archive({'../../data.pkl': b'.', 'b/version': b'3\n'})


@file('zip whose entries overlap.pth')
def _(target):
    data = saved(dict(state_dict=STATE))
    return _lie_about_sizes(data)


def _lie_about_sizes(data: bytes) -> bytes:
    """Sizes of a gigabyte in the central directory."""
    changed = bytearray(data)
    at = 0
    while (at := changed.find(b'PK\x01\x02', at)) >= 0:
        changed[at + 20 : at + 28] = struct.pack('<II', 1 << 30, 1 << 30)
        at += 4
    return bytes(changed)


@file('zip with a broken directory.pth')
def _(target):
    data = saved(dict(state_dict=STATE))
    return data.replace(b'PK\x01\x02', b'PK\x01\x03')


@file('tensor larger than its storage.pth')
def _(target):
    data = saved(dict(w=torch.zeros(77)))
    # BININT1 77 as size; BININT 2^31 - 1 is longer, so a bare archive is built.
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    name = next(name for name in entries if name.endswith('data.pkl'))
    entries[name] = entries[name].replace(b'K\x4d', b'J\xff\xff\xff\x7f')
    return archive(entries)


for _share in (0, 3, 50, 200, -1, 'half'):

    @file(f'truncated to {_share}.pth')
    def _(target, share=_share):
        data = saved(content('meta', 1))
        return data[: len(data) // 2 if share == 'half' else share]


@file('random bytes.pth')
def _(target):
    return np.random.default_rng(0).bytes(5000)


@file('random bytes behind a zip mark.pth')
def _(target):
    return b'PK\x03\x04' + np.random.default_rng(0).bytes(5000)


@file('web page.pth')
def _(target):
    return b'<!DOCTYPE html>\n<html><body>Not found</body></html>\n'


@file('pointer of git-lfs.pth')
def _(target):
    return b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'


@file('list.pth')
def _(target):
    return saved([1, 2])


@file('state dict that is none.pth')
def _(target):
    return saved(dict(state_dict=5))


@file('state dict of numbers as names.pth')
def _(target):
    return saved(dict(state_dict={1: torch.zeros(1)}))


def safetensors(header: Any, data: bytes = bytes(8), size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if size is None else size) + text + data


def tensor(**lies: Any) -> dict[str, Any]:
    return {'w': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8], **lies}}


SAFETENSORS = {
    'header of 2^63 bytes': safetensors(tensor(), size=1 << 63),
    'header of a gigabyte': safetensors(tensor(), size=1 << 30),
    'header longer than the file': safetensors(tensor(), size=500),
    'header of no bytes': safetensors(b''),
    'header that is no JSON': safetensors(b'{"w": open("x")}'),
    'header that is a list': safetensors([1, 2]),
    'header that is no text': safetensors(b'{"\xff\xfe": 1}'),
    'header nested deeply': safetensors(b'{"a":' * 10_000 + b'1' + b'}' * 10_000),
    'offsets outside': safetensors(tensor(data_offsets=[0, 800], shape=[200])),
    'offsets backwards': safetensors(tensor(data_offsets=[8, 0])),
    'offsets negative': safetensors(tensor(data_offsets=[-8, 0])),
    'offsets overflowing': safetensors(tensor(data_offsets=[0, 2**64])),
    'offsets overlapping': safetensors({**tensor(), 'v': tensor()['w']}),
    'offsets with a gap': safetensors(tensor(data_offsets=[4, 12]), bytes(12)),
    'data left over': safetensors(tensor(), bytes(80)),
    'type unknown': safetensors(tensor(dtype='PICKLE')),
    'type of another size': safetensors(tensor(dtype='F64')),
    'shape of another size': safetensors(tensor(shape=[3])),
    'shape negative': safetensors(tensor(shape=[-2])),
    'shape overflowing': safetensors(tensor(shape=[2**62, 8])),
    'shape of words': safetensors(tensor(shape='2')),
    'metadata of numbers': safetensors({**tensor(), '__metadata__': {'classes': 3}}),
    'truncated': safetensors_bytes(STATE)[:-1],
    'truncated in the header': safetensors_bytes(STATE)[:20],
    'empty': b'',
    'random bytes': np.random.default_rng(1).bytes(5000),
    'without tensors': safetensors({}, b''),
}
for _name, _data in SAFETENSORS.items():
    FILES[f'{_name}.safetensors'] = lambda path, target, data=_data: _put(path, data)
FILES['pickle.safetensors'] = lambda path, target: torch.save(
    content('meta', system(target)), path
)
FILES['pickle in a zip.safetensors'] = FILES['bare pickle.pth']

NOT_FINITE = {**STATE, 'b': torch.tensor([0.0, float('nan'), 1.0])}
FILES['weights that are no numbers.pth'] = lambda path, target: torch.save(
    dict(state_dict=NOT_FINITE), path
)
FILES['averaged weights that are no numbers.pth'] = lambda path, target: torch.save(
    dict(state_dict=STATE, ema_state_dict=NOT_FINITE), path
)
FILES['weights that are no numbers.safetensors'] = lambda path, target: _put(
    path, safetensors_bytes(NOT_FINITE)
)

WRONG_DIGEST = {
    'wrong digest.pth': lambda path, target: torch.save(STATE, path),
    'wrong digest of a hostile file.pth': lambda path, target: torch.save(
        content('meta', system(target)), path
    ),
    'wrong digest.safetensors': lambda path, target: _put(
        path, safetensors_bytes(STATE)
    ),
}
FILES.update(WRONG_DIGEST)


def write(name: str, folder: Path, target: Path) -> str:
    """Write one of FILES; returns how a user would name it."""
    path = folder / name.replace(' ', '_')
    path.parent.mkdir(parents=True, exist_ok=True)
    FILES[name](path, target)
    return f'{path}#sha256={"0" * 64}' if name in WRONG_DIGEST else str(path)
