"""TeacherCheckHook: the teacher has to find objects before it teaches."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from aerialkd.engine.distributed import plain_model
from aerialkd.engine.random_states import process_state, set_random_state
from aerialkd.engine.teacher_causes import evident_cause, suspicion
from aerialkd.engine.teacher_findings import (
    LITTLE,
    by_chance,
    findings,
    is_blind,
    is_noise,
)
from aerialkd.errors import TeacherError
from aerialkd.registry import HOOKS

# Images that are shown and objects that they should hold at least, and images that are
# looked at for them.
_IMAGES, _OBJECTS, _TRIES = 8, 20, 64
# To find none of fewer objects than that says little.
_FEW = 5


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Show the teacher a few training images before the first step.

    A student learns nothing from a teacher that was never loaded, and its losses fall
    all the same. Here the frozen teacher detects the objects of at least eight training
    images, augmented, normalised and scaled as in training: same class, IoU 0.5, a
    score of at least 0.05. The log has one line if all is well. To find none of them,
    or not clearly more than its detections find by chance in other images, is an error.
    Less than 10 % is a warning else, and so is a higher number that would double with
    other classes or another normalisation. Both name the cause that the evidence
    speaks for.

    The classes that the teacher's checkpoint states are compared with those of the
    training data, in their order.

    Runs without a frozen teacher, or with ``teacher_check=False`` in the algorithm, are
    left alone; with ``check_classes=False`` no names are compared and a detection of
    any class finds an object. A resumed training is checked again: the teacher's file
    may be another one by now.

    The training stays what it is without the hook: random states are put back, and
    transforms and batch augmentations that remember something are copied. Every process
    of a distributed training looks at the same images.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the teacher.

        Raises:
            TeacherError: if it knows other classes, or finds nothing.
        """
        algorithm: Any = plain_model(runner)
        classes = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get(
            'classes'
        )
        if classes and getattr(algorithm, 'check_classes', False):
            algorithm.frozen_teacher.check_classes(classes)
        if getattr(algorithm, 'teacher_check', False):
            with undisturbed():
                _check(algorithm, runner)


def _check(algorithm: Any, runner: Runner) -> None:
    teacher, by_class = algorithm.frozen_teacher, algorithm.check_classes
    loader = runner.train_dataloader
    views = teacher_views(algorithm, loader)
    if not views:
        runner.logger.warning(
            'The teacher was not checked: none of '
            f'{min(_TRIES, len(loader.dataset))} training images holds an object.'
        )
        return
    pairs = _detect(teacher, views)
    seen, chance = findings(pairs, by_class), by_chance(pairs, by_class)
    cause = evident_cause(
        algorithm,
        seen,
        chance,
        lambda: findings(_detect(teacher, _enough(views)), by_class),
        getattr(loader.dataset, 'metainfo', {}).get('classes'),
    )
    if cause is None and seen.recall >= LITTLE and not is_noise(seen, chance):
        runner.logger.info(f'The teacher finds {seen}.')
        return
    chances = f'; on other images the same find {chance.found}' if seen.found else ''
    message = (
        f'The teacher finds {seen}; {seen.scores()}{chances}. '
        f'{cause or suspicion(teacher.checkpoint)}'
    )
    if is_blind(seen, chance) and seen.objects >= _FEW:
        raise TeacherError(f'{message} To train regardless, set teacher_check=False.')
    runner.logger.warning(message)


def teacher_views(algorithm: Any, loader: DataLoader) -> list[tuple[Tensor, list[Any]]]:
    """Training images as the teacher is shown them.

    Args:
        algorithm: the distillation.
        loader: of the training images; its workers are not used.

    Returns:
        For each image the input, (1, C, H, W), padded as in a batch, and its sample;
        empty if no image has an object.
    """
    items = _annotated(_apart(loader.dataset))
    size = getattr(loader.batch_sampler, 'batch_size', None) or 1
    preprocess = copy.deepcopy(algorithm.data_preprocessor)
    views = []
    for start in range(0, len(items), size):
        data = preprocess(loader.collate_fn(items[start : start + size]), True)
        view, _ = algorithm.views(data['inputs'], data['data_samples'])
        views += [(view.inputs[i : i + 1], [s]) for i, s in enumerate(view.samples)]
    return views


def _detect(
    teacher: Any, views: Sequence[tuple[Tensor, list[Any]]]
) -> list[tuple[Any, Any]]:
    """Ground truth and detections of each image."""
    return [
        (samples[0].gt_instances, *teacher.predict(inputs, samples))
        for inputs, samples in views
    ]


def _enough(views: Sequence[tuple[Tensor, list[Any]]]) -> list[Any]:
    """The first images, at least two, that hold enough objects to tell by."""
    counts = [len(samples[0].gt_instances) for _, samples in views]
    reached = next((i for i, n in enumerate(np.cumsum(counts)) if n >= _OBJECTS), 0)
    return list(views[: max(2, reached + 1)])


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
    """Draw random numbers from fixed seeds; afterwards all generators go on."""
    before = process_state()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the generator of mmdet's transforms
    torch.manual_seed(0)
    try:
        yield
    finally:
        set_random_state(before)
