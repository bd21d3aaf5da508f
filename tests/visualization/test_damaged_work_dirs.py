"""Every tool that reads a work dir, and one file of it damaged: never a traceback."""

import json
import math
import shutil
from datetime import datetime, timedelta

import pytest

from aerialkd.comparison.results import Result, read_csv, write_csv
from aerialkd.engine.evaluated_cache import NUMBERS
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.logs import read_logs
from tests.builders import retinanet
from tests.finished import CAR, evaluation, measured, write_work_dir
from tests.trained import visdrone_config

SESSION = '20250101_100000'
LOG = f'{SESSION}/{SESSION}.log'
SCALARS = f'{SESSION}/vis_data/scalars.json'
DUMPED = f'{SESSION}/vis_data/config.py'
STAMP = '2025/01/01 10:00:00 - mmengine - INFO - System environment:\n'
TRUTH = [((10.0, 10.0, 30.0, 30.0), CAR)]


def replaced_by_folder(file):
    file.unlink()
    file.mkdir()


JUNK = (
    '[1, "a", null]\n{"step": "x", "loss": null, "epoch": null}\nnull\n'
    '{"step": [1], "loss": {}, "iter": {}}\n{"step": 1, "visdrone/AP@500": "text"}\n'
    '{"step": 2, "loss": 1.0, "epoch": "1"}\n"x"\n' + '[' * 9999 + '\n'
)
NAN = (
    '{"step": NaN, "loss": NaN, "epoch": NaN}\n{"step": 1, "loss": Infinity, '
    '"epoch": 1}\n{"step": 1, "visdrone/AP@500": NaN}\n'
)
DAMAGES = {
    'emptied': lambda file: file.write_bytes(b''),
    'cut off': lambda file: file.write_bytes(file.read_bytes()[: -len(b'half of it')]),
    'binary': lambda file: file.write_bytes(bytes(range(256)) * 4),
    'another file': lambda file: file.write_text(JUNK),
    'not numbers': lambda file: file.write_text(NAN),
    'a folder': replaced_by_folder,
    'absent': lambda file: file.unlink(),
    'raises': lambda file: file.write_text('raise RuntimeError("broken")\n'),
    'of other types': lambda file: file.write_text('model = 7\nwork_dir = 5\n'),
    'an object': lambda file: file.write_text('{"run": 5, "key": [], "step": 1}'),
}


@pytest.fixture(scope='module')
def finished(tmp_path_factory, made_images):
    """Two work dirs with logs and kept evaluations; data to test on."""
    folder = tmp_path_factory.mktemp('finished')
    run = evaluation(measured(), TRUTH, TRUTH)
    for name in ('one', 'other'):
        cfg = visdrone_config(retinanet(10), made_images)
        work_dir = write_work_dir(folder / name, cfg, run)
        (work_dir / SESSION / 'vis_data').mkdir(parents=True)
        (work_dir / 'last_checkpoint').write_text(f'{work_dir / "epoch_1.pth"}\n')
        (work_dir / LOG).write_text(STAMP + STAMP)
        shutil.copy(work_dir / 'config.py', work_dir / DUMPED)
        rows = [
            {'loss': 2.0, 'epoch': 1, 'iter': 5, 'step': 5, 'time': 0.1},
            {**measured(), 'step': 1},
        ]
        text = ''.join(f'{json.dumps(row)}\n' for row in rows)
        (work_dir / SCALARS).write_text(text)
    return folder


FILES = (
    *('config.py', 'epoch_1.pth', 'last_checkpoint', 'evaluation.json'),
    *('evaluation.npz', LOG, SCALARS, DUMPED),
)
TOOLS = {
    'report': ('{one}', '{other}', '--no-evaluate', '--out', '{out}/report.html'),
    'table': ('{one}', '{other}'),
    'pr_curves': ('{one}', '--classes', 'car', '--out', '{out}/pr.png'),
    'show_gains': ('{one}', '{other}', '--out', '{out}/gains.png'),
    'test': ('{one}/config.py', '{one}/epoch_1.pth', '--work-dir', '{out}/test'),
}


# All read a work dir alike; those that draw a picture each time try what only they use.
CASES = [
    (tool, file)
    for tool in TOOLS
    for file in FILES
    if tool in ('report', 'table', 'test') or file.startswith('evaluation')
]


@pytest.mark.parametrize(('tool', 'file'), CASES)
def test_a_damaged_file(run, tmp_path, finished, tool, file, monkeypatch):
    # To draw charts, and to look at packages, takes seconds of each report.
    report = 'aerialkd.visualization.report'
    monkeypatch.setattr(f'{report}.page.versions_here', list)
    monkeypatch.setattr(f'{report}.svg._svg', lambda *_: '<svg></svg>')
    undamaged = shutil.copytree(finished, tmp_path / 'undamaged')
    for name, damage in DAMAGES.items():
        place = tmp_path / name.replace(' ', '_')
        shutil.copytree(undamaged, place)
        damage(place / 'one' / file)
        names = dict(one=place / 'one', other=place / 'other', out=place)
        words = [word.format(**names) for word in TOOLS[tool]]
        line, status = run(tool, *words)
        assert status in (0, None, 2), (name, line)
        if status == 2:
            assert line.startswith('error: '), (name, line)
            assert str(place) in line, (name, line)


