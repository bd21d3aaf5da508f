"""Looks at the environment: what is there, what was adapted, what has to be fixed."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from aerialkd import compat
from aerialkd.errors import EnvironmentProblem
from aerialkd.version import __version__

# Distributions that install the same files: one of each group, never two.
RIVALS = (
    (
        'opencv-python-headless',
        compat.OPENCV,
        ('opencv-python', 'opencv-contrib-python'),
    ),
    ('onedl-mmcv', compat.MMCV, ('mmcv', 'mmcv-full', 'mmcv-lite')),
    ('onedl-mmengine', compat.fix_of('mmengine'), ('mmengine', 'mmengine-lite')),
    ('onedl-mmdetection', compat.fix_of('mmdet'), ('mmdet',)),
    ('onedl-mmrotate', compat.fix_of('mmrotate'), ('mmrotate',)),
)
OPTIONAL = {
    'torchvision': f'only for H2RBox-v2: {compat.TORCHVISION}',
    'onnx': f'only for ONNX export: {compat.PIP} -r requirements/onnx.txt',
    'onnxruntime': f'only for ONNX export: {compat.PIP} -r requirements/onnx.txt',
}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        section: the heading it stands under.
        name: what was looked at.
        text: what was found.
        level: 'ok', 'note' (works, but worth knowing) or 'FAIL'.
        fix: the command that fixes it, '' where nothing is wrong.
    """

    section: str
    name: str
    text: str
    level: str = 'ok'
    fix: str = ''


def main() -> int:
    """Prints the report; 1 if something that is needed is missing."""
    findings = examine()
    print(report(findings))
    return int(any(finding.level == 'FAIL' for finding in findings))


def examine() -> list[Finding]:
    """Collects everything; nothing raises, whatever the state of the environment."""
    findings = [*look_at_packages(), *look_at_rivals(), *look_at_requirements()]
    if not any(finding.level == 'FAIL' for finding in findings):
        findings += look_at_imports()
    # Operators only make sense once mmcv imports.
    if not any(finding.level == 'FAIL' for finding in findings):
        findings += look_at_operators()
    return [*findings, *look_at_devices()]


def report(findings: Iterable[Finding]) -> str:
    """Formats findings under their headings, the problems once more at the end."""
    findings = list(findings)
    lines = [f'aerialkd {__version__}']
    width = max(len(finding.name) for finding in findings)
    for section in dict.fromkeys(finding.section for finding in findings):
        lines += ['', section]
        lines += [
            f'  {finding.level:<4}  {finding.name:<{width}}  {finding.text}'.rstrip()
            for finding in findings
            if finding.section == section
        ]
    wrong = [finding for finding in findings if finding.fix]
    lines.append('')
    for finding in wrong:
        kind = 'problem' if finding.level == 'FAIL' else 'note'
        lines += [f'{kind}: {finding.name}: {finding.text}', f'    fix: {finding.fix}']
    if not any(finding.level == 'FAIL' for finding in findings):
        lines.append('Everything that is needed works.')
    return '\n'.join(lines)


def look_at_packages() -> Iterator[Finding]:
    """Versions, and what is absent, without importing more than torch and mmcv."""
    section = 'Packages'
    yield Finding(section, 'python', f'{platform.python_version()} ({sys.executable})')
    owners = metadata.packages_distributions()
    for needed in compat.NEEDED:
        name = needed.module
        if not compat.is_installed(name):
            yield Finding(section, name, 'not installed', 'FAIL', needed.fix)
            continue
        found = [
            f'{owner} {metadata.version(owner)}' for owner in set(owners.get(name, []))
        ]
        yield Finding(section, name, ', '.join(sorted(found)) or 'without metadata')
    for name, remark in OPTIONAL.items():
        if compat.is_installed(name):
            yield Finding(section, name, metadata.version(name))
        else:
            yield Finding(section, name, f'absent, {remark}')


def look_at_rivals() -> Iterator[Finding]:
    """Distributions that overwrite each other's files."""
    installed = {
        (distribution.metadata['Name'] or '').lower()
        for distribution in metadata.distributions()
    }
    for name, fix, others in RIVALS:
        rivals = sorted({name, *others} & installed)
        if len(rivals) < 2:
            continue
        text = f'{" and ".join(rivals)} overwrite each other'
        removal = f'python -m pip uninstall -y {" ".join(rivals)} && '
        # OpenCV's wheels hold the same code; of two mmcv nobody knows what is left.
        level = 'FAIL' if name == 'onedl-mmcv' else 'note'
        fix = fix if fix.startswith('python -m pip uninstall') else removal + fix
        yield Finding('Packages', name, text, level, fix)


def look_at_requirements() -> Iterator[Finding]:
    """The smaller packages that aerialkd's metadata asks for."""
    try:
        from packaging.requirements import Requirement

        lines = metadata.requires('aerialkd') or []
    except ModuleNotFoundError as error:  # packaging, or aerialkd's own metadata
        missing = error.name or 'aerialkd'
        fix = f'{compat.PIP} ' + (
            'packaging' if missing.startswith('packaging') else '--no-deps -e .'
        )
        yield Finding('Packages', missing, 'not installed', 'FAIL', fix)
        return
    good = 0
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate({'extra': ''}):
            continue
        fix = f"{compat.PIP} '{requirement.name}{requirement.specifier}'"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding('Packages', requirement.name, 'not installed', 'FAIL', fix)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            good += 1
            continue
        text = f'{version} is not what was tested ({requirement.specifier})'
        yield Finding('Packages', requirement.name, text, 'note', fix)
    yield Finding('Packages', 'requirements', f'{good} other packages as tested')


