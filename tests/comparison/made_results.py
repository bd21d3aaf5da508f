"""Results as a comparison has them, without any training."""

from __future__ import annotations

from aerialkd.comparison.results import Result

ORIGIN = dict(
    data='made: 2 images, 3 boxes',
    machine='abacus, 1 thread',
    torch='2.9',
    aerialkd='0.1',
    date='2025-01-01',
)


def result(method: str, seed: int, ap: float, step: float = 0.0, **origin) -> Result:
    """With AP in percent; AP50 is twice that. ``step`` in milliseconds, if timed."""
    costs = dict(epochs=1.0)
    if step:
        costs |= dict(step_ms=step, student_ms=50.0, ratio=1.25, extra_mib=-3.0)
        origin = dict(profiled='abacus', batch='8 images') | origin
    measures = dict(AP=ap / 100, AP50=ap / 50)
    return Result('pair', method, seed, measures, costs, ORIGIN | origin)


def three_seeds(method: str, *aps: float, **options) -> list[Result]:
    """Seeds 0, 1, 2, ... of a method."""
    return [result(method, seed, ap, **options) for seed, ap in enumerate(aps)]