def logged(work_dir, *rows):
    """A session with these lines of numbers."""
    file = work_dir / SCALARS
    file.parent.mkdir(parents=True)
    file.write_bytes(b''.join(rows))
    return work_dir


def test_lines_that_are_no_numbers_are_left_out(tmp_path, caplog):
    good = b'{"loss": 2.0, "epoch": 1, "step": 5, "note": "text"}\n'
    nan = b'{"loss": NaN, "epoch": 1, "step": 6}\n'
    bad = b'{"loss": 2.0, "epoch": null, "step": "5"}\n', b'\xff\x00\x80\n', b'7\n'
    log = read_logs(logged(tmp_path, good, *bad, nan, b'{"loss": 3, "st'))
    steps, values = zip(*log.losses['loss'], strict=True)
    assert (steps, values[0], math.isnan(values[1])) == ((5, 6), 2.0, True)


@pytest.mark.parametrize(
    ('stamps', 'minutes'),
    [
        (['10:00:00', '10:05:00', '10:30:00'], 30),
        (['10:00:00', '10:30:00', '08:00:06', '08:20:00'], None),
        (['12:00:00', '10:00:06'], None),
        (['10:00:00', '10:10:00', '10:09:59', '10:20:00'], 20),  # set by a second
        (['10:00:00', '2061/03/04 10:01:00'], None),
        (['10:00:00', '99:99:99', '10:03:00'], 3),
        (['99:99:99'], None),
    ],
)
def test_how_long_it_took(tmp_path, stamps, minutes):
    work_dir = logged(tmp_path, b'{"loss": 2.0, "epoch": 1, "step": 5}\n')
    stamps = [s if '/' in s else f'2025/01/01 {s}' for s in stamps]
    (work_dir / LOG).write_text(''.join(f'{s} - mmengine - INFO - x\n' for s in stamps))
    assert read_logs(work_dir).minutes == minutes


@pytest.mark.parametrize('day', ['2025/03/30', '2025/10/26'])
def test_an_hour_that_summer_time_moves_is_not_counted(tmp_path, monkeypatch, day):
    import time

    monkeypatch.setenv('TZ', 'Europe/Berlin')
    time.tzset()
    try:
        start = datetime.strptime(day, '%Y/%m/%d').timestamp()
        times = [datetime.fromtimestamp(start + 600 * i) for i in range(36)]
        lines = [f'{t:%Y/%m/%d %H:%M:%S} - mmengine - INFO - x\n' for t in times]
        work_dir = logged(tmp_path, b'{"loss": 2.0, "epoch": 1, "step": 5}\n')
        (work_dir / LOG).write_text(''.join(lines))
        assert read_logs(work_dir).minutes == 350
        assert times[-1] - times[0] != timedelta(minutes=350)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_result_that_is_no_number(tmp_path):
    result = Result('pair', 'PKD', 0, dict(AP=0.1))
    file = tmp_path / 'comparison.csv'
    for damage in ('nan', 'inf', 'text'):
        file.write_text(write_csv([result]).replace('10.0000', damage))
        with pytest.raises(ConfigError, match=r'comparison\.csv:2: got no result'):
            read_csv(file)


def test_a_kept_evaluation_of_other_types_is_left_out(run, tmp_path, finished):
    place = shutil.copytree(finished, tmp_path / 'finished')
    file = place / 'one' / NUMBERS
    content = json.loads(file.read_text())
    content['run']['metrics'] = {'visdrone/AP@500': 'high'}
    file.write_text(json.dumps(content))
    line, status = run('table', place / 'one')
    assert status == 2
    assert 'epoch_1.pth' in line  # which is evaluated anew, and is none here


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_work_dir_that_cannot_be_made(run, tmp_path, finished, tool):
    (tmp_path / 'file').write_text('x')
    words = [finished / 'one' / 'config.py']
    words += [finished / 'one' / 'epoch_1.pth'] if tool == 'test' else []
    for place in ('file', 'file/below', 'file/far/below'):
        line, status = run(tool, *words, '--work-dir', tmp_path / place)
        assert status == 2
        assert f'cannot be the work dir: {tmp_path / "file"} is no folder' in line


def test_outputs_that_cannot_be_written(run, tmp_path, finished):
    (tmp_path / 'file').write_text('x')
    one, out = finished / 'one', tmp_path / 'file' / 'out'
    for tool, *words in (
        ('report', one, '--no-evaluate', '--out', f'{out}.html'),
        ('table', one, '--out', f'{out}.md'),
        ('pr_curves', one, '--classes', 'car', '--out', f'{out}.png'),
    ):
        line, status = run(tool, *words)
        assert (status, line.startswith('error: ')) == (2, True), line
