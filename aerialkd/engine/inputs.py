"""Digests of the files from which a training takes what it does not learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from aerialkd.engine.model_cfg import model_cfg
from aerialkd.files import sha256_of
from aerialkd.loading.checkpoint_file import find, split_digest
from aerialkd.loading.download import is_url

_FILE = 'teacher_ckpt'


def teacher_digests(cfg: Config) -> dict[str, str]:
    """The SHA-256 of each file that holds weights of a teacher.

    These are ``teacher_ckpt``, at any depth of the model, and, of a teacher without
    one, the files of its ``init_cfg``. A digest that the name states
    (``FILE#sha256=DIGEST``) is taken as it is: what reads the file compares them.

    Args:
        cfg: of a training, or of anything else with a model.

    Returns:
        Digests by the setting that names the file, such as ``'model.teacher_ckpt'``;
        empty without a teacher. Names of model zoos (``torchvision://resnet50``) are
        left out: each stands for one file.

    Raises:
        CheckpointError: if there is no such file.
        ConfigError: if the teacher's config cannot be found.
    """
    named = _named(cfg.get('model'), 'model')
    return {key: _digest(name) for key, name in named if _is_file(name)}


def _named(part: Any, where: str) -> Iterator[tuple[str, str]]:
    """Settings below ``where`` that name a file of a teacher, and these names."""
    if isinstance(part, (list, tuple)):
        part = dict(enumerate(part))
    if not isinstance(part, dict):
        return
    teacher = part.get('teacher')
    if part.get(_FILE):
        yield f'{where}.{_FILE}', str(part[_FILE])
    elif isinstance(teacher, (str, dict)):
        yield from _pretrained(model_cfg(teacher), f'{where}.teacher')
    for key, value in part.items():
        if value is not teacher:
            yield from _named(value, f'{where}.{key}')


def _pretrained(part: Any, where: str) -> Iterator[tuple[str, str]]:
    """Settings of a detector that name a file of pretrained weights."""
    if isinstance(part, (list, tuple)):
        part = dict(enumerate(part))
    if not isinstance(part, dict):
        return
    if part.get('type') == 'Pretrained' and part.get('checkpoint'):
        yield f'{where}.checkpoint', str(part['checkpoint'])
    for key, value in part.items():
        yield from _pretrained(value, f'{where}.{key}')


def _is_file(name: str) -> bool:
    plain, _ = split_digest(name)
    return is_url(plain) or '://' not in plain


def _digest(name: str) -> str:
    _, stated = split_digest(name)
    return stated or sha256_of(find(name, pinned=False).path)
