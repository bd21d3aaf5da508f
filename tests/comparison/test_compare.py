"""One method end to end: trained, measured, profiled, written; then left alone."""

import csv
from pathlib import Path

import pytest

from aerialkd.comparison.compare import Options, compare
from tests.comparison.miniature import NAME, write_pair


@pytest.mark.slow
def test_one_method_end_to_end(tmp_path, made_images, monkeypatch):
    write_pair(tmp_path, made_images)
    out = tmp_path / 'out'
    options = Options(NAME, seeds=1, out=out, configs=tmp_path / 'configs')
    text = compare(options)
    header, _, *rows = [line for line in text.splitlines() if line.startswith('|')]
    assert 'ratio' in header
    assert [row.split(' | ')[0].strip('| ') for row in rows] == [
        'teacher', 'student alone', 'pkd'
    ]  # fmt: skip
    assert 'not trained' not in text
    with (out / 'comparison.csv').open() as file:
        pkd = list(csv.DictReader(file))[2]
    assert float(pkd['step_ms']) > float(pkd['student_ms']) > 0
    assert pkd['epochs'] == '1'
    assert Path(pkd['checkpoint']).is_file()
    assert 'id="methods"' in (out / 'report.html').read_text()
    # Again: nothing is trained, measured or profiled.
    monkeypatch.setattr('subprocess.Popen', None)
    kept = (out / 'comparison.csv').read_text()
    options = Options(
        NAME, seeds=1, report=False, out=out, configs=tmp_path / 'configs'
    )
    assert compare(options) == text
    assert (out / 'comparison.csv').read_text() == kept
