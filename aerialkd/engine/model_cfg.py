"""Finding the detector in a config: by path, by dict, inside a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from aerialkd.engine.config_files import ROOT, find_config, is_external, read_file
from aerialkd.errors import ConfigError

# Where an algorithm may name a config instead of holding one.
NAMED = ('architecture', 'teacher')


def model_cfg(cfg: str | Path | dict | Config) -> dict:
    """Model config of a detector: itself, that of a whole config, or that of a file.

    Names of components in a file are looked up in the scope that the file states, or
    that of its package, whatever the current one is.

    Args:
        cfg: the model, a config with ``model``, or the name of a config file, alone or
            as ``dict(cfg_path=...)``: a path, relative to the working directory or to
            the repository, or ``package::path`` as in MMEngine.

    Raises:
        ConfigError: if the file does not exist, cannot be read or has no ``model``.
    """
    if isinstance(cfg, dict) and 'cfg_path' in cfg:
        return _model_with(**cfg)
    if isinstance(cfg, dict) and ('type' in cfg or 'model' not in cfg):
        return cfg
    content: Any = _read(cfg) if isinstance(cfg, (str, Path)) else cfg
    if 'model' not in content:
        raise ConfigError(f'{getattr(content, "filename", "config")}: has no model.')
    model: dict = content['model']
    scope = content.get('default_scope')
    return model if scope is None else ConfigDict({'_scope_': scope, **model})


def settle_named_models(cfg: Config, folder: Path | None = None) -> None:
    """Let the student and the teacher that a config names be found from any folder.

    A dump of it lies in a work dir and is read by tools that run elsewhere. What lies
    in the repository or in a package keeps its name, which is good on all machines.

    Args:
        cfg: of a distillation or not; changed in place.
        folder: of the config's file; what lies neither in the working directory nor in
            the repository is looked for there.
    """
    model = cfg.get('model')
    for key in NAMED if isinstance(model, dict) else ():
        named = model.get(key)
        if isinstance(named, dict) and 'cfg_path' in named:
            named['cfg_path'] = _settled(named['cfg_path'], folder)
        elif isinstance(named, (str, Path)):
            model[key] = _settled(named, folder)
        elif isinstance(named, Config):
            model[key] = model_cfg(named)


def _read(name: str | Path) -> Config:
    file = find_config(name, _folders())
    if file is None:
        raise ConfigError(
            f'Config {str(name)!r} not found, neither in {Path.cwd()} nor in {ROOT}.'
        )
    content = read_file(file, name)
    if is_external(name):
        content.setdefault('default_scope', str(name).partition('::')[0])
    return content


def _folders() -> tuple[Path, ...]:
    return Path(), ROOT


def _settled(name: str | Path, folder: Path | None) -> str:
    if is_external(name):
        return str(name)
    file = find_config(name, (*_folders(), *([folder] if folder else [])))
    if file is None or file.resolve() == (ROOT / name).resolve():
        return str(name)
    return str(file.absolute())


def _model_with(
    cfg_path: str | Path, pretrained: bool = False, **defaults: Any
) -> dict:
    """MMRazor's way of naming a detector."""
    if pretrained:
        raise ConfigError(
            f'{cfg_path}: got pretrained=True, which loads weights without comparing '
            'them with the model. Leave it out, and name the address or the file of '
            'the weights: teacher_ckpt for the teacher, init_cfg for the student.'
        )
    return ConfigDict({**defaults, **model_cfg(cfg_path)})


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
