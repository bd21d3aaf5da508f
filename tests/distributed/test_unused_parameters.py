"""Every shipped method trains in several processes: no parameter is left out."""

import math

import pytest

from tests.shipped import (
    DISTILLATIONS,
    narrow_algorithm,
    shared_training,
    unused_parameters,
)

pytestmark = pytest.mark.alone


def families():
    """A config of each method and detector; those of the demo come first."""
    found = {}
    for path in sorted(DISTILLATIONS, key=lambda path: path.parts[1] != 'demo'):
        found.setdefault(tuple(path.stem.split('_')[:2]), path)
    return list(found.values())


def each_once():
    """The first config of each method, and of each detector."""
    found = {}
    for path in families():
        for word in path.stem.split('_')[:2]:
            found.setdefault(word, path)
    return sorted(set(found.values()))


FAMILIES = families()


def test_all_demonstrations_are_among_them():
    demos = [path for path in DISTILLATIONS if path.parts[1] == 'demo']
    assert set(demos) <= set(FAMILIES)
    assert len(demos) >= 10


@pytest.mark.parametrize('path', FAMILIES, ids=str)
def test_every_parameter_has_a_gradient(path):
    algorithm = narrow_algorithm(path)
    for stopped in (False, True):
        algorithm.distillation_stopped = stopped
        for boxes in (5, 0):
            assert unused_parameters(algorithm, boxes) == [], (stopped, boxes)


@pytest.mark.parametrize('path', each_once(), ids=str)
def test_two_processes_go_on(path, pair):
    results = pair.run(shared_training, path)
    for logs, _ in results:
        assert len(logs) == 4
        for log in logs:
            assert all(math.isfinite(value) for value in log.values()), log
    assert any('distill.' in name for name in results[0][0][0])
    assert results[0][1] == results[1][1]  # the same weights in both
