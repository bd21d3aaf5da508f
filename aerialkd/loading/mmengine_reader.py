"""MMEngine's loaders, made to read through :mod:`aerialkd.loading.reading`.

They keep MMEngine's contract: names, arguments, results, and errors that its handlers
catch. What differs on purpose stands in ``docs/reliability.md``.

``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')`` and ``init_detector``
all end in ``mmengine.runner.checkpoint``. Its own reader unpickles in full what torch
refuses, and ``Runner.resume`` executes a config that it finds in a checkpoint.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from aerialkd.errors import CheckpointError
from aerialkd.loading.checkpoint_file import split_digest
from aerialkd.loading.download import kept_file
from aerialkd.loading.model_zoos import (
    check_mmcls_name,
    check_openmmlab_name,
    torchvision_url,
)
from aerialkd.loading.normalization import new_file, take_out_statistics
from aerialkd.loading.reading import MapLocation, read_checkpoint, read_pickle

ADAPTATION = (
    "mmengine's loaders read checkpoints through aerialkd.loading: without running "
    'code from them, without their config text, finite weights alone; torchvision:// '
    'needs no torchvision; mean and std that early MMDetection 3 saved are compared'
)
_find_latest = mmengine_checkpoint.find_latest_checkpoint

# Under which name a checkpoint's config stays readable, for nobody executes that.
CONFIG_TEXT = 'aerialkd_config_text'


def install() -> str:
    """Replace the readers of ``mmengine.runner.checkpoint`` in this process.

    Returns:
        What was changed, in one sentence.
    """
    register = CheckpointLoader.register_scheme
    register('', loader=load_from_local, force=True)
    register(('http://', 'https://'), loader=load_from_http, force=True)
    register(('torchvision://', 'modelzoo://'), load_from_torchvision, force=True)
    register(('open-mmlab://', 'openmmlab://'), load_from_openmmlab, force=True)
    register('mmcls://', loader=load_from_mmcls, force=True)
    # MMEngine's own loaders of openmmlab://, mmcls://, s3://, pavi:// call these.
    names: dict[str, Any] = vars(mmengine_checkpoint)
    names['load_from_local'] = load_from_local
    names['load_from_http'] = load_from_http
    names['load_url'] = load_url
    names['_safe_torch_load'] = _safe_torch_load
    for module in [m for name, m in sys.modules.items() if name.startswith('mmengine')]:
        if vars(module).get('find_latest_checkpoint') is _find_latest:
            vars(module)['find_latest_checkpoint'] = find_latest_checkpoint
    if '_load_from_state_dict' not in vars(BaseDataPreprocessor):
        BaseDataPreprocessor._load_from_state_dict = _load_preprocessor
    return ADAPTATION


def load_from_local(filename: str | Path, map_location: MapLocation) -> dict[str, Any]:
    """Read a file, also ``.safetensors`` and with ``#sha256=DIGEST`` behind it."""
    return _read(filename, map_location)


def load_from_http(
    filename: str,
    map_location: MapLocation = None,
    model_dir: str | None = None,
    progress: bool = os.isatty(0),
) -> dict[str, Any]:
    """Download and read; the digest that the address or the file's name has counts."""
    return load_url(filename, model_dir, map_location, progress)


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: MapLocation = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """Stands for torch's function, which MMEngine's loaders call by this name."""
    plain, _ = split_digest(url)
    return _read(url, map_location, kept_file(plain, model_dir, file_name))


def load_from_torchvision(
    filename: str, map_location: MapLocation = None
) -> dict[str, Any]:
    """Read weights of torchvision, which need not be installed."""
    if filename.startswith('modelzoo://'):
        print_log(
            f'{filename}: modelzoo:// is deprecated, please use torchvision://.',
            logger='current',
            level=logging.WARNING,
        )
    return _read(torchvision_url(filename), map_location)


def load_from_openmmlab(
    filename: str, map_location: MapLocation = None
) -> dict[str, Any]:
    """MMEngine's, with an error for a name that its table does not have."""
    check_openmmlab_name(filename)
    content: dict[str, Any] = mmengine_checkpoint.load_from_openmmlab(
        filename, map_location
    )
    return content


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """MMEngine's, with an error for a name that its table does not have."""
    check_mmcls_name(filename)
    content: dict[str, Any] = mmengine_checkpoint.load_from_mmcls(
        filename, map_location
    )
    return content


def find_latest_checkpoint(path: str) -> str | None:
    """MMEngine's; digests that our ``last_checkpoint`` lists below are left out."""
    found: str | None = _find_latest(path)
    return found.splitlines()[0].strip() if found else found


def _read(
    name: str | Path, map_location: MapLocation, kept: Path | None = None
) -> dict[str, Any]:
    content = read_checkpoint(name, map_location, pinned=False, kept=kept)
    new_file()
    return without_config_text(content, str(name))


def _load_preprocessor(
    self: BaseDataPreprocessor, state_dict: dict[str, Any], prefix: str, *args: Any
) -> None:
    take_out_statistics(self, state_dict, prefix)
    super(BaseDataPreprocessor, self)._load_from_state_dict(state_dict, prefix, *args)


def without_config_text(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Take out the config of the run that wrote a checkpoint: others execute it.

    ``Runner.resume`` does with ``meta['config']``, ``DetInferencer`` with
    ``message_hub['runtime_info']['cfg']`` and ``meta['cfg']``.

    Raises:
        CheckpointError: if the parts of the checkpoint are not what they should be.
    """
    state = content.get('state_dict', content)
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not state:
        raise CheckpointError(f'{name}: got no state dict, expected tensors by name.')
    for part, keys in (('meta', ('config', 'cfg')), ('message_hub', ())):
        if part in content:
            text = content[part].get('cfg') if isinstance(content[part], dict) else None
            content[part] = _without(content[part], keys, f'{name}: {part}')
            if isinstance(text, str) and 'cfg' in keys:
                content[part][CONFIG_TEXT] = text
    hub = content.get('message_hub', {})
    if 'runtime_info' in hub:
        where = f'{name}: message_hub.runtime_info'
        hub['runtime_info'] = _without(hub['runtime_info'], ('cfg',), where)
    return content


def _without(part: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise CheckpointError(f'{where}: got {type(part).__name__}, expected a dict.')
    return {key: value for key, value in part.items() if key not in keys}


def _safe_torch_load(
    file: Any, map_location: MapLocation = None, weights_only: bool | None = None
) -> dict[str, Any]:
    """Stands for MMEngine's function of this name, which is given buffers too."""
    if isinstance(file, str | os.PathLike):
        return _read(os.fspath(file), map_location)
    content = read_pickle(file, 'the checkpoint', map_location)
    new_file()
    return without_config_text(content, 'the checkpoint')
