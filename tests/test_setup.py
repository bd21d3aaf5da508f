from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from aerialkd import __version__, compat
from tests.processes import ROOT

REQUIREMENTS = sorted((ROOT / 'requirements').glob('*.txt'))


def load_setup_env():
    path = ROOT / 'tools' / 'setup_env.py'
    spec = importlib.util.spec_from_file_location('setup_env', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup_env = load_setup_env()


def requirements(name: str) -> dict[str, Requirement]:
    text = (ROOT / 'requirements' / f'{name}.txt').read_text()
    lines = [line.partition('#')[0].strip() for line in text.splitlines()]
    found = [Requirement(line) for line in lines if line]
    assert len({item.name for item in found}) == len(found), 'named twice'
    return {item.name: item for item in found}


class TestRequirements:
    @pytest.mark.parametrize('path', REQUIREMENTS, ids=lambda path: path.stem)
    def test_file_parses_and_starts_with_its_purpose(self, path):
        assert requirements(path.stem)
        assert path.read_text().startswith('# ')

    @pytest.mark.parametrize('name', ['build', 'torch', 'openmmlab', 'runtime', 'onnx'])
    def test_every_bound_has_its_reason(self, name):
        text = (ROOT / 'requirements' / f'{name}.txt').read_text()
        lines = [line for line in text.splitlines() if re.match(r'\w', line)]
        assert [line for line in lines if not re.search(r'\S +# \S', line)] == []

    @pytest.mark.parametrize('name', ['build', 'runtime', 'onnx', 'dev'])
    def test_tested_release_lies_within_the_bounds(self, name):
        tested = requirements('tested')
        for item in requirements(name).values():
            assert item.specifier, f'{item.name} has no bound'
            (pin,) = tested[item.name].specifier
            assert item.specifier.contains(pin.version), item.name

    @pytest.mark.parametrize('name', ['torch', 'openmmlab', 'tested'])
    def test_exact_pins(self, name):
        for item in requirements(name).values():
            assert [spec.operator for spec in item.specifier] == ['=='], item.name

    @pytest.mark.parametrize('path', REQUIREMENTS, ids=lambda path: path.stem)
    def test_only_the_headless_opencv(self, path):
        assert 'opencv-python' not in requirements(path.stem)

    def test_neither_torch_nor_openmmlab_among_the_dependencies(self):
        others = {*requirements('torch'), *requirements('openmmlab'), 'torchvision'}
        for name in ('build', 'runtime', 'onnx', 'dev', 'tested'):
            assert not others & set(requirements(name))

    def test_commands_of_compat_install_the_pins(self):
        commands = ' '.join(
            [*(needed.fix for needed in compat.NEEDED), compat.OPENCV, 'imaug==0.4.3']
        )
        pins = [*requirements('openmmlab').values()]
        pins.append(requirements('tested')['opencv-python-headless'])
        for pin in pins:
            assert str(pin) in commands


class TestMetadata:
    def test_version_and_python(self):
        found = metadata.metadata('aerialkd')
        assert found['Version'] == __version__ == '0.1.0'
        assert found['Requires-Python'] == '>=3.10'
        assert {'onnx', 'dev'} <= set(found.get_all('Provides-Extra'))

    def test_dependencies_are_the_runtime_requirements(self):
        lines = [Requirement(line) for line in metadata.requires('aerialkd')]
        plain = {str(line) for line in lines if line.marker is None}
        assert plain == {str(item) for item in requirements('runtime').values()}
        extras = {line.name for line in lines if 'onnx' in str(line.marker)}
        assert extras == set(requirements('onnx'))

    def test_licence(self):
        found = metadata.metadata('aerialkd')
        assert found['License-Expression'] == 'Apache-2.0'
        assert found.get_all('License-File') == ['LICENSE', 'NOTICE']
        text = (ROOT / 'LICENSE').read_text()
        assert text.startswith('Copyright 2026 The aerialkd authors\n')
        assert 'Version 2.0, January 2004' in text
        assert '[yyyy]' not in text

    def test_citation(self):
        cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
        assert (cited['version'], cited['license']) == (__version__, 'Apache-2.0')
        assert {'cff-version', 'message', 'title', 'authors'} <= set(cited)
        assert len(cited['references']) == 5
        for paper in cited['references']:
            assert {'type', 'title', 'authors'} <= set(paper)
            for author in paper['authors']:
                assert set(author) == {'family-names', 'given-names'}

    def test_all_packages_are_found(self):
        code = (
            'import setuptools; '
            "print(*setuptools.find_packages(include=['aerialkd', 'aerialkd.*']))"
        )
        result = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
        )
        folders = {path.parent for path in (ROOT / 'aerialkd').rglob('*.py')}
        names = {'.'.join(folder.relative_to(ROOT).parts) for folder in folders}
        assert set(result.stdout.split()) == names


