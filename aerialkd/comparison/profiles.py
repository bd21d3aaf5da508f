"""What a method's training step costs, measured in a process of its own and kept."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config

from aerialkd.arguments import fits
from aerialkd.comparison.measured import digest
from aerialkd.comparison.results import Result
from aerialkd.comparison.trainings import run_tool
from aerialkd.datasets.data_digest import data_digest
from aerialkd.engine import student_model_cfg
from aerialkd.engine.machine import machine
from aerialkd.engine.noted_inputs import config_digests
from aerialkd.files import write_whole
from aerialkd.version import __version__
from aerialkd.visualization.report.comparison import ALONE
from aerialkd.visualization.report.runs import plain

NAME = 'profile.json'  # in a work dir
_COSTS = ('student_ms', 'teacher_ms', 'ratio', 'extra_mib')


def profile_of(
    config: Path, cfg: Config, measure: bool = True, output: int | None = None
) -> dict[str, Any] | None:
    """The costs of a step, kept or measured.

    The peak memory of a process never falls, hence one process a method.

    Args:
        config: file of a distillation.
        cfg: what :func:`aerialkd.comparison.trainings.seeded` made of it.
        measure: whether what was not kept is measured.
        output: file descriptor for what the tool prints; ours by default.

    Returns:
        What :meth:`aerialkd.engine.profile.StepProfile.summary` has, with ``machine``,
        ``batch``, ``torch`` and ``aerialkd``; None if there is nothing.

    Raises:
        ToolError: if it cannot be measured.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    key = dict(
        config=digest(cfg),
        machine=machine(device, torch.get_num_threads()),
        torch=torch.__version__,
        aerialkd=__version__,
        inputs=dict(
            data=data_digest(cfg.get('train_dataloader')), **config_digests(cfg)
        ),
    )
    file = Path(cfg.work_dir) / NAME
    try:
        kept = json.loads(file.read_text(encoding='utf-8'))
        whole = isinstance(kept, dict) and _is_whole(kept)
        if whole and _is_of(key, kept, file):
            return kept
    except (OSError, ValueError, RecursionError):
        pass  # absent or damaged: measured anew
    if not measure:
        return None
    new = file.with_name(f'.{NAME}.new')
    words = ('--training-batch', '--device', device, '--json', new)
    threads = ('--threads', torch.get_num_threads())
    run_tool('profile_step.py', config, *threads, *words, output=output)
    profile = json.loads(new.read_text(encoding='utf-8'))
    new.unlink()
    profile = key | profile
    write_whole(file, (json.dumps(profile, indent=1) + '\n').encode())
    return profile


def _is_of(key: dict[str, Any], kept: dict[str, Any], file: Path) -> bool:
    """Whether a profile that was kept is the one that would be measured now."""
    settings = {name: value for name, value in key.items() if name != 'inputs'}
    if any(kept.get(name) != value for name, value in settings.items()):
        return False
    if 'inputs' not in kept:
        print(
            f'{file}: notes no digest of the training data; taken for one of those '
            'that are here.',
            file=sys.stderr,
        )
        return True
    noted, now = kept['inputs'], key['inputs']
    return all(noted.get(k) in (v, '') or not v for k, v in now.items())


def _is_whole(kept: dict[str, Any]) -> bool:
    numbers = [kept.get(name) for name in (*_COSTS, 'whole_ms')]
    inputs = kept.get('inputs', {})
    whole = all(fits(number, float) for number in numbers) and 'batch' in kept
    return whole and isinstance(inputs, dict)


def with_profile(result: Result, profile: dict[str, Any]) -> Result:
    """A result with the costs of its training step."""
    costs = {name: profile[name] for name in _COSTS} | dict(step_ms=profile['whole_ms'])
    made_on = '{machine}, torch {torch}, aerialkd {aerialkd}'.format(**profile)
    origin = result.origin | dict(profiled=made_on, batch=profile['batch'])
    return replace(result, costs=result.costs | costs, origin=origin)


def with_student_steps(results: list[Result], cfgs: dict[str, Config]) -> list[Result]:
    """Give the student alone the step that it has in the profiles of the methods.

    Args:
        results: those of the methods with their profiles.
        cfgs: by method; students of another network do not count.
    """
    if ALONE not in cfgs:
        return results
    alone = plain(cfgs[ALONE].model)
    own = [m for m, cfg in cfgs.items() if plain(student_model_cfg(cfg)) == alone]
    steps = [r for r in results if r.method in own and 'student_ms' in r.costs]
    if not steps:
        return results
    cost = dict(step_ms=median(r.costs['student_ms'] for r in steps))
    made = {name: steps[0].origin[name] for name in ('profiled', 'batch')}
    return [
        replace(r, costs=r.costs | cost, origin=r.origin | made)
        if r.method == ALONE
        else r
        for r in results
    ]
