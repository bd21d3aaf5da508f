"""Getting the student out: plain weights, a plain config, and proof that they agree."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from safetensors.torch import save_file
from torch import Tensor, nn

from aerialkd.cli import read_config
from aerialkd.engine.model_cfg import student_model_cfg
from aerialkd.engine.staging import refuse_existing, staging
from aerialkd.engine.weights import load_strictly, load_weights
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.export.class_names import output_metainfo
from aerialkd.export.onnx_check import need_packages
from aerialkd.export.onnx_export import OnnxOptions, export_onnx
from aerialkd.export.plain_config import plain_config
from aerialkd.export.same_predictions import odd_sized_batch, prediction_difference
from aerialkd.loading import file_of
from aerialkd.registry import scope_of
from aerialkd.version import __version__

TOLERANCE = 1e-6


@dataclass(frozen=True)
class StudentExport:
    """What :func:`export_student` wrote.

    Attributes:
        files: weights (``.pth``, ``.safetensors``), config, and those of ONNX.
        sizes: of the files, in bytes.
        parameters: number of parameters.
        classes: class names in the order of the outputs.
        imports: what the config still imports beyond mmdet and mmrotate.
        difference: largest difference between the predictions of the source and of the
            exported student.
        onnx_difference: the same between the student and onnxruntime; None without.
    """

    files: tuple[Path, ...]
    sizes: tuple[int, ...]
    parameters: int
    classes: tuple[str, ...]
    imports: tuple[str, ...]
    difference: float
    onnx_difference: float | None

    def __str__(self) -> str:
        written = zip(self.files, self.sizes, strict=True)
        lines = [f'{path}  {size / 1000:,.1f} kB' for path, size in written]
        lines += [
            f'{self.parameters:,} parameters, {len(self.classes)} classes: '
            f'{", ".join(self.classes)}',
            f'largest difference to the source student: {self.difference:.2g}',
        ]
        if self.onnx_difference is not None:
            lines += [f'largest difference to onnxruntime: {self.onnx_difference:.2g}']
        if self.imports:
            lines += [
                f'NOT PLAIN: the student has components of {", ".join(self.imports)}; '
                'the config imports them, and they must be installed where it is loaded'
            ]
        weights, _, config = self.files[:3]
        return '\n'.join(
            [
                *lines,
                'load it with:',
                '  from mmdet.apis import init_detector',
                f"  model = init_detector('{config}', '{weights}', device='cpu')",
            ]
        )


def export_student(
    cfg: Config | str | Path,
    checkpoint: str | Path,
    out: str | Path,
    classes: Sequence[str] | None = None,
    force: bool = False,
    onnx: OnnxOptions | None = None,
) -> StudentExport:
    """Write the student as plain weights with a config that needs no aerialkd.

    Writes ``out`` (``.pth``) and beside it ``.safetensors`` and ``.py``; with ``onnx``
    also ``.onnx`` and ``.onnx.json``. All are verified against the source student
    before any of them appears.

    Args:
        cfg: config of the distillation or of the plain detector.
        checkpoint: its weights, in any layout that :func:`load_weights` reads.
        out: file to write, ending in ``.pth``.
        classes: class names; by default those of the checkpoint, else the config's.
        force: replace existing files (never the config or checkpoint read).
        onnx: settings of an export to ONNX; None leaves it out.

    Raises:
        ConfigError: if the config cannot be exported or a file exists.
        CheckpointError: if the weights do not fit, or the exported student predicts
            something else than the source.
        EnvironmentProblem: if ONNX is asked for and not installed.
    """
    if onnx is not None:
        need_packages()
    cfg = cfg if isinstance(cfg, Config) else read_config(cfg)
    targets = _targets(Path(out), onnx is not None)
    refuse_existing(targets, force)
    _refuse_inputs(targets, [checkpoint, cfg.filename])
    weights = load_weights(checkpoint)
    source = _build(cfg, student_model_cfg(cfg))
    load_strictly(source, weights)
    metainfo = output_metainfo(cfg, weights, source, classes)
    plain = plain_config(cfg, metainfo)

    with staging(targets, force) as folder:
        staged = [folder / target.name for target in targets]
        _write_weights(source, metainfo, staged[0], staged[1])
        staged[2].write_text(_text(plain), encoding='utf-8')
        difference = _verify(source, plain, *staged[:3])
        onnx_difference = None
        if onnx is not None:
            pipeline = plain.test_dataloader.dataset.pipeline
            onnx_difference = export_onnx(
                source, staged[3], onnx, metainfo['classes'], pipeline
            )
        sizes = tuple(file.stat().st_size for file in staged)
    return StudentExport(
        files=tuple(targets),
        sizes=sizes,
        parameters=sum(p.numel() for p in source.parameters()),
        classes=metainfo['classes'],
        imports=tuple((plain.get('custom_imports') or {}).get('imports', ())),
        difference=difference,
        onnx_difference=onnx_difference,
    )


def _targets(out: Path, with_onnx: bool) -> list[Path]:
    if out.suffix != '.pth':
        raise ConfigError(f'--out {out}: must end in .pth.')
    suffixes = ['.pth', '.safetensors', '.py']
    suffixes += ['.onnx', '.onnx.json'] if with_onnx else []
    return [out.with_name(out.stem + suffix) for suffix in suffixes]


def _refuse_inputs(targets: Sequence[Path], inputs: Sequence[Any]) -> None:
    """Not even ``force`` may replace what is being read."""
    read = {file_of(path).resolve() for path in inputs if path}
    for target in targets:
        if target.resolve() in read:
            raise ConfigError(f'{target}: is read here, choose another --out.')


def _build(cfg: Config, model: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        # A copy: detectors hand their train_cfg on by writing into the config.
        return MODELS.build(copy.deepcopy(model)).eval()


def _write_weights(
    model: nn.Module, metainfo: dict[str, Any], pth: Path, safetensors: Path
) -> None:
    # Copies: a view would drag its whole storage into the file.
    state: dict[str, Tensor] = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=metainfo)), pth)
    facts = dict(
        classes='\n'.join(metainfo['classes']),
        detector=type(model).__name__,
        parameters=str(sum(p.numel() for p in model.parameters())),
        exported_by=f'aerialkd {__version__}',
    )
    save_file(state, safetensors, facts)
    safetensors.chmod(pth.stat().st_mode)  # it would be the owner's alone


def _text(plain: Config) -> str:
    """The config as Python.

    Raises:
        ConfigError: if it holds something that cannot be written down.
    """
    try:
        return plain.pretty_text
    except SyntaxError as error:
        raise ConfigError(f'The config cannot be written as a file: {error}') from error


def _verify(
    source: Any, plain: Config, pth: Path, safetensors: Path, config: Path
) -> float:
    """Load what was written, strictly, and compare it with the source.

    Raises:
        ConfigError: if the written config reads back as something else.
        CheckpointError: if the predictions differ.
    """
    written = Config.fromfile(config)
    if written.to_dict() != plain.to_dict():
        raise ConfigError('The config reads back as another one than was written.')
    weights = load_weights(pth)
    exported = _build(written, written.model)
    load_strictly(exported, weights)
    with DefaultScope.overwrite_default_scope(scope_of(written)):
        difference = prediction_difference(source, exported, odd_sized_batch(written))
    other = load_weights(safetensors)
    same = other.state_dict.keys() == weights.state_dict.keys() and all(
        torch.equal(value, other.state_dict[key])
        for key, value in weights.state_dict.items()
    )
    if not (same and difference <= TOLERANCE):  # NaN is no success
        raise CheckpointError(
            f'The exported student predicts something else than the source: they '
            f'differ by {difference:.2g}, at most {TOLERANCE:g} is allowed; the two '
            f'files of weights are {"equal" if same else "different"}. Nothing was '
            'written.'
        )
    return difference
