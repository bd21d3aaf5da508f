"""Two processes with an image each learn what one process with both images does.

What is compared with what: DDP averages the gradients of the processes. Where a loss is
normalised over all processes, the average is the gradient of the joined batch. Three
things are not, by definition, and are compared with the average of single images:

- PKD standardises channels over the images of a process, like batch norm;
- CrossKD does so too, but its counts are those of all processes;
- RetinaNet (mmdet's ``AnchorHead``) divides its task loss by a process's positives.
"""

import functools
import math
from unittest.mock import patch

import numpy as np
import pytest

from tests.shared_batch import DETECTORS, LOSSES, Case, shared_steps, step

pytestmark = pytest.mark.alone
# Boxes of the first and of the second process's image.
NUMBERS = ((6, 2), (0, 3), (0, 0))
BY_PROCESS = {'PKDLoss', 'CrossKDLoss', 'retinanet', 'rotated'}
# Their heads' outputs are in single precision, whatever the network is in.
SINGLE = {'gfl', 'rotated_dist', 'yolov8'}
# Divergences, and the slope of an IoU at untrained boxes, where rounding showed most.
ROUNDING = {'SoftClassLoss', 'BCKDLoss', 'LDLoss'}
NORMALISER = 'aerialkd.structures.normaliser'


# What counts the objects of all processes; the others are means over the images.
COUNTS = {'WSLDLoss', 'DKDLoss', 'NKDLoss', 'BCKDLoss', 'FGFILoss'}
MEANS = {'CWDLoss', 'MGDLoss', 'FGDLoss', 'AMDLoss'}


def served(case):
    if case.loss in COUNTS | MEANS and case.algorithm == 'CrossScaleDistill':
        return False  # nothing in them knows the scale
    if case.loss in MEANS and case.detector in ('gfl', 'rotated'):
        return False  # nor, but for FGD's boxes, the head
    if case.detector == 'yolov8' and case.algorithm == 'CrossScaleDistill':
        return False  # no config of it, and no finer level to teach it with
    if case.detector == 'rotated_dist':  # as 'rotated' but for the head's outputs
        return case.loss == 'LDLoss'
    if case.detector not in ('retinanet', 'rotated'):
        return case.loss != 'SoftRegressionLoss'  # they have no deltas
    return case.loss != 'LDLoss'  # they have no distributions


def is_sensitive(case):
    return case.algorithm == 'DetectionDistill' and case.loss in ROUNDING


CASES = [
    pytest.param(case, marks=[pytest.mark.rounding] * is_sensitive(case), id=str(case))
    for algorithm in ('DetectionDistill', 'CrossScaleDistill')
    for detector in DETECTORS
    for loss in LOSSES
    if served(case := Case(algorithm, detector, loss))
]


def gradients(case, model, boxes, of, **factors):
    """Of a part of the loss: of the joined batch, or the average of single images."""
    images = (0, 1) if of in BY_PROCESS else (None,)

    def run(image):
        return step(model, case.batch(boxes, image), **factors)

    if of == 'CrossKDLoss':
        run = functools.partial(counting_together, run)
    steps = [run(image) for image in images]
    return {k: np.mean([s.gradients[k] for s in steps], 0) for k in steps[0].gradients}


def counting_together(run, image):
    """A step on one of two images, with the averages of what both count."""
    counts = []
    for other in (0, 1):
        with patch(f'{NORMALISER}.reduce_mean', side_effect=lambda x: x) as own:
            run(other)
        counts.append([call.args[0] for call in own.call_args_list])
    means = [(first + second) / 2 for first, second in zip(*counts, strict=True)]
    with (
        patch(f'{NORMALISER}.reduce_mean', side_effect=means),
        patch(f'{NORMALISER}.get_world_size', return_value=2),
    ):
        return run(image)


@functools.cache
def task_gradients(algorithm, detector):
    """Of the student's own loss, whatever teaches it, for each pair of numbers."""
    case = Case(algorithm, detector, 'DecoupledLoss')  # adds no parameters
    model = case.build()
    return {b: gradients(case, model, b, detector, distill=0.0) for b in NUMBERS}


@pytest.mark.parametrize('case', CASES)
def test_gradients_are_those_of_one_process(case, pair):
    results = pair.run(shared_steps, case, NUMBERS)
    model = case.build()
    rounding = 1e-6 if case.detector in SINGLE else 1e-10
    for boxes, first, second in zip(NUMBERS, *results, strict=True):
        for log in (first.log, second.log):
            assert all(math.isfinite(value) for value in log.values()), (boxes, log)
        task = task_gradients(*case[:2])[boxes]
        taught = gradients(case, model, boxes, case.loss, student=0.0)
        expected = {name: taught[name] + task.get(name, 0) for name in taught}
        largest = max(np.linalg.norm(gradient) for gradient in expected.values())
        for name, got in first.gradients.items():
            assert np.array_equal(got, second.gradients[name]), (boxes, name)
            # Sums in another order. What cancels to nothing is rounded like its terms.
            allowed = rounding * (np.linalg.norm(expected[name]) + 1e-3 * largest)
            apart = np.linalg.norm(got - expected[name])
            assert apart <= allowed, (boxes, name, apart, allowed)
