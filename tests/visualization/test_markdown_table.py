"""The table of table.py: rows, numbers, what is evaluated and what is read."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.engine import evaluated
from aerialkd.engine.variants import variants
from aerialkd.errors import ConfigError
from aerialkd.visualization.markdown_table import markdown_tables
from tests.builders import retinanet
from tests.finished import CAR, MOTOR, evaluation, measured, write_work_dir
from tests.trained import visdrone_config

TOOL = Path(__file__).parents[2] / 'tools' / 'table.py'
CARS = [((10.0, 10.0, 30.0, 30.0), CAR), ((50.0, 10.0, 70.0, 30.0), CAR)]
WRONG = [((200.0, 200.0, 230.0, 230.0), CAR)]


def work_dir(folder, run, others=None, seed=0, data='data'):
    cfg = visdrone_config(retinanet(10), Path(data), seed=seed)
    return write_work_dir(folder, cfg, run, others)


def tables(*work_dirs, **options):
    """Cells of each table, without the row of dashes; and the text below."""
    text = markdown_tables(work_dirs, device='cpu', **options)
    *parts, notes = text.strip().split('\n\n')
    grids = []
    for part in parts:
        if not part.startswith('|'):
            continue
        rows = [line.strip('| ').split(' | ') for line in part.splitlines()]
        assert all(len(row) == len(rows[0]) for row in rows)
        assert all(set(cell) <= set('-:') for cell in rows[1])
        grids.append([rows[0], *rows[2:]])
    return grids, notes


def test_one_run(tmp_path):
    folder = work_dir(tmp_path / 'student', evaluation(measured(0.01234), CARS))
    ((header, row),), notes = tables(folder)
    assert dict(zip(header, row, strict=True)) == {
        'run': 'student',
        'mAP': '1.23',
        'AP50': '2.47',
        'AP75': '3.70',
        'AP_S': '4.94',
        'AP_M': '6.17',
        'AP_L': '-',
        'AR_S': '8.64',
        'AR_M': '9.87',
        'AR_L': '-',
        'input': '96 x 64',
        'M params': '1.50',
        'GMACs': '2.00',
        'ms an image': '25.0',
    }
    assert 'At most the 500 best detections' in notes
    assert '±' not in notes


def test_seeds_are_one_row(tmp_path):
    folders = [
        work_dir(tmp_path / f'seed_{n}' / 'student', evaluation(measured(ap)), seed=n)
        for n, ap in ((0, 0.10), (1, 0.12))
    ]
    ((_, row),), notes = tables(*folders)
    assert row[:2] == ['student, 2 runs', '11.00 ± 1.41']
    assert '± is the sample standard deviation' in notes


def test_number_of_detections(tmp_path):
    metrics = measured(0.1) | {'visdrone/AP_at_1': 0.03}
    run = evaluation(metrics, CARS, CARS)
    folder = work_dir(tmp_path / 'student', run)
    grids, notes = tables(folder, max_dets=1, classes=True)
    assert grids[0][1][1:3] == ['3.00', '-']
    assert grids[1][1][1 + CAR] == '50.50'  # 51 of 101 recalls: one of two cars
    assert 'At most the 1 best' in notes
    assert tables(folder, max_dets=100)[0][0][1][1] == '5.00'
    with pytest.raises(ConfigError, match=r'got 7, expected .*: 1, 100, 500\.'):
        tables(folder, max_dets=7)


def test_variants_are_rows_kept_in_folders_of_their_own(tmp_path):
    listed = variants([64, 128], [2])
    assert listed[1].label == 'size 64'  # as configured: nothing else is kept
    others = {
        listed[2]: evaluation(measured(0.2)),
        listed[3]: evaluation(measured(0.3)),
    }
    folder = work_dir(tmp_path / 'student', evaluation(measured(0.1)), others)
    ((header, *rows),), _ = tables(folder, variants=listed)
    assert header[:3] == ['run', 'variant', 'mAP']
    assert [row[1:3] for row in rows] == [
        ['whole image', '10.00'],
        ['size 64', '10.00'],
        ['size 128', '20.00'],
        ['background 2x', '30.00'],
    ]


def test_classes(tmp_path):
    found = [CARS[0], *WRONG, CARS[1], (CARS[1][0], MOTOR)]
    folder = work_dir(tmp_path / 'student', evaluation(measured(), CARS, found))
    (_, (header, row)), _ = tables(folder, classes=True)
    cells = dict(zip(header, row, strict=True))
    # Precision 1 up to recall 1/2, then 2/3.
    assert cells.pop('car') == f'{100 * (51 + 50 * 2 / 3) / 101:.2f}'
    assert cells.pop('run') == 'student'
    assert set(cells.values()) == {'-'}
    assert len(cells) == 9


def test_other_evaluators_keep_their_measures(tmp_path):
    metrics = {'rotated/mAP50': 0.5, 'rotated/AP75': 0.3, 'rotated/mAP': 0.2}
    run = evaluation(metrics | {'rotated/mAP50_11': 0.6, 'rotated/ship/AP50': 0.9})
    ((header, row),), _ = tables(work_dir(tmp_path / 'student', run))
    assert header[:5] == ['run', 'mAP50', 'AP75', 'mAP', 'input']
    assert row[1:4] == ['50.00', '30.00', '20.00']
    with pytest.raises(ConfigError, match=r'got 100, .* were measured: none\.'):
        tables(tmp_path / 'student', max_dets=100)


def test_other_data_get_tables_of_their_own(tmp_path):
    one = work_dir(tmp_path / 'one', evaluation(measured(), CARS))
    run = evaluation(measured(), CARS)
    other = replace(run, images=(replace(run.images[0], path='b.jpg'),))
    two = work_dir(tmp_path / 'two', other, data='others')
    assert len(tables(one, two)[0]) == 2
    text = markdown_tables([one, two], device='cpu')
    assert text.startswith('## VisDroneDataset data/val\n\n')
    assert '\n\n## VisDroneDataset others/val\n\n' in text


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_the_tool_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    folder = work_dir(tmp_path / 'student', evaluation(measured()))
    out = tmp_path / 'tables' / 'sizes.md'
    run_tool(monkeypatch, folder, '--sizes', 64, '--device', 'cpu', '--out', out)
    assert out.read_text() == capsys.readouterr().out
    assert '| student | size 64 | 10.00 |' in out.read_text()


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    folder = work_dir(tmp_path / 'student', evaluation(measured()))
    (folder / 'epoch_1.pth').unlink()
    with pytest.raises(SystemExit) as stopped:
        run_tool(monkeypatch, folder)
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f'error: {folder}: not evaluated: there is no checkpoint'


def test_what_is_evaluated_is_kept(made_images, tmp_path, monkeypatch):
    cfg = visdrone_config(retinanet(10), made_images)
    folder = tmp_path / 'student'
    folder.mkdir()
    cfg.dump(folder / 'config.py')
    state = MODELS.build(cfg.model).state_dict()
    torch.save({'state_dict': state}, folder / 'epoch_1.pth')
    listed = variants([32], [1])
    ((header, *rows),), notes = tables(folder, variants=listed)
    column = header.index('input')
    assert [row[column] for row in rows] == ['64 x 64', '32 x 32', '64 x 64']
    kept = {file.parent.name for file in folder.rglob('evaluation.json')}
    assert kept == {'student', 'size_32', 'background_1x'}
    monkeypatch.setattr(evaluated, 'build_test_runner', None)
    assert tables(folder, variants=listed) == ([[header, *rows]], notes)
