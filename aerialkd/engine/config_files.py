"""Config files by their names: a path, or ``package::path`` as MMEngine has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import get_installed_path, is_installed

from aerialkd.errors import ConfigError

ROOT = Path(__file__).parents[2]
_EXTERNAL = '::'
_EXAMPLE = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
_SHIPPED = Path('.mim', 'configs')  # in an installed package


def is_external(name: str | Path) -> bool:
    """Whether a config is named as ``package::path``."""
    return _EXTERNAL in str(name)


def find_config(name: str | Path, folders: Iterable[Path] = (Path(),)) -> Path | None:
    """The file of a config; None if no folder holds it.

    Args:
        name: a path, or ``package::path`` of a config that an OpenMMLab package ships.
        folders: in which a relative path is looked for, the working directory by
            default.

    Raises:
        ConfigError: if the package is not installed or ships no such config.

    Example:
        >>> find_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').name
        'retinanet_r50_fpn_1x_coco.py'
    """
    if is_external(name):
        return _external_file(str(name))
    path = Path(name).expanduser()
    return next((f / path for f in folders if (f / path).is_file()), None)


def read_file(file: Path, name: str | Path | None = None) -> Config:
    """Read a config file.

    Args:
        file: of :func:`find_config`.
        name: what the user calls it; its path by default.

    Raises:
        ConfigError: if it, or one that it inherits from, cannot be read.
    """
    try:
        return Config.fromfile(file)
    except (Exception, SystemExit) as error:  # it is a program of the user's
        reason = str(error) or type(error).__name__
        shipped = re.search(rf'"(.+/{_SHIPPED})/(.+)" does not exist', reason)
        hint = f'.{_similar(Path(shipped[1]), shipped[2])}' if shipped else ''
        raise ConfigError(
            f'{name or file}: cannot be read as a config: {reason}{hint}'
        ) from error


def _external_file(name: str) -> Path:
    """As MMEngine does for ``_base_``, without reading all model zoos on the way."""
    scope, _, path = name.partition(_EXTERNAL)
    if scope not in MODULE2PACKAGE or not path or _EXTERNAL in path:
        raise ConfigError(
            f"{name}: got package '{scope}' and path '{path}', expected package::path "
            f"such as '{_EXAMPLE}', with one of {', '.join(MODULE2PACKAGE)}."
        )
    package = MODULE2PACKAGE[scope]
    if not is_installed(package):
        raise ConfigError(
            f'{name}: {scope} is not installed. Install it (pip install {package}), or '
            'name a config file by its path.'
        )
    folder = Path(get_installed_path(package)) / _SHIPPED
    if not (folder / path).is_file():
        raise ConfigError(
            f'{name}: {scope} ships no such config.{_similar(folder, path)}'
        )
    return folder / path


def _similar(folder: Path, path: str) -> str:
    """A hint at configs of a package whose names are near."""
    known = [str(file.relative_to(folder)) for file in sorted(folder.rglob('*.py'))]
    near = get_close_matches(path, known)
    return f' Similar: {", ".join(near)}.' if near else ''
