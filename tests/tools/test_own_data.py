"""docs/own_data.md does what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.registry import DATASETS, METRICS, MODELS, DefaultScope

from aerialkd.cli import read_config
from aerialkd.engine.classes import check_classes
from tests.dota_scenes import line, rectangle, write_scenes
from tests.processes import ROOT

PAGE = (ROOT / 'docs/own_data.md').read_text(encoding='utf-8')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configs of the page and the data that it speaks of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    for name, text in re.findall(r'```python\n# (\w+\.py)\n(.*?)```', PAGE, re.S):
        (tmp_path / name).write_text(text)
    text = (tmp_path / 'teacher.py').read_text()
    (tmp_path / 'student.py').write_text(text.replace('r50', 'r18'))
    box = line(rectangle(40, 40, 20, 8, 30), 'insulator')
    for split in ('train', 'val'):
        write_scenes(tmp_path / 'data/pylons' / split, {'0001': [box], '0002': []})
    return tmp_path


def test_from_scenes_to_a_student(checkout: Path, run: Callable) -> None:
    commands = re.findall(r'^python tools/(.*)$', PAGE.replace('\\\n', ' '), re.M)
    ours = [c for c in commands if c.startswith(('check_dataset', 'split_dota'))]
    assert len(ours) == 3
    for command in ours:
        tool, *arguments = shlex.split(command)
        assert run(tool.removesuffix('.py'), *arguments)[1] == 0
    for name in ('teacher.py', 'student.py'):
        cfg = read_config(checkout / name)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            check_classes(cfg, MODELS.build(cfg.model), LOADERS)
            METRICS.build(cfg.test_evaluator)
            for loader in LOADERS:
                dataset = DATASETS.build(cfg[loader].dataset)
                assert dataset.metainfo['classes'] == ('insulator',)
                assert 0 in dataset.get_cat_ids(0)
    distilled = read_config(checkout / 'distilled.py')
    assert distilled.model.architecture.bbox_head.num_classes == 1
    assert distilled.model.architecture.backbone.depth == 18
    assert distilled.train_dataloader.dataset.classes == ('insulator',)
