"""The demo's methods and its table; its trainings are those of a comparison."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from aerialkd.comparison.trainings import MADE, seeded
from aerialkd.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch):
    """tools/demo.py as a module."""
    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools/demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(ROOT)
    return module


def test_methods_are_the_distillations_of_the_demo(demo):
    assert {'pkd', 'rdr-kd', 'rdr-kd-decoupled'} <= set(demo.methods_of('retinanet'))
    assert {'kd-rnet', 'kd-rnet-cls'} <= set(demo.methods_of('rotated-retinanet'))
    for detector, settings in demo.DEMOS.items():
        assert demo.chosen_methods(detector, None) == [settings.method]
        for method in demo.methods_of(detector):
            cfg = seeded(f'configs/demo/{method}_{detector}.py', 0)
            # LA and FA alone are other students, which no teacher has taught.
            assert ('teacher_ckpt' in cfg.model) == (method not in ('la', 'fa'))
            assert Path(cfg.work_dir).parent == settings.work_dir
            assert cfg.test_dataloader.dataset.data_root.rstrip('/') in MADE
    with pytest.raises(ConfigError, match='got kd-rnet, expected some of'):
        demo.chosen_methods('retinanet', ['pkd', 'kd-rnet'])


def test_the_demo_trains_evaluates_and_reports(demo, monkeypatch, capsys, tmp_path):
    done = []
    monkeypatch.setattr('sys.argv', ['demo.py', '--seeds', '0', '1'])
    monkeypatch.setattr(demo, 'make_data', lambda _: done.append('data'))
    monkeypatch.setattr(demo, 'train', lambda file, cfg: done.append(cfg.work_dir))
    monkeypatch.setattr(demo, 'run_tool', lambda *words: done.append(words))
    monkeypatch.setattr(demo, 'evaluate', lambda *_: {'AP': 1.0})
    settings = demo.DEMOS['retinanet']._replace(work_dir=tmp_path)
    monkeypatch.setitem(demo.DEMOS, 'retinanet', settings)
    demo.main()
    names = ('retinanet_teacher', 'retinanet_student', 'pkd_retinanet')
    folders = [f'work_dirs/demo/{seed}{n}' for seed in ('', 'seed_1/') for n in names]
    out = ('--out', tmp_path / 'report.html')
    assert done == ['data', *folders, ('report.py', *folders, *out)]
    assert '1.00 ± 0.00' in capsys.readouterr().out


def test_the_table_gives_means_and_spread(demo):
    rows = [{'AP': 10.0, 'GFLOPs': 2.0}, {'AP': 12.0, 'GFLOPs': 2.0}]
    header, row = demo.table({'student': rows}).splitlines()
    assert header.split() == ['AP', 'GFLOPs']
    assert row.split() == ['student', '11.00', '±', '1.41', '2.00']
    assert '±' not in demo.table({'student': rows[:1]})
