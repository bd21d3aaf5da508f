"""Finding the detector in a config: by path, by dict, inside a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from aerialkd.errors import ConfigError


def model_cfg(cfg: str | Path | dict) -> dict:
    """Model config of a detector given as a dict, ``dict(cfg_path=...)`` or a path.

    Paths are relative to the working directory or to the repository.

    Raises:
        ConfigError: if the file does not exist or has no ``model``.
    """
    if isinstance(cfg, dict) and 'cfg_path' not in cfg:
        return cfg
    path = Path(cfg['cfg_path'] if isinstance(cfg, dict) else cfg)
    root = Path(__file__).parents[2]
    found = next((p for p in (path, root / path) if p.is_file()), None)
    if found is None:
        raise ConfigError(
            f'Config {str(path)!r} not found, neither in {Path.cwd()} nor in {root}.'
        )
    content = Config.fromfile(found)
    if 'model' not in content:
        raise ConfigError(f'{found}: has no model.')
    return content.model


def student_model_cfg(cfg: Config) -> ConfigDict:
    """Model config of the plain student; of the detector itself if nothing distils.

    Raises:
        ConfigError: if the config has no model.
    """
    if 'model' not in cfg:
        raise ConfigError(f'{cfg.filename}: has no model.')
    if 'architecture' not in cfg.model:
        return cfg.model
    student = ConfigDict(model_cfg(cfg.model.architecture))
    if cfg.model.get('data_preprocessor'):
        student.data_preprocessor = cfg.model.data_preprocessor
    return student


def without_pretrained(cfg: Any) -> Any:
    """Copy of a config in which no part asks for pretrained weights."""
    if isinstance(cfg, dict):
        kept = {
            key: without_pretrained(value)
            for key, value in cfg.items()
            if not (key == 'init_cfg' and _is_pretrained(value)) and key != 'pretrained'
        }
        return type(cfg)(kept)
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(without_pretrained(item) for item in cfg)
    return cfg


def _is_pretrained(init_cfg: Any) -> bool:
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'
