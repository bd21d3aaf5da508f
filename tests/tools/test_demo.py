"""The demo's bookkeeping: what is trained, resumed, left alone; its table."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest

from aerialkd.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch):
    """tools/demo.py as a module, with the tools that it runs written down."""
    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools/demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(ROOT)
    module.commands = []
    monkeypatch.setattr(module, 'run', lambda *c: module.commands.append(c))
    return module


def placed(demo, tmp_path, name, seed=0):
    """A run of the demo whose work dir is in a temporary folder."""
    cfg = demo.seeded(name, seed)
    cfg.work_dir = str(tmp_path / name)
    return cfg


def test_a_student_is_taught_by_the_teacher_of_its_seed(demo):
    for seed in (0, 3):
        teacher = demo.seeded('retinanet_teacher', seed)
        student = demo.seeded('pkd_retinanet', seed)
        assert student.randomness.seed == seed
        assert student.model.teacher_ckpt == str(demo.last_checkpoint(teacher))
    assert demo.seeded('pkd_retinanet', 0).work_dir == 'work_dirs/demo/pkd_retinanet'


def test_methods_are_the_distillations_of_the_demo(demo):
    assert {'pkd', 'rdr-kd', 'rdr-kd-decoupled'} <= set(demo.methods_of('retinanet'))
    assert {'kd-rnet', 'kd-rnet-cls'} <= set(demo.methods_of('rotated-retinanet'))
    for detector, settings in demo.DEMOS.items():
        assert demo.chosen_methods(detector, None) == [settings.method]
        for method in demo.methods_of(detector):
            cfg = demo.seeded(f'{method}_{detector}', 0)
            # LA and FA alone are other students, which no teacher has taught.
            assert ('teacher_ckpt' in cfg.model) == (method not in ('la', 'fa'))
            assert Path(cfg.work_dir).parent == settings.work_dir
    with pytest.raises(ConfigError, match='got kd-rnet, expected some of pkd'):
        demo.chosen_methods('retinanet', ['pkd', 'kd-rnet'])


def test_the_seed_0_needs_no_option_that_the_config_does_not_have(demo):
    """`tools/train.py configs/demo/...` alone repeats the demo's trainings."""
    from_file = demo.read_config('configs/demo/pkd_retinanet.py')
    seeded = demo.seeded('pkd_retinanet', 0)
    assert all(from_file[key] == seeded[key] for key in (*demo.DECISIVE, 'work_dir'))


def test_training_starts_goes_on_and_is_not_repeated(demo, tmp_path):
    cfg = placed(demo, tmp_path, 'retinanet_student', seed=2)
    demo.train('retinanet_student', cfg)
    assert 'randomness.seed=2' in demo.commands[-1]
    work_dir = Path(cfg.work_dir)
    work_dir.mkdir()
    cfg.dump(work_dir / 'retinanet_student.py')
    demo.train('retinanet_student', cfg)
    # Whether there is something to go on from is the training's business.
    assert all('--resume' in command for command in demo.commands)
    (work_dir / demo.last_checkpoint(cfg).name).write_bytes(b'')
    demo.train('retinanet_student', cfg)
    assert len(demo.commands) == 2


def test_a_training_of_another_config_is_not_taken_for_this_one(demo, tmp_path):
    cfg = placed(demo, tmp_path, 'retinanet_student')
    Path(cfg.work_dir).mkdir()
    before = copy.deepcopy(cfg)
    before.model.backbone.depth = 50
    before.dump(Path(cfg.work_dir) / 'retinanet_student.py')
    with pytest.raises(ConfigError, match='another config'):
        demo.train('retinanet_student', cfg)


def test_the_table_gives_means_and_spread(demo):
    rows = [{'AP': 10.0, 'GFLOPs': 2.0}, {'AP': 12.0, 'GFLOPs': 2.0}]
    header, row = demo.table({'student': rows}).splitlines()
    assert header.split() == ['AP', 'GFLOPs']
    assert row.split() == ['student', '11.00', '±', '1.41', '2.00']
    assert '±' not in demo.table({'student': rows[:1]})
