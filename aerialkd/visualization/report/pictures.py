"""Side by side: ground truth and what each detector found, missed and made up."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from aerialkd.engine.evaluated import EvaluatedImage
from aerialkd.visualization.drawing import Color, class_colors, draw_boxes, enlarge
from aerialkd.visualization.report.comparison import ALONE, TEACHER, Comparison, Row
from aerialkd.visualization.report.matching import (
    Outcome,
    best_threshold,
    counted_images,
    outcome,
)

# Of Okabe and Ito; the outlines differ too: solid, dashed, crossed.
FOUND: Color = (86, 180, 233)
MISSED: Color = (240, 228, 66)
FALSE: Color = (213, 94, 0)
IGNORED: Color = (190, 190, 190)


@dataclass(frozen=True)
class PictureBudget:
    """How many pictures a report holds, and how large.

    Attributes:
        gains: images with the largest gains.
        losses: images with the largest losses.
        side: of the longer side, in pixels.
        quality: of the WebP encoder.
        sheets: feature sheets a distilled run.
    """

    gains: int
    losses: int
    side: int
    quality: int
    sheets: int


BUDGETS = (
    PictureBudget(gains=3, losses=2, side=1000, quality=82, sheets=2),
    PictureBudget(gains=2, losses=1, side=800, quality=75, sheets=1),
    PictureBudget(gains=1, losses=1, side=560, quality=65, sheets=1),
)


@dataclass(frozen=True)
class Picture:
    """An encoded picture, its words and its caption."""

    source: Markup
    alt: str
    title: str
    caption: str = ''


@dataclass(frozen=True)
class Scene:
    """One image as all detectors see it."""

    name: str
    remark: str
    pictures: list[Picture]
    image: EvaluatedImage


@dataclass
class SideBySide:
    """The section on single images.

    Attributes:
        explanation: how the images were chosen.
        scenes: gains first.
        classes: (name, '#rrggbb') of the classes in the ground-truth pictures.
        problem: why there are none; ''.
    """

    explanation: str = ''
    scenes: list[Scene] = field(default_factory=list)
    classes: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ''


class Judged:
    """A row's images with a threshold of its own.

    Args:
        row: an evaluated one.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.images = counted_images(row.evaluation)
        self.threshold = best_threshold(self.images)
        self.outcomes = [outcome(image, self.threshold) for image in self.images]


def side_by_side(comparison: Comparison, budget: PictureBudget) -> SideBySide:
    """Choose and draw the images on which the detectors differ most."""
    judged = [Judged(row) for row in _columns(comparison)]
    subject, reference = _subject_and_reference(judged)
    paths = [image.path for image in subject.images]
    if any([i.path for i in other.images] != paths for other in judged):
        return SideBySide(problem='The runs were evaluated on images in other orders.')
    scores = np.array([o.score for o in subject.outcomes])
    if reference is not None:
        scores = scores - [o.score for o in reference.outcomes]
    result = SideBySide(_explanation(subject, reference, judged))
    used: set[int] = set()
    for index in _extremes(scores, budget):
        if not Path(paths[index]).is_file():
            return SideBySide(problem=f'The test images are gone: {paths[index]}.')
        remark = _remark(int(scores[index]), reference)
        result.scenes.append(_scene(judged, index, remark, budget))
        used |= set(subject.images[index].gt_labels.tolist())
    names = subject.row.evaluation.classes
    colors = class_colors(len(names))
    result.classes = [(names[k], _hex(colors[k])) for k in sorted(used)]
    return result


def encode(image: NDArray[np.uint8], quality: int) -> Markup:
    """A picture as a ``data:`` address."""
    data = cv2.imencode('.webp', image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    text = base64.b64encode(data.tobytes()).decode()
    return Markup(f'data:image/webp;base64,{text}')  # noqa: S704 - base64 alone


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """An image file as BGR; what cannot be decoded becomes an error.

    Raises:
        OSError: if it is no image.
    """
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f'{path}: not an image')
    return np.asarray(image, np.uint8)


