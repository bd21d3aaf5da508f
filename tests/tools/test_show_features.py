import runpy
import sys
from pathlib import Path

import cv2
import pytest

from tests.builders import distill, pkd_distiller
from tests.exports import build, config, image, save

TOOL = Path(__file__).parents[2] / 'tools' / 'show_features.py'


@pytest.fixture
def files(tmp_path):
    """Config, checkpoint and image of a distilled run."""
    mapping = dict(pkd=dict(recorder='fpn'))
    model = distill(distiller=pkd_distiller(loss_forward_mappings=mapping))
    model.teacher_ckpt = str(save(build(model.teacher), tmp_path / 'teacher.pth'))
    config(model).dump(tmp_path / 'config.py')
    cv2.imwrite(str(tmp_path / 'image.png'), image(64, 96))
    checkpoint = save(build(model), tmp_path / 'epoch_1.pth')
    return [tmp_path / 'config.py', checkpoint, tmp_path / 'image.png']


@pytest.fixture
def show(monkeypatch):
    """Run the tool in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_writes_the_sheet(tmp_path, files, show, capsys):
    out = tmp_path / 'drawn' / 'features.png'
    show(*files, '--out', out, '--record', 'fpn')
    height, width = cv2.imread(str(out)).shape[:2]
    assert capsys.readouterr().out == f'{out}: {width}x{height}, 4 levels\n'


def test_options_reach_the_views(tmp_path, files, show, capsys):
    (tmp_path / 'teacher.pth').rename(tmp_path / 'moved.pth')
    out = tmp_path / 'features.jpg'
    teacher = ['--teacher-checkpoint', tmp_path / 'moved.pth']
    mapping = 'model.distiller.loss_forward_mappings.pkd'
    show(*files, '--out', out, *teacher, '--cfg-options', f'{mapping}.levels=[0,2]')
    assert ', 2 levels\n' in capsys.readouterr().out
    assert out.is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--record', 'neck'], "record: got 'neck', expected one of the recorders"),
        (['--teacher-checkpoint', 'none.pth'], 'got none.pth, expected the file'),
        (['--out', 'features.gif'], 'must end in .png or .jpg'),
    ],
)
def test_errors_are_one_line(tmp_path, files, show, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        show(*files, '--out', tmp_path / 'features.png', *arguments)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.count('\n') == 1
    assert message in printed.err
    assert not (tmp_path / 'features.png').exists()
