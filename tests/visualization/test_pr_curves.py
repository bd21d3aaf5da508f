"""The curves that pr_curves.py draws, and its errors."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerialkd.errors import ConfigError
from aerialkd.visualization import pr_curves as module
from aerialkd.visualization.pr_curves import pr_curves
from tests.builders import retinanet
from tests.finished import CAR, MOTOR, evaluation, measured, write_work_dir
from tests.trained import visdrone_config

TOOL = Path(__file__).parents[2] / 'tools' / 'pr_curves.py'
SMALL = [((10.0, 10.0, 30.0, 30.0), CAR), ((50.0, 10.0, 70.0, 30.0), CAR)]
MEDIUM = ((100.0, 100.0, 160.0, 160.0), CAR)
MOTORS = [((200.0, 10.0, 220.0, 30.0), MOTOR)]
WRONG = ((200.0, 200.0, 230.0, 230.0), CAR)
TRUTH = [*SMALL, MEDIUM, *MOTORS]


@pytest.fixture
def runs(tmp_path):
    """One run finds everything, with a false car; another only the first car, badly."""
    shifted = ((10.0, 10.0, 30.0, 24.5), CAR)  # IoU .725
    return [
        work_dir(tmp_path / 'good', [SMALL[0], WRONG, SMALL[1], MEDIUM, *MOTORS], 8),
        work_dir(tmp_path / 'bad', [shifted], 16),
    ]


def work_dir(folder, found, width, path='a.jpg'):
    run = evaluation(measured(), TRUTH, found)
    run = replace(run, images=(replace(run.images[0], path=path),))
    cfg = visdrone_config(retinanet(10, width=width), Path('data'))
    return write_work_dir(folder, cfg, run)


@pytest.fixture
def axes(runs, monkeypatch):
    """Panels by title."""

    def drawn(*args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(module, '_pixels', lambda figure: figure)
            figure = pr_curves(runs, *args, device='cpu', **options)
        return {axis.get_title(): axis for axis in figure.axes}

    return drawn


def curves(axis):
    """(recalls, precisions) of lines that have any."""
    lines = [np.array(line.get_data()) for line in axis.lines]
    return [line for line in lines if line.size]


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_panel_for_each_class_and_size(axes):
    panels = axes(['motor', 'car'], ['large', 'small', 'all'])
    assert list(panels) == [
        'motor, large (0 objects)',
        'motor, small (1 objects)',
        'motor, all (1 objects)',
        'car, large (0 objects)',
        'car, small (2 objects)',
        'car, all (3 objects)',
    ]
    empty = panels['car, large (0 objects)']
    assert not curves(empty)
    assert [text.get_text() for text in empty.texts] == ['no objects']
    assert legend(panels['motor, all (1 objects)']) == ['100.0', '0.0']


def test_worked_example(axes):
    panels = axes(['car'])
    small = panels['car, small (2 objects)']
    good, bad = curves(small)
    # Precision 1 up to recall 1/2, then 2/3 up to 1.
    assert good[0].tolist() == pytest.approx(np.linspace(0, 1, 101))
    assert good[1].tolist() == pytest.approx([1] * 51 + [2 / 3] * 50)
    # One of two objects: down to 0 behind recall 1/2, and no further.
    assert bad[1].tolist() == [1] * 51 + [0]
    assert bad[0].tolist() == pytest.approx(np.arange(52) / 100)
    assert legend(small) == [f'{100 * (51 + 50 * 2 / 3) / 101:.1f}', '50.5']
    medium = panels['car, medium (1 objects)']
    assert legend(medium) == ['100.0', '0.0']
    assert curves(medium)[1].tolist() == [[0], [0]]


def test_threshold(axes):
    (panel,) = axes(['car'], ['small'], iou=0.7).values()
    assert legend(panel)[1] == '50.5'
    (panel,) = axes(['car'], ['small'], iou=0.75).values()
    assert legend(panel)[1] == '0.0'


def test_mistakes_are_named(runs, tmp_path):
    with pytest.raises(ConfigError, match='got lorry, expected some of pedestrian, '):
        pr_curves(runs, ['car', 'lorry'], device='cpu')
    with pytest.raises(ConfigError, match=r'iou: got 0\.52, expected one of 0\.50, '):
        pr_curves(runs, ['car'], iou=0.52)
    other = work_dir(tmp_path / 'other', [MEDIUM], 8, path='b.jpg')
    with pytest.raises(ConfigError, match='got runs on 2 sets of classes or test data'):
        pr_curves([*runs, other], ['car'], device='cpu')


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_the_tool_writes_a_picture(runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'drawn' / 'pr.png'
    options = ['--classes', 'car', '--sizes', 'small', '--device', 'cpu', '--out', out]
    run_tool(monkeypatch, *runs, *options)
    picture = cv2.imread(str(out))
    height, width = picture.shape[:2]
    assert capsys.readouterr().out == f'{out}: {width}x{height}\n'
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    # The lines' colours: orange and green of Okabe and Ito, as BGR.
    for color in ((0, 94, 213), (115, 158, 0)):
        assert (picture == color).all(axis=2).sum() > 100
    with pytest.raises(SystemExit) as stopped:
        run_tool(monkeypatch, *runs, '--classes', 'lorry', '--device', 'cpu')
    assert stopped.value.code == 2
    assert 'Traceback' not in capsys.readouterr().err