def _columns(comparison: Comparison) -> list[Row]:
    """Teacher, student alone and up to three others."""
    rows = comparison.evaluated
    first = [comparison.of_role(role) for role in (TEACHER, ALONE)]
    kept = [row for row in first if row in rows and row is not None]
    others = [row for row in rows if row not in kept]
    return [*kept, *others[:3]]


def _subject_and_reference(judged: Sequence[Judged]) -> tuple[Judged, Judged | None]:
    """What the images are chosen for, and what it is compared with."""
    subject = next((j for j in judged if j.row.role == 'distilled'), judged[-1])
    by_role = {j.row.role: j for j in reversed(judged) if j is not subject}
    others = [j for j in judged if j is not subject]
    reference = by_role.get(ALONE) or by_role.get(TEACHER) or next(iter(others), None)
    return subject, reference


def _extremes(scores: NDArray, budget: PictureBudget) -> list[int]:
    """Largest scores, then smallest ones; no image twice."""
    order = np.argsort(-scores, kind='stable').tolist()
    gains = order[: budget.gains]
    losses = [index for index in reversed(order) if index not in gains]
    return gains + losses[: budget.losses]


def _explanation(
    subject: Judged, reference: Judged | None, judged: Sequence[Judged]
) -> str:
    """What the pictures show and how they were chosen."""
    text = (
        'The score of an image is the number of objects found minus that of false '
        f'boxes by {subject.row.first.name}'
    )
    if reference is not None:
        text += f', minus the same for {reference.row.first.name}'
    limits = ', '.join(f'{j.row.first.name} {j.threshold:.2f}' for j in judged)
    return (
        f'{text}. The images with the largest scores come first, then those with the '
        'smallest. A box is found at IoU .5 with the right class. Detections count '
        'from the score at which F1 over all test images is highest for each '
        f'detector: {limits}.'
    )


def _remark(score: int, reference: Judged | None) -> str:
    number = f'{score:+d}'.replace('-', '\N{MINUS SIGN}')
    if reference is None:
        return f'score {number}'
    kind = 'gain' if score > 0 else 'loss' if score < 0 else 'no difference'
    return f'{kind}, score {number}'


def _scene(
    judged: Sequence[Judged], index: int, remark: str, budget: PictureBudget
) -> Scene:
    truth = judged[0].images[index]
    image, scale = enlarge(read_image(truth.path), most=budget.side)
    colors = class_colors(len(judged[0].row.evaluation.classes))
    counts = ~truth.gt_ignored
    boxes, labels = truth.gt_boxes[counts], truth.gt_labels[counts]
    drawn = draw_boxes(image, boxes, [colors[k] for k in labels], scale=scale)
    everything = judged[0].row.evaluation.images[index]
    ignored = everything.gt_boxes[everything.gt_ignored]
    grey = [IGNORED] * len(ignored)
    drawn = draw_boxes(drawn, ignored, grey, 'dashed', scale)
    name = Path(truth.path).name
    pictures = [
        Picture(
            encode(drawn, budget.quality),
            f'{name} with {len(boxes)} objects of the ground truth',
            'ground truth',
            f'{len(boxes)} objects, {len(ignored)} ignored',
        )
    ]
    for one in judged:
        result = one.outcomes[index]
        drawn = draw_outcome(image, result, scale)
        caption = (
            f'found {len(result.found)}, missed {len(result.missed)}, '
            f'false {len(result.false)}'
        )
        title = one.row.first.name
        if one.row.role != 'detector':
            title = f'{one.row.role}: {title}'
        alt = f'{name} with the detections of {one.row.first.name}: {caption}'
        pictures.append(Picture(encode(drawn, budget.quality), alt, title, caption))
    return Scene(name, remark, pictures, truth)


def draw_outcome(
    image: NDArray[np.uint8], result: Outcome, scale: float
) -> NDArray[np.uint8]:
    """Found boxes solid, false ones crossed, missed ones dashed, each in its colour."""
    for boxes, color, pattern in (
        (result.found, FOUND, 'solid'),
        (result.false, FALSE, 'crossed'),
        (result.missed, MISSED, 'dashed'),
    ):
        image = draw_boxes(image, boxes, [color] * len(boxes), pattern, scale)  # type: ignore[arg-type]
    return image


def _hex(color: Color) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*color)