def make(*arguments: str) -> str:
    # `make test PYTHON=...` hands its variables on to the processes it starts.
    passed_on = {'ARGS', 'MAKEFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'MFLAGS', 'PYTHON'}
    result = subprocess.run(
        ['make', '--no-print-directory', '-n', *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            name: value for name, value in os.environ.items() if name not in passed_on
        },
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


class TestMakefile:
    @pytest.mark.parametrize(
        ('target', 'command'),
        [
            ('setup', 'tools/setup_env.py'),
            ('lint', 'tools/setup_env.py -m ruff check .'),
            ('lint', 'tools/setup_env.py -m ruff format --check .'),
            ('lint', 'tools/setup_env.py -m mypy aerialkd'),
            ('demo', 'tools/setup_env.py tools/demo.py'),
        ],
    )
    def test_target(self, target, command):
        lines = [line.rstrip() for line in make(target).splitlines()]
        assert f'python3 {command}' in lines

    def test_python_may_be_a_program_or_an_environment(self, tmp_path):
        assert make('setup', 'PYTHON=python3.10').startswith('python3.10 tools/')
        (tmp_path / 'bin').mkdir()
        (tmp_path / 'bin' / 'python').touch()
        started = f'{tmp_path}/bin/python tools/'
        assert make('setup', f'PYTHON={tmp_path}').startswith(started)

    def test_arguments_for_pytest(self):
        assert "-k 'pkd or fgd'" in make('test', "ARGS=-k 'pkd or fgd'")

    def test_ci_runs_tests_and_linters(self):
        script = (ROOT / '.ci' / 'run').read_text()
        assert 'set -euo pipefail' in script
        (steps,) = re.findall(r'^for step in (.*); do$', script, re.MULTILINE)
        assert {'test', 'test-slow', 'test-rounding', 'lint'} < set(steps.split())
        for step in steps.split():
            assert make(step)

    def test_every_test_runs_in_one_of_the_halves(self):
        first, second = (line for line in make('test').splitlines() if line)
        assert "-m 'not slow and not alone' -n auto" in first
        assert "-m 'not slow and alone' -n auto" in second
        # What is asked for by name runs at once.
        assert len(make('test', 'ARGS=tests/losses').splitlines()) == 1

    def test_rounding_of_other_processors(self):
        lines = ' '.join(make('test-rounding').split())
        assert 'ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41' in lines
        assert 'ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2' in lines
        assert 'AERIALKD_TEST_THREADS=2' in lines


class TestSetupEnv:
    @pytest.mark.parametrize(
        ('version', 'expected'),
        [
            ('', False),
            ('1.13.1', False),
            ('2.5.1+cu121', False),
            ('2.6.0+cpu', True),
            ('2.13.0', True),
            ('3.0', True),
        ],
    )
    def test_torch_that_is_kept(self, version, expected):
        assert setup_env.suitable(version) is expected
        assert compat.NEEDED[0].minimum == setup_env.MINIMUM_TORCH

    @pytest.mark.parametrize('version', [(3, 8, 1), (3, 9, 18), (3, 14, 0)])
    def test_unsuitable_python(self, version, monkeypatch):
        monkeypatch.setattr(setup_env.sys, 'version_info', version)
        with pytest.raises(setup_env.SetupError, match='apt-get install python3'):
            setup_env.check_interpreter()

    def test_python_without_ensurepip(self, monkeypatch):
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
        with pytest.raises(setup_env.SetupError, match='apt-get install python3-venv'):
            setup_env.create_venv(sees_system=False)

    def test_no_compiler(self, monkeypatch):
        monkeypatch.delenv('CXX', raising=False)
        monkeypatch.setattr(setup_env.shutil, 'which', lambda name: None)
        with pytest.raises(setup_env.SetupError, match=r'apt-get install g\+\+'):
            setup_env.check_compilers(Path(sys.executable))

    def test_no_headers(self, monkeypatch, tmp_path):
        monkeypatch.setenv('CXX', 'g++')
        monkeypatch.setattr(setup_env.sysconfig, 'get_path', lambda name: tmp_path)
        with pytest.raises(setup_env.SetupError, match='apt-get install python3-dev'):
            setup_env.check_compilers(Path(sys.executable))

    def test_no_nvcc(self, monkeypatch):
        monkeypatch.setenv('CXX', 'g++')
        monkeypatch.setenv('FORCE_CUDA', '1')
        monkeypatch.delenv('CUDA_HOME', raising=False)
        monkeypatch.setattr(setup_env.shutil, 'which', lambda name: None)
        with pytest.raises(setup_env.SetupError, match='or do without: make setup'):
            setup_env.check_compilers(Path(sys.executable))

    def test_unknown_choice_of_operators(self, monkeypatch, capsys):
        monkeypatch.setenv('OPS', 'fast')
        monkeypatch.setattr(setup_env, 'install', pytest.fail)
        assert setup_env.main([]) == 1
        assert 'OPS=fast: expected OPS=compiled' in capsys.readouterr().err

    @pytest.fixture
    def installing(self, monkeypatch):
        """What would be installed: (arguments of pip or 'build', variables)."""
        calls = []

        def pip(python, *arguments, environment=None):
            calls.append((arguments, environment))

        monkeypatch.setattr(setup_env, 'pip', pip)
        monkeypatch.setattr(
            setup_env, 'build_mmcv', lambda *_: calls.append((('build',), None))
        )
        monkeypatch.setattr(setup_env, 'is_cached', lambda *_: False)
        monkeypatch.setattr(setup_env, 'version_of', lambda *_: '')
        monkeypatch.delenv('OPS', raising=False)
        return calls

    @pytest.mark.parametrize('cuda', ['', '1'])
    def test_nothing_is_compiled(self, cuda, installing, monkeypatch):
        # Nor asked for: a torch with CUDA needs no nvcc.
        monkeypatch.setenv('FORCE_CUDA', cuda)
        monkeypatch.setattr(setup_env, 'check_compilers', pytest.fail)
        monkeypatch.setattr(setup_env, 'wants_cuda', pytest.fail)
        setup_env.install_mmcv(Path('python'))
        arguments, environment = installing[-1]
        assert arguments[-1] == setup_env.requirement_of('onedl-mmcv')
        # Isolated: where its setup.py sees torch, it compiles.
        assert '--no-build-isolation' not in arguments
        assert '--no-cache-dir' in arguments
        assert environment['PIP_CONSTRAINT'].endswith('tested.txt')

    @pytest.mark.parametrize(
        ('problem', 'kept'),
        [('', True), (setup_env.NOT_COMPILED, True), ('undefined symbol', False)],
    )
    def test_operators_that_load_are_kept(self, problem, kept, installing, monkeypatch):
        pin = setup_env.requirement_of('onedl-mmcv').partition('==')[2]
        versions = {'onedl-mmcv': pin}
        monkeypatch.setattr(
            setup_env, 'version_of', lambda _, name: versions.get(name, '')
        )
        monkeypatch.setattr(setup_env, 'ops_problem', lambda _: problem)
        setup_env.install_mmcv(Path('python'))
        assert (len(installing) == 1) is kept  # mmengine, which mmcv imports

    @pytest.mark.parametrize('problem', [setup_env.NOT_COMPILED, 'undefined symbol'])
    def test_compiled_on_request(self, problem, installing, monkeypatch):
        monkeypatch.setenv('OPS', 'compiled')
        monkeypatch.setattr(setup_env, 'ops_problem', lambda _: problem)
        setup_env.install_mmcv(Path('python'))
        assert installing[-1][0] == ('build',)

    @pytest.mark.parametrize('name', ['mmcv', 'mmcv-full', 'mmcv-lite'])
    def test_another_distribution_of_mmcv(self, name, installing, monkeypatch):
        monkeypatch.setattr(
            setup_env, 'version_of', lambda _, asked: '2.1.0' if asked == name else ''
        )
        with pytest.raises(setup_env.SetupError, match=f'uninstall -y {name} onedl'):
            setup_env.install_mmcv(Path('python'))
        assert not installing

    @pytest.fixture
    def environment(self, monkeypatch, tmp_path):
        """An environment that looks complete."""
        python = tmp_path / 'bin' / 'python'
        monkeypatch.setattr(setup_env, 'version_of', lambda *_: '2.13.0')
        setup_env.stamp_of(python).write_text(json.dumps(setup_env.state(python)))
        return python

    def test_done_is_done(self, environment):
        assert setup_env.is_done(environment)

    def test_another_torch_is_noticed(self, environment, monkeypatch):
        monkeypatch.setattr(setup_env, 'version_of', lambda *_: '2.14.0')
        assert not setup_env.is_done(environment)

    def test_changed_requirements_are_noticed(self, environment, monkeypatch, tmp_path):
        (tmp_path / 'runtime.txt').write_text('numpy==2.0.0')
        monkeypatch.setattr(setup_env, 'REQUIREMENTS', tmp_path)
        assert not setup_env.is_done(environment)

    def test_moved_checkout_is_noticed(self, environment, monkeypatch):
        content = json.loads(setup_env.stamp_of(environment).read_text())
        content['checkout'] = 'elsewhere'
        setup_env.stamp_of(environment).write_text(json.dumps(content))
        assert not setup_env.is_done(environment)

    def test_half_written_stamp_counts_for_nothing(self, environment):
        setup_env.stamp_of(environment).write_text('{"requirements": ')
        assert not setup_env.is_done(environment)

    def test_interrupted_installation_leaves_no_stamp(self, environment, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(setup_env, 'pip', interrupted)
        with pytest.raises(KeyboardInterrupt):
            setup_env.install(environment)
        assert not setup_env.stamp_of(environment).exists()

    @pytest.fixture
    def fake_python(self, monkeypatch, tmp_path):
        """A stand-in for an environment's interpreter with a failing GPU check."""
        monkeypatch.setattr(setup_env, 'check_compilers', lambda _: None)
        monkeypatch.setattr(setup_env, 'ALIVE_EVERY', 0.2)
        monkeypatch.delenv('FORCE_CUDA', raising=False)

        def write(install: str) -> Path:
            python = tmp_path / 'bin' / 'python'
            python.parent.mkdir()
            python.write_text(
                '#!/bin/sh\n'
                f'case "$*" in *cuda.is_available*) exit 1;; *pip*) {install};; esac\n'
            )
            python.chmod(0o755)
            return python

        return write

    def test_build_shows_that_it_is_alive(self, fake_python, monkeypatch, capsys):
        monkeypatch.delenv('MAX_JOBS', raising=False)
        monkeypatch.setattr(setup_env.os, 'sched_getaffinity', lambda _: range(7))
        monkeypatch.delenv('CFLAGS', raising=False)
        python = fake_python('echo "[3/78] c++ jobs $MAX_JOBS $CFLAGS"; sleep 1')
        setup_env.build_mmcv(python, 'onedl-mmcv==2.3.6')
        printed = capsys.readouterr().out
        assert 'takes minutes, the first time only' in printed.splitlines()[0]
        assert '0:00 min  3 of 78 files compiled' in printed
        log = (python.parent.parent / 'mmcv-build.log').read_text()
        # CFLAGS replaces the interpreter's flags: without -O3, minutes become hours.
        assert re.search(r'jobs 7 .*-O3.* -g0$', log, re.MULTILINE)

    def test_failed_build_shows_the_end_of_its_log(self, fake_python):
        python = fake_python('for i in 1 2 3; do echo "line $i"; done; exit 1')
        with pytest.raises(setup_env.SetupError, match=r'(?s)line 3.*whole log is'):
            setup_env.build_mmcv(python, 'onedl-mmcv==2.3.6')

    def test_progress(self, tmp_path):
        log = tmp_path / 'log'
        log.write_text('')
        assert setup_env.progress(log) == 'starting'
        log.write_text('Collecting onedl-mmcv\n\n')
        assert setup_env.progress(log) == 'Collecting onedl-mmcv'
        log.write_text('[1/78] c++ a\n[2/78] c++ b\nwarning: c\n')
        assert setup_env.progress(log) == '2 of 78 files compiled'

    def test_runs_the_interpreter_of_the_environment(self, environment, monkeypatch):
        runs = []
        monkeypatch.setattr(setup_env, 'choose_environment', lambda: environment)
        monkeypatch.setattr(
            setup_env.os, 'execv', lambda *command: runs.append(command)
        )
        monkeypatch.chdir(environment.parent.parent)
        assert setup_env.main(['-m', 'pytest', '-k', 'pkd or fgd']) == 0
        python = str(environment)
        assert runs == [(python, [python, '-m', 'pytest', '-k', 'pkd or fgd'])]
        assert Path.cwd() == ROOT

    def test_problem_is_one_line_and_nothing_runs(self, monkeypatch, capsys):
        monkeypatch.setattr(setup_env.sys, 'version_info', (3, 9, 2))
        monkeypatch.setattr(setup_env.os, 'execv', pytest.fail)
        assert setup_env.main(['-m', 'pytest']) == 1
        assert capsys.readouterr().err.startswith(
            'error: Python 3.10 to 3.13 is needed'
        )
