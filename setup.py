"""Packaging of aerialkd; tools' settings are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Reads the version without importing the package (which needs torch)."""
    text = (ROOT / 'aerialkd' / 'version.py').read_text(encoding='utf-8')
    found = re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError('aerialkd/version.py does not define __version__')
    return found[1]


def read_requirements(name: str) -> list[str]:
    """Reads a file of ``requirements/`` without its comments and options."""
    text = (ROOT / 'requirements' / name).read_text(encoding='utf-8')
    lines = (line.partition('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith('-')]


setup(
    name='aerialkd',
    version=read_version(),
    description='Knowledge distillation of small aerial detectors, on top of '
    'MMDetection, MMRotate and MMRazor',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8')
    if (ROOT / 'README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    license_expression='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    python_requires='>=3.10',
    packages=find_packages(include=['aerialkd', 'aerialkd.*']),
    package_data={
        'aerialkd': ['py.typed'],
        'aerialkd.visualization.report': ['*.j2', '*.css'],
    },
    # Neither torch nor the OpenMMLab packages: as with OpenMMLab's own packages they
    # are installed first (`make setup`), because pip would replace a CUDA torch that
    # suits the machine, and because mmcv must be built against that very torch.
    install_requires=read_requirements('runtime.txt'),
    extras_require={
        'onnx': read_requirements('onnx.txt'),
        'dev': read_requirements('dev.txt'),
    },
    zip_safe=False,
)
