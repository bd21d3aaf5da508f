"""MMEngine's loaders, made to read through :mod:`aerialkd.loading.reading`.

``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')`` and ``init_detector``
all end in ``mmengine.runner.checkpoint``. Its own reader unpickles in full what torch
refuses, and ``Runner.resume`` executes a config that it finds in a checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from aerialkd.errors import CheckpointError
from aerialkd.loading.model_zoos import (
    check_mmcls_name,
    check_openmmlab_name,
    torchvision_url,
)
from aerialkd.loading.reading import MapLocation, read_checkpoint, read_pickle

ADAPTATION = (
    "mmengine's loaders read checkpoints through aerialkd.loading: without running "
    'code from them, without their config text; torchvision:// needs no torchvision'
)

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
    names['load_url'] = load_from_http
    names['_safe_torch_load'] = _safe_torch_load
    return ADAPTATION


def load_from_local(
    filename: str | Path, map_location: MapLocation = None
) -> dict[str, Any]:
    """Read a file, also ``.safetensors`` and with ``#sha256=DIGEST`` behind it."""
    content = read_checkpoint(filename, map_location, pinned=False)
    return without_config_text(content, str(filename))


def load_from_http(
    filename: str, map_location: MapLocation = None, *_: Any, **__: Any
) -> dict[str, Any]:
    """Download and read; the digest that the address or the file's name has counts."""
    return load_from_local(filename, map_location)


def load_from_torchvision(
    filename: str, map_location: MapLocation = None
) -> dict[str, Any]:
    """Read weights of torchvision, which need not be installed."""
    return load_from_local(torchvision_url(filename), map_location)


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
        return load_from_local(os.fspath(file), map_location)
    content = read_pickle(file, 'the checkpoint', map_location)
    return without_config_text(content, 'the checkpoint')
