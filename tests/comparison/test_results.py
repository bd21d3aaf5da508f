"""Results in CSV files, and results of several places."""

from dataclasses import replace

import pytest

from aerialkd.comparison.results import join, read_csv, write_csv
from aerialkd.errors import ConfigError
from tests.comparison.made_results import result


def test_csv_round_trip(tmp_path):
    results = [
        result('pkd', 0, 12.3456, step=80.5, note='one, "two"'),
        replace(result('teacher', 1, 20.0), measures=dict(AP_L=0.5)),
    ]
    file = tmp_path / 'comparison.csv'
    file.write_text(write_csv(results))
    again = read_csv(file)
    assert [r.key for r in again] == [r.key for r in results]
    assert again[0].measures == pytest.approx(results[0].measures, abs=1e-9)
    assert again[1].measures == {'AP_L': 0.5}
    assert [r.costs for r in again] == [r.costs for r in results]
    assert [r.origin for r in again] == [r.origin for r in results]
    assert write_csv(again) == file.read_text()
    assert ',12.3456,24.6912,' in file.read_text()  # percent


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'got no rows'),
        ('method,seed\npkd,0\n', 'got no pair'),
        ('pair,method,seed,AP\np,pkd,zero,1\n', r'csv:2: got no result'),
        ('pair,method,seed,AP\np,pkd,0,1\np,pkd,1,much\n', r'csv:3: got no result'),
        ('pair,method,seed,AP\np,pkd\n', r'csv:2: got no result'),
        ('pair,method,seed,AP\np,pkd,0,1,2\n', r'csv:2: got no result'),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    file = tmp_path / 'a.csv'
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_csv(file)
    with pytest.raises(ConfigError, match=r'gone\.csv: cannot be read'):
        read_csv(tmp_path / 'gone.csv')


def test_results_of_two_places_are_joined():
    here = [result('pkd', 0, 10.0)]
    there = [result('pkd', 0, 10.002, step=70.0), result('pkd', 1, 11.0)]
    joined = join([*here, *there])
    assert [r.key for r in joined] == [('pair', 'pkd', 0), ('pair', 'pkd', 1)]
    assert joined[0].measures == here[0].measures
    assert joined[0].costs['step_ms'] == 70.0  # known there alone
    assert joined[0].origin['profiled'] == 'abacus'


def test_what_is_known_here_stays():
    here, there = result('pkd', 0, 10.0, step=60.0), result('pkd', 0, 10.0, step=70.0)
    assert join([here, there])[0].costs['step_ms'] == 60.0


def test_a_result_agrees_with_its_own_csv(tmp_path):
    """15.874996 is 15.8750 there: 15.87 and 15.88 when printed."""
    here = replace(result('pkd', 0, 10.0), measures=dict(AP=0.15874996))
    file = tmp_path / 'earlier.csv'
    file.write_text(write_csv([here]))
    (joined,) = join([here, *read_csv(file)])
    assert joined.measures == here.measures


def test_contradictions_are_errors():
    with pytest.raises(ConfigError, match=r"two results of pkd, seed 0: .*'10\.00'"):
        join([result('pkd', 0, 10.0), result('pkd', 0, 10.01)])
    less = replace(result('pkd', 0, 10.0), measures=dict(AP=0.1))
    with pytest.raises(ConfigError, match='two results of pkd'):
        join([result('pkd', 0, 10.0), less])
    other = result('teacher', 1, 20.0, data='others')
    with pytest.raises(ConfigError, match='pkd, seed 0, and teacher, seed 1, do not'):
        join([result('pkd', 0, 10.0), other])
    configs = [result('pkd', seed, 10.0, config=str(seed)) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="the config '0' and '1'"):
        join(configs)
    digests = [
        result('teacher', 0, 20.0, checkpoint_sha256='a' * 64),
        result('pkd', 0, 10.0, checkpoint_sha256='b' * 64, teacher_sha256='a' * 64),
        result('pkd', 1, 10.0, checkpoint_sha256='b' * 64, teacher_sha256='c' * 64),
    ]
    join(digests)
    retrained = replace(digests[0], origin=dict(checkpoint_sha256='d' * 64))
    with pytest.raises(ConfigError, match='have the teacher_sha256'):
        join([retrained, *digests[1:]])
    data = [result('pkd', n, 10.0, train_data_sha256=str(n)) for n in (0, 1)]
    with pytest.raises(ConfigError, match="the train_data_sha256 '0' and '1'"):
        join(data)
    # Another method has another config.
    join([configs[0], result('mgd', 0, 10.0, config='2')])
