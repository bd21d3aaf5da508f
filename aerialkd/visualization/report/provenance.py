"""How each run was made: config, what differs, versions, times, command."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialkd.doctor import look_at_packages
from aerialkd.engine import student_model_cfg
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import Comparison
from aerialkd.visualization.report.runs import Run, plain

_ABSENT = '\N{EN DASH}'


@dataclass(frozen=True)
class Origin:
    """What is known about the making of one run.

    Attributes:
        run: which one.
        facts: (name, text).
        differences: (key, value of the student alone, value here).
        baseline: name of the student alone; '' if there is none to compare with.
        config: text of the dumped config.
        environment: versions as the training logged them; ''.
    """

    run: Run
    facts: list[tuple[str, str]]
    differences: list[tuple[str, str, str]]
    baseline: str
    config: str
    environment: str


def origins(comparison: Comparison) -> list[Origin]:
    """Origin of every run of a comparison."""
    row = comparison.baseline
    baseline = row.runs[0] if row else None
    return [
        Origin(
            run=run,
            facts=_facts(run),
            differences=[] if baseline in (None, run) else _differences(baseline, run),
            baseline=baseline.name if baseline and baseline is not run else '',
            config=run.config_file.read_text(encoding='utf-8', errors='replace'),
            environment=run.log.environment,
        )
        for one in comparison.rows
        for run in one.runs
    ]


def versions_here() -> list[tuple[str, str]]:
    """Packages in the process that writes the report, and the code's revision."""
    found = [
        (finding.name, finding.text)
        for finding in look_at_packages()
        if finding.level == 'ok' and not finding.text.startswith('absent')
    ]
    return [*found, ('git revision', git_revision())]


def git_revision() -> str:
    """Commit of the checkout that this package lies in, and whether it was changed."""
    root = Path(__file__).parents[3]
    if not (root / '.git').exists():
        return 'not a git checkout'
    said = []
    for arguments in (['rev-parse', 'HEAD'], ['status', '--porcelain', '-uno']):
        try:
            done = subprocess.run(  # noqa: S603 - arguments of our own
                ['git', '-C', str(root), *arguments],  # noqa: S607 - git of the PATH
                capture_output=True,
                encoding='utf-8',
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            return f'unknown ({error})'
        said.append(done.stdout.strip())
    return said[0] + (' with local changes' if said[1] else '')


def _facts(run: Run) -> list[tuple[str, str]]:
    log = run.log
    seed = (run.cfg.get('randomness') or {}).get('seed')
    facts = [
        ('work dir', str(run.work_dir)),
        ('seed', 'chosen at random' if seed is None else str(seed)),
    ]
    if log.sessions:
        sessions = f' in {len(log.sessions)} sessions' if len(log.sessions) > 1 else ''
        known = log.minutes is not None
        took = (
            f'{log.minutes:.1f} minutes' if known else 'unknown, the clock was changed'
        )
        facts += [
            ('start', f'{log.sessions[0][0]:%Y-%m-%d %H:%M}'),
            ('duration', f'{took}{sessions}'),
        ]
    else:
        facts.append(('start', 'no log'))
    if run.checkpoint is None:
        facts.append(('checkpoint', 'none'))
    else:
        size = run.checkpoint.stat().st_size / 2**20
        facts.append(('checkpoint', f'{run.checkpoint}, {size:.1f} MiB'))
    if run.distils:
        facts.append(('teacher', str(run.cfg.model.get('teacher_ckpt'))))
    facts.append(('command', _command(run)))
    return facts


def _command(run: Run) -> str:
    """What trains it again; logs of MMEngine do not keep the command that was given."""
    again = f'{run.work_dir}_again'
    words = ['python', 'tools/train.py', str(run.config_file), '--work-dir', again]
    return shlex.join(words)


def _differences(baseline: Run, run: Run) -> list[tuple[str, str, str]]:
    ours, theirs = _settings(run), _settings(baseline)
    names = [n for n in dict.fromkeys([*theirs, *ours]) if ours.get(n) != theirs.get(n)]
    absent = _ABSENT
    return [(n, theirs.get(n, absent), ours.get(n, absent)) for n in sorted(names)]


def _settings(run: Run) -> dict[str, str]:
    """Flat settings; a distilled student's model stands where a plain one's does."""
    content = plain(run.cfg.to_dict())
    if run.distils:
        model = content['model']
        extra = {k: v for k, v in model.items() if k != 'architecture'}
        try:
            student = plain(student_model_cfg(run.cfg).to_dict())
        except ConfigError:  # the student's config lies on another machine
            student = {'architecture': model['architecture']}
        content['model'] = student
        content['distillation'] = extra
        # What a config file calls its parts before the model takes them over.
        for name in extra:
            if content.get(name) == extra[name]:
                del content[name]
    content.pop('work_dir', None)
    return _flat(content, '')


def _flat(value: Any, name: str) -> dict[str, str]:
    if isinstance(value, dict) and value:
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= _flat(inner, f'{name}.{key}' if name else key)
        return flat
    return {name: repr(value)}
