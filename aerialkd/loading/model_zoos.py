"""Names of pretrained weights, ``torchvision://resnet50``, and what they stand for."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import mmengine
from mmengine.runner import checkpoint as mmengine_checkpoint

from aerialkd.errors import UnknownWeights
from aerialkd.loading.checkpoint_file import DIGEST, split_digest

# How torchvision names, since 0.13, the weights that 0.12 had:
# resnet50.imagenet1k_v1 or ResNet50_Weights.IMAGENET1K_V1.
_SINCE_0_13 = re.compile(r'(?:_weights)?\.imagenet1k_v1$')


def torchvision_urls() -> dict[str, str]:
    """Addresses by name, from the table of torchvision 0.12 that MMEngine ships.

    The same whether torchvision is installed or not.
    """
    file = Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json'
    table: Mapping[str, str | None] = json.loads(file.read_text(encoding='utf-8'))
    return {name: url for name, url in table.items() if url is not None}


def torchvision_url(filename: str) -> str:
    """The address that ``torchvision://NAME`` stands for.

    Args:
        filename: the name, with ``modelzoo://`` too; a digest behind it is kept.

    Raises:
        UnknownWeights: if there is no such name.
    """
    plain, digest = split_digest(filename)
    table = torchvision_urls()
    name = plain.partition('://')[2]
    if name not in table:
        name = _SINCE_0_13.sub('', name.lower())
    if name not in table:
        name = name.partition('.')[0].removesuffix('_weights')
        about = ' (the weights of torchvision 0.12, later called IMAGENET1K_V1)'
        raise _unknown(plain, name, table, about)
    return table[name] + (f'{DIGEST}{digest}' if digest else '')


def check_openmmlab_name(filename: str) -> None:
    """Make sure that MMEngine's table has ``open-mmlab://NAME``.

    Raises:
        UnknownWeights: if not.
    """
    name = filename.partition('://')[2]
    name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
    table = mmengine_checkpoint.get_external_models()
    if name not in table:
        raise _unknown(filename, name, table)


def check_mmcls_name(filename: str) -> None:
    """Make sure that MMEngine's table has ``mmcls://NAME``.

    Raises:
        UnknownWeights: if not.
    """
    name = filename.partition('://')[2]
    table = mmengine_checkpoint.get_mmcls_models()
    if name not in table:
        raise _unknown(filename, name, table)


def _unknown(
    filename: str, name: str, table: Collection[str], about: str = ''
) -> UnknownWeights:
    close = difflib.get_close_matches(name, table, n=5, cutoff=0.5) or sorted(table)[:5]
    return UnknownWeights(
        f"{filename}: got a name that MMEngine's table does not have{about}, expected "
        f'one of its {len(table)}, such as {", ".join(close)}; or name a file or its '
        'address.'
    )
