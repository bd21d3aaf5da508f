"""Means, spread, paired differences; what is missing is said."""

import pytest

from aerialkd.comparison.paper import TABLE_1, paper_table, read_paper
from aerialkd.comparison.table import (
    by_method,
    gain_over,
    method_table,
    paired,
    provenance,
)
from aerialkd.errors import ConfigError
from tests.comparison.made_results import result, three_seeds

MINUS = '\N{MINUS SIGN}'
TEACHER = three_seeds('teacher', 20.0, 22.0, 24.0)
ALONE = three_seeds('student alone', 10.0, 13.0, 10.0)
PKD = three_seeds('pkd', 11.0, 15.0, 13.0, step=80.4)


def rows_of(results, *methods):
    names = ('teacher', 'student alone', 'pkd', *methods)
    return by_method(results, names)


def cells(table, method):
    (row,) = [row for row in table.rows if row[0] == method]
    assert len(row) == len(table.header)
    return dict(zip(table.header, row, strict=True))


def test_means_spread_and_gains_paired_by_seed():
    table = method_table(rows_of([*TEACHER, *ALONE, *PKD]))
    assert table.header == [
        'method', 'seeds', 'AP', 'AP50', 'AP to student', 'step, ms', 'ratio',
        'memory, MiB',
    ]  # fmt: skip
    pkd = cells(table, 'pkd')
    assert pkd['seeds'] == '3'
    assert pkd['AP'] == '13.00 ± 2.00'
    assert pkd['AP50'] == '26.00 ± 4.00'
    # 1, 2 and 3: their deviation is 1, that of unpaired differences would be above 2.
    assert pkd['AP to student'] == '+2.00 ± 1.00'
    assert (pkd['step, ms'], pkd['ratio'], pkd['memory, MiB']) == (
        '80', '1.250', f'{MINUS}3'
    )  # fmt: skip
    assert cells(table, 'student alone')['AP to student'] == '-'
    assert cells(table, 'teacher')['AP to student'].startswith('+11.00 ± ')
    text = table.markdown()
    assert text.splitlines()[1].startswith('| --- | ---: |')
    assert 'sample standard deviation' in text
    assert 'all on abacus: 8 images.' in text


def test_order_of_results_does_not_matter():
    timed = [result('mgd', seed, 1.0, step=70.0 + seed) for seed in (0, 1)]
    results = [*TEACHER, *ALONE, *PKD, *timed]
    table = method_table(rows_of(results, 'mgd'))
    assert table == method_table(rows_of(results[::-1], 'mgd'))
    assert cells(table, 'mgd')['step, ms'] == '70'


def test_a_loss_has_a_true_minus():
    rows = rows_of([*ALONE, *three_seeds('pkd', 9.5, 12.5, 9.5)])
    assert cells(method_table(rows), 'pkd')['AP to student'] == f'{MINUS}0.50 ± 0.00'


def test_seeds_that_are_missing():
    rows = rows_of([*ALONE[:2], *PKD[1:]], 'mgd')
    table = method_table(rows)
    assert paired(rows['pkd'], rows['student alone'], 'AP') == pytest.approx([0.02])
    assert cells(table, 'pkd')['AP to student'] == '+2.00 (1 pair)'
    assert cells(table, 'pkd')['seeds'] == '2'
    mgd = cells(table, 'mgd')
    assert (mgd['seeds'], mgd['AP']) == ('0', 'not trained')
    assert set(mgd.values()) == {'mgd', '0', 'not trained', '-'}
    one = method_table(rows_of([*ALONE, PKD[0]]))
    assert cells(one, 'pkd')['seeds'] == '1 of 3'
    assert cells(one, 'pkd')['AP'] == '11.00'
    assert gain_over(rows['pkd'], {}, 'AP') == '-'


def test_a_measure_without_ground_truth_has_no_column():
    assert 'AP_L' not in method_table(rows_of(PKD)).header
    nothing = method_table(rows_of([]))
    assert nothing.header[2] == 'AP'
    assert all(row[2] == 'not trained' for row in nothing.rows)


def test_measures_of_rotated_boxes():
    results = [
        result(m, 0, 10.0).__class__('pair', m, 0, dict(mAP50=0.3, AP75=0.1, mAP=v))
        for m, v in (('student alone', 0.2), ('pkd', 0.25))
    ]
    table = method_table(rows_of(results))
    assert table.header[2:6] == ['mAP', 'mAP50', 'AP75', 'mAP to student']
    assert cells(table, 'pkd')['mAP to student'] == '+5.00'


def test_times_of_two_machines_do_not_stand_in_one_table():
    """Those of the machine that has timed most methods do."""
    results = [
        *three_seeds('pkd', 11.0, 12.0, step=80.0),
        *three_seeds('mgd', 11.0, 12.0, step=81.0),
        *three_seeds('ld', 11.0, 12.0, 13.0, step=9.0, profiled='computer'),
    ]
    table = method_table(rows_of(results, 'mgd', 'ld'))
    assert cells(table, 'mgd')['step, ms'] == '81'
    assert cells(table, 'ld')['step, ms'] == '-'
    assert not any('computer' in note for note in table.notes)


def test_provenance_names_data_seeds_machines_and_days():
    other = result('mgd', 4, 1.0, machine='computer', date='2025-02-02')
    said = ' '.join(provenance([*PKD, other]))
    assert 'Data: made: 2 images, 3 boxes. Seeds: 0, 1, 2, 4.' in said
    assert 'abacus, 1 thread, torch 2.9, aerialkd 0.1, 2025-01-01; computer' in said
    assert provenance([]) == []


def test_the_paper_beside_ours():
    rows = rows_of([*ALONE, *PKD, *three_seeds('amd', 12.0)], 'amd')
    table = paper_table(rows)
    baseline, cwd, *_ = table.rows
    assert baseline[:6] == ['-', 'Baseline', '18.8', '-', '11.00 ± 1.73', '-']
    assert cwd[:6] == ['Feature', 'CWD', '19.4', '+0.6', 'not trained', '-']
    pkd = next(row for row in table.rows if row[1] == 'PKD')
    assert pkd[2:6] == ['20.2', '+1.4', '13.00 ± 2.00', '+2.00 ± 1.00']
    assert pkd[6] == '+2.5 / +4.00 ± 2.00'
    assert table.rows[5][1:6] == ['AWD', '21.1', '+2.3', '12.00', '+2.00']
    assert len(table.rows) == 17


def test_the_papers_gains_are_those_that_it_prints():
    paper = read_paper(TABLE_1)
    printed = dict(
        cwd=0.6, mgd=0.9, fgd=1.2, pkd=1.4, amd=2.3, wsld=1.3, ld=1.7, dkd=1.8, nkd=2.2
    ) | {
        'cross-kd': 2.6, 'cwd-wsld': 2.4, 'mgd-wsld': 2.6, 'mgd-dkd': 2.8,
        'pkd-nkd': 2.8, 'pkd-dkd': 2.9, 'rdr-kd': 3.3,
    }  # fmt: skip
    gains = {
        k: float(v['AP']) - float(paper['baseline']['AP']) for k, v in paper.items()
    }
    assert gains == pytest.approx(printed | {'baseline': 0})


def test_a_paper_without_a_baseline_is_refused(tmp_path):
    file = tmp_path / 'paper.csv'
    file.write_text('method,AP\npkd,1.0\n')
    with pytest.raises(ConfigError, match='expected a row baseline'):
        paper_table({}, file)
    with pytest.raises(ConfigError, match='cannot be read'):
        paper_table({}, tmp_path / 'gone.csv')
