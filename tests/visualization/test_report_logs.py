"""Logs of resumed, interrupted and repeated trainings."""

import json

from aerialkd.visualization.report.logs import read_logs


def session(work_dir, stamp, rows, log=''):
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
    if log:
        (work_dir / stamp / f'{stamp}.log').write_text(log)


def step(iteration, epoch, loss):
    return {
        'loss': loss,
        'lr': 0.1,
        'epoch': epoch,
        'iter': iteration,
        'step': iteration,
    }


def validation(epoch, ap):
    return {'visdrone/AP_at_500': ap, 'time': 0.1, 'data_time': 0.2, 'step': epoch}


def test_a_resumed_epoch_counts_once(tmp_path):
    first = [step(5, 1, 9.0), step(10, 1, 8.0), validation(1, 0.1), step(15, 2, 7.0)]
    session(tmp_path, '20250101_100000', first)
    second = [step(15, 2, 6.5), step(20, 2, 6.0), validation(2, 0.2)]
    session(tmp_path, '20250101_110000', second)
    log = read_logs(tmp_path)
    assert log.losses == {'loss': [(5, 9.0), (10, 8.0), (15, 6.5), (20, 6.0)]}
    assert log.validations == [
        (1, {'visdrone/AP_at_500': 0.1}),
        (2, {'visdrone/AP_at_500': 0.2}),
    ]


def test_a_resumed_epoch_with_another_log_interval_counts_once(tmp_path):
    session(tmp_path, '20250101_100000', [step(10, 1, 9), step(14, 2, 7)])
    session(tmp_path, '20250101_110000', [step(15, 2, 6)])
    assert read_logs(tmp_path).losses['loss'] == [(10, 9), (15, 6)]


def test_a_new_start_replaces_the_old_training(tmp_path):
    session(tmp_path, '20250101_100000', [step(5, 1, 9), validation(1, 0.1)])
    session(tmp_path, '20250101_110000', [step(5, 1, 3)])
    log = read_logs(tmp_path)
    assert log.losses == {'loss': [(5, 3)]}
    assert log.validations == []


def test_iterations_are_joined_alike(tmp_path):
    def row(iteration, loss):
        return {'loss': loss, 'iter': iteration, 'step': iteration}

    session(tmp_path, '20250101_100000', [row(100, 4), row(200, 3)])
    session(tmp_path, '20250101_110000', [row(200, 2), row(300, 1)])
    log = read_logs(tmp_path)
    assert log.losses['loss'] == [(100, 4), (200, 2), (300, 1)]
    assert not log.by_epoch


def test_an_interrupted_log_and_a_test_are_read(tmp_path):
    session(tmp_path, '20250101_100000', [step(5, 1, 9), '{"loss": 3, "ste'])
    session(tmp_path, '20250102_100000', [])  # tools/test.py in the same work dir
    (tmp_path / '20250103_100000').mkdir()
    assert read_logs(tmp_path).losses == {'loss': [(5, 9)]}


def test_every_loss_and_nothing_else(tmp_path):
    row = step(5, 1, 9) | {'student.loss_cls': 1.0, 'distill.loss_pkd': 2.0}
    session(tmp_path, '20250101_100000', [row])
    assert set(read_logs(tmp_path).losses) == {
        'loss',
        'student.loss_cls',
        'distill.loss_pkd',
    }


def test_times_of_all_sessions_are_added(tmp_path):
    text = (
        '{day} 10:00:00 - mmengine - INFO - \n' + '-' * 60 + '\n'
        'System environment:\n    Python: 3.11\n  - Build settings: {day}\n'
        + '-' * 60
        + '\n{day} 10:06:30 - mmengine - INFO - done\n'
    )
    for day in ('01', '02'):
        log = text.format(day=f'2025/01/{day}')
        session(tmp_path, f'202501{day}_100000', [step(5, int(day), 9)], log)
    log = read_logs(tmp_path)
    assert log.minutes == 13
    assert f'{log.sessions[0][0]:%d.%m. %H:%M}' == '01.01. 10:00'
    assert log.environment.split() == ['Python:', '3.11']