def look_at_imports() -> Iterator[Finding]:
    """Adapts, registers and imports everything."""
    section = 'Adaptations'
    try:
        compat.adapt()
        # The tool may have put a bare package there to reach this module; the
        # complete one finds everything adapted already.
        if not hasattr(sys.modules['aerialkd'], '__version__'):
            del sys.modules['aerialkd']
        importlib.import_module('aerialkd')
    except EnvironmentProblem as problem:
        text, _, fix = str(problem).partition(' Fix: ')
        yield Finding(section, 'import', text, 'FAIL', fix)
        return
    for sentence in compat.adaptations:
        name, _, text = sentence.partition(' ')
        yield Finding(section, name.rstrip(':'), text)
    yield Finding(section, 'aerialkd', 'imports and is registered')


def look_at_operators() -> Iterator[Finding]:
    """Runs operators whose results are known, on every kind of device."""
    import torch

    from aerialkd.ops import backends

    devices = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    for device in devices:
        for name, backend in backends.in_use().items():
            # sigmoid_focal_loss, which mmdet asks for on a GPU only, is compiled for
            # GPUs only.
            if (name, device, backend) == ('sigmoid_focal_loss', 'cpu', 'compiled'):
                continue
            try:
                right = run_operator(name, device)
            except Exception as error:  # whatever a broken build raises
                text = f'fails on {device}: {" ".join(str(error).split())[:200]}'
            else:
                text = 'works' if right else 'gives a wrong result'
                text = f'{text} on {device}'
            works = text.startswith('works')
            level, fix = ('ok', '') if works else ('FAIL', compat.MMCV)
            yield Finding('Operators', name, f'{backend}, {text}', level, fix)


def run_operator(name: str, device: str) -> bool:
    """Whether one of mmcv's operators gives the known result."""
    import torch
    from mmcv import ops

    def on_device(*rows: list[float]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.float32, device=device)

    upright = on_device([0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40])
    turned = on_device([50, 50, 20, 10, 0.3], [51, 50, 20, 10, 0.3], [9, 9, 4, 4, 0])
    four = upright[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    scores = torch.tensor([0.9, 0.8, 0.7], device=device)
    image, ones = torch.ones(2, 1, 1, 5, 5, device=device)
    kernel, still = ones[..., :3, :3], torch.zeros(1, 18, 3, 3, device=device)
    half = -torch.log(torch.tensor(0.5)).item()
    expected = {
        'nms': lambda: ops.nms(upright, scores, 0.5)[1].tolist() == [0, 2],
        'soft_nms': lambda: (
            ops.soft_nms(upright, scores, 0.5, method='naive')[1].tolist() == [0, 2]
        ),
        'nms_rotated': lambda: (
            ops.nms_rotated(turned, scores, 0.5)[1].tolist() == [0, 2]
        ),
        'nms_quadri': lambda: ops.nms_quadri(four, scores, 0.5)[1].tolist() == [0, 2],
        'box_iou_rotated': lambda: is_close(
            ops.box_iou_rotated(turned[:1], turned[:1]), 1
        ),
        'box_iou_quadri': lambda: is_close(ops.box_iou_quadri(four[:1], four[:1]), 1),
        'roi_align': lambda: is_close(
            ops.roi_align(image, on_device([0, 1, 1, 4, 4]), (2, 2)), 1
        ),
        'deform_conv2d': lambda: is_close(ops.deform_conv2d(image, still, kernel), 9),
        'modulated_deform_conv2d': lambda: is_close(
            ops.modulated_deform_conv2d(image, still, still[:, :9] + 0.5, kernel), 4.5
        ),
        'sigmoid_focal_loss': lambda: is_close(
            ops.sigmoid_focal_loss(
                image[0, 0, :1, :1] * 0, scores[:1].long(), 2.0, 0.25, None, 'none'
            ),
            half / 16,
        ),
    }
    return expected[name]()


def is_close(result: Any, value: float) -> bool:
    """Whether all elements of a tensor have a value, up to rounding."""
    return bool(((result - value).abs() < 1e-4).all())


def look_at_devices() -> Iterator[Finding]:
    """CPU cores and GPUs."""
    try:
        import torch
    except ImportError:
        yield Finding('Devices', 'cpu', f'{os.cpu_count()} cores')
        return
    threads = torch.get_num_threads()
    yield Finding('Devices', 'cpu', f'{os.cpu_count()} cores, {threads} torch threads')
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = device.total_memory / 2**30
        yield Finding('Devices', f'cuda:{index}', f'{device.name}, {memory:.0f} GiB')
    if not torch.cuda.is_available():
        if Path('/dev/nvidia0').exists():
            text = f'a GPU is there, but torch {torch.__version__} does not see it'
            fix = 'install a CUDA build of torch: https://pytorch.org/get-started'
            yield Finding('Devices', 'cuda', text, 'note', fix)
        else:
            yield Finding('Devices', 'cuda', 'no GPU')
