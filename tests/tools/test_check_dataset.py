import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.miniatures import write_visdrone
from tests.processes import ROOT

CAR = '1,2,10,12,1,4,0,0'
TOOL = str(ROOT / 'tools' / 'check_dataset.py')
Outcome = tuple[int, list[str], str]


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Runs the tool as the command line does: status, lines and errors."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(TOOL, run_name='__main__')
        out, err = capsys.readouterr()
        return stop.value.code, out.splitlines(), err

    return run


def test_status_and_output(run: Callable[..., Outcome], tmp_path: Path) -> None:
    root = write_visdrone(tmp_path, {'a.jpg': [CAR], 'b.jpg': [CAR, '', CAR]})
    file = root / 'annotations' / 'b.txt'
    status, lines, errors = run('visdrone', tmp_path, '--quiet', '--workers', 2)
    assert (status, errors) == (1, '')
    assert lines[0] == (
        f'{file}:3: duplicate: got the object of line 1 again, same class and box, '
        'expected it once; delete one of them.'
    )
    assert lines[1] == f'{root}: 2 images, 2 annotation files'
    assert lines[-1] == '1 defect: duplicate (1)'
    file.write_text(CAR)
    status, lines, errors = run('visdrone', tmp_path)
    assert (status, lines[-1]) == (0, 'nothing wrong')
    assert '2/2' in errors


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('dota', 'nowhere'), 'error: nowhere: no data set of this layout: '),
        (('visdrone', '.', '--version', '1.0'), "error: version: got '1.0' for the "),
        (('visdrone', '.', '--workers', '0'), 'error: workers: got 0, expected at '),
        (('coco', '.'), 'usage: '),
        (('dota',), 'usage: '),
    ],
)
def test_wrong_usage(
    run: Callable[..., Outcome], arguments: tuple, message: str
) -> None:
    status, lines, errors = run(*arguments)
    assert (status, lines) == (2, [])
    assert errors.startswith(message)
