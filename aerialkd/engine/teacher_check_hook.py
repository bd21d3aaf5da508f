"""TeacherCheckHook: the teacher has to find objects before it teaches."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from aerialkd.engine.teacher_causes import likely_cause
from aerialkd.engine.teacher_findings import MIN_SCORE, Findings, findings
from aerialkd.errors import TeacherError
from aerialkd.registry import HOOKS

# Images that are shown and objects that they should hold at least, and images that are
# looked at for them.
_IMAGES, _OBJECTS, _TRIES = 8, 20, 64
# To find none of fewer objects than that says little.
_FEW = 5
_LITTLE = 0.05


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Show the teacher a few training images before the first step.

    A student learns nothing from a teacher that was never loaded, and its losses fall
    all the same. Here the frozen teacher detects the objects of at least eight training
    images, augmented, normalised and scaled as in training. It passes if it finds 5 %
    of them (its class, IoU 0.5, a score of at least 0.05); the log then has one line.
    One that finds fewer is a warning, and one that finds none an error, both with the
    cause that the evidence speaks for.

    Runs without a frozen teacher, or with ``teacher_check=False`` in the algorithm, are
    left alone; with ``check_classes=False`` a detection of any class finds an object. A
    resumed training is checked again: the teacher's file may be another one by now.

    The training stays what it is without the hook: random states are put back, and
    transforms and batch augmentations that remember something are copied. Every process
    of a distributed training looks at the same images.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the teacher.

        Raises:
            TeacherError: if it finds nothing.
        """
        model = runner.model
        algorithm = model.module if is_model_wrapper(model) else model
        if getattr(algorithm, 'teacher_check', False):
            with undisturbed():
                _check(algorithm, runner)


def _check(algorithm: Any, runner: Runner) -> None:
    loader = runner.train_dataloader
    views = teacher_views(algorithm, loader)

    def look() -> Findings:
        detected = (
            zip(view.samples, algorithm.frozen_teacher.predict(*view), strict=True)
            for view in views
        )
        pairs = ((s.gt_instances, d) for s, d in itertools.chain(*detected))
        return findings(pairs, by_class=algorithm.check_classes)

    seen = look()
    if not seen.objects:
        runner.logger.warning(
            'The teacher was not checked: of the training images that were looked at, '
            f'{min(_TRIES, len(loader.dataset))}, none holds an object.'
        )
    elif seen.recall >= _LITTLE:
        runner.logger.info(f'The teacher finds {seen}.')
    else:
        classes = getattr(loader.dataset, 'metainfo', {}).get('classes')
        cause = likely_cause(algorithm, seen, look, classes)
        message = f'The teacher finds {seen}; {_scores(seen)}. {cause}'
        if seen.found or seen.objects < _FEW:
            runner.logger.warning(message)
            return
        raise TeacherError(f'{message} To train regardless, set teacher_check=False.')


def _scores(seen: Findings) -> str:
    if seen.best_score is None:
        return 'there is not a single detection'
    return (
        f'{seen.detections} detections score {MIN_SCORE} or more, the best '
        f'{seen.best_score:.3f}'
    )


def teacher_views(algorithm: Any, loader: DataLoader) -> list[Any]:
    """Training batches as the teacher is shown them.

    Args:
        algorithm: the distillation.
        loader: of the training images, its workers are not used.

    Returns:
        Views (``inputs``, ``samples``); empty if no image has an object.
    """
    items = _annotated(_apart(loader.dataset))
    size = getattr(loader.batch_sampler, 'batch_size', None) or 1
    preprocess = copy.deepcopy(algorithm.data_preprocessor)
    views = []
    for start in range(0, len(items), size):
        data = preprocess(loader.collate_fn(items[start : start + size]), True)
        views.append(algorithm.views(data['inputs'], data['data_samples'])[0])
    return views


def _annotated(dataset: Any) -> list[Any]:
    """Some images with objects, from all over the data set; the same ones each time."""
    number = len(dataset)
    order = np.random.default_rng(0).choice(number, min(number, _TRIES), replace=False)
    items, objects = [], 0
    for index in order.tolist():
        item = dataset[index]
        # Where the pipeline gives up (None), not every data set takes another image.
        truth = getattr((item or {}).get('data_samples'), 'gt_instances', ())
        if len(truth):
            items.append(item)
            objects += len(truth)
        if len(items) >= _IMAGES and objects >= _OBJECTS:
            break
    return items


def _apart(dataset: Any) -> Any:
    """The data set with transforms of its own: some keep images between calls."""
    apart = copy.copy(dataset)
    for name, value in vars(dataset).items():
        if name == 'pipeline':
            apart.pipeline = copy.deepcopy(value)
        elif name == 'dataset':
            apart.dataset = _apart(value)
        elif name == 'datasets':
            apart.datasets = [_apart(part) for part in value]
    return apart


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Draw random numbers from fixed seeds; afterwards all generators go on as before.

    Python's, NumPy's and torch's, on the CPU and on the current GPU.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    on_gpu = torch.cuda.is_available()
    # Not torch.manual_seed: it would seed all GPUs, also those of other processes.
    with torch.random.fork_rng([torch.cuda.current_device()] if on_gpu else []):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 - the generator of mmdet's transforms
        torch.default_generator.manual_seed(0)
        if on_gpu:
            torch.cuda.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
