"""Where one detector finds objects of a size that another one misses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.engine.evaluated import EvaluatedImage, EvaluatedRun
from aerialkd.errors import ConfigError
from aerialkd.visualization.drawing import draw_boxes
from aerialkd.visualization.heatmaps import (
    LINE,
    MARGIN,
    Picture,
    blank,
    wrap_lines,
    write_lines,
)
from aerialkd.visualization.report.matching import (
    SIZES,
    best_threshold,
    counted_images,
    of_size,
    taken_objects,
)
from aerialkd.visualization.report.pictures import FOUND, MISSED, read_image

_TILE = 384  # pixels of the sheet


@dataclass(frozen=True)
class Window:
    """A square part of a test image.

    Attributes:
        path: of the image file.
        low: upper left corner in pixels of the image, (x, y).
        boxes: objects of the size in the whole image, (g, 4) or (g, 8).
        before: which of them the first detector finds, (g,).
        after: which the second one finds, (g,).
        gained: objects in the window that the second one alone finds.
        lost: those that the first one alone finds.
    """

    path: str
    low: tuple[float, float]
    boxes: NDArray
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    gained: int
    lost: int


@dataclass(frozen=True)
class Gains:
    """Two detectors on the same test images.

    Attributes:
        windows: those with the largest gains, falling.
        objects: objects of the size in all images.
        before: how many the first detector finds.
        after: how many the second one finds.
        gained: found by the second one alone.
        side: of a window, in pixels of the images.
    """

    windows: list[Window]
    objects: int
    before: int
    after: int
    gained: int
    side: int

    @property
    def lost(self) -> int:
        """Objects that the first detector alone finds."""
        return self.before + self.gained - self.after

    def summary(self, size: str) -> str:
        """What is to be read beside the pictures."""
        return (
            f'{self.objects} {size} objects in the test images: {self.before} found '
            f'before, {self.after} after; {self.gained} gained, {self.lost} lost.'
        )


def find_gains(
    before: EvaluatedRun,
    after: EvaluatedRun,
    size: str = 'small',
    windows: int = 6,
    side: int = 128,
) -> Gains:
    """Compare object by object, and choose windows with the largest net gain.

    A detection counts from the score at which a detector's F1 over all test images is
    highest; an object is found at IoU .5 with the right class.

    Args:
        before: what is compared with.
        after: what is looked at.
        size: ``'small'``, ``'medium'``, ``'large'`` (COCO's areas) or ``'all'``.
        windows: how many, at most one an image.
        side: of a window, in pixels of the images.

    Raises:
        ConfigError: if the detectors were not evaluated on the same images, or a number
            is not positive.
    """
    if size not in SIZES:
        raise ConfigError(f'size: got {size!r}, expected one of {", ".join(SIZES)}.')
    for name, value in (('windows', windows), ('side', side)):
        if value < 1:
            raise ConfigError(f'{name}: got {value}, expected at least 1.')
    if [i.path for i in before.images] != [i.path for i in after.images]:
        raise ConfigError(
            'The runs were evaluated on other images; their differences mean nothing. '
            'Compare runs with the same test data.'
        )
    found = [_found(run) for run in (before, after)]
    chosen: list[Window] = []
    objects = found_before = found_after = gained = 0
    for image, first, second in zip(counted_images(before), *found, strict=True):
        mine = ~image.gt_ignored & of_size(image.gt_boxes, SIZES[size])
        first, second = first[mine], second[mine]
        objects += len(first)
        found_before += int(first.sum())
        found_after += int(second.sum())
        gained += int((second & ~first).sum())
        if (second & ~first).any():
            chosen.append(_best_window(image, mine, first, second, side))
    chosen.sort(key=lambda window: window.lost - window.gained)
    return Gains(chosen[:windows], objects, found_before, found_after, gained, side)


def gains_sheet(
    gains: Gains, names: tuple[str, str], size: str, columns: int = 2
) -> Picture:
    """Draw the windows in pairs: what is found before, and after.

    Returns:
        (height, width, 3), BGR.
    """
    pair = 2 * _TILE + MARGIN
    tiles = [_pair(window, gains.side, names) for window in gains.windows]
    columns = max(1, min(columns, len(tiles)))
    width = columns * (pair + 2 * MARGIN) + MARGIN
    legend = [
        f'{names[1]} against {names[0]}: where it gains most {size} objects. Found: '
        f'solid blue. Missed: dashed yellow. Objects of other sizes are not drawn.',
        gains.summary(size),
    ]
    lines = wrap_lines(legend, width - 2 * MARGIN)
    top = blank(len(lines) * LINE + MARGIN, width)
    write_lines(top, lines, MARGIN, 0)
    rows = [top]
    for start in range(0, len(tiles), columns):
        row = blank(_TILE + LINE + 2 * MARGIN, width)
        for column, tile in enumerate(tiles[start : start + columns]):
            left = MARGIN + column * (pair + 2 * MARGIN)
            row[: tile.shape[0], left : left + pair] = tile
        rows.append(row)
    return np.concatenate(rows)


def _found(run: EvaluatedRun) -> list[NDArray[np.bool_]]:
    images = counted_images(run)
    threshold = best_threshold(images)
    return [taken_objects(image, threshold) for image in images]


def _best_window(
    image: EvaluatedImage,
    mine: NDArray[np.bool_],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    side: int,
) -> Window:
    """The window around one of the gained objects that gains most."""
    boxes = image.gt_boxes[mine]
    centres = boxes.reshape(len(boxes), -1, 2).mean(1)  # (g, 2)
    change = after.astype(int) - before
    room = np.maximum(np.array(image.size) - side, 0)
    lows = np.clip(centres[change > 0] - side / 2, 0, room)  # (c, 2)
    inside = (centres >= lows[:, None]) & (centres <= lows[:, None] + side)
    inside = inside.all(-1)  # (c, g)
    best = int((inside * change).sum(1).argmax())
    seen = change[inside[best]]
    return Window(
        path=image.path,
        low=(float(lows[best, 0]), float(lows[best, 1])),
        boxes=boxes,
        before=before,
        after=after,
        gained=int((seen > 0).sum()),
        lost=int((seen < 0).sum()),
    )


def _pair(window: Window, side: int, names: tuple[str, str]) -> Picture:
    """Both detectors in one window, with a line above."""
    image = read_image(window.path)
    x, y = (round(v) for v in window.low)
    part = image[y : y + side, x : x + side]
    scale = _TILE / max(part.shape[:2])
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=way)
    shift = np.tile([x, y], window.boxes.shape[1] // 2)
    tile = blank(_TILE + LINE, 2 * _TILE + MARGIN)
    for left, name, found in (
        (0, names[0], window.before),
        (_TILE + MARGIN, names[1], window.after),
    ):
        drawn = part
        for kind, color, pattern in (
            (found, FOUND, 'solid'),
            (~found, MISSED, 'dashed'),
        ):
            boxes = window.boxes[kind] - shift
            drawn = draw_boxes(drawn, boxes, [color] * len(boxes), pattern, scale)  # type: ignore[arg-type]
        heading = name
        if left:
            heading = f'{name}: {window.gained} gained, {window.lost} lost'
        write_lines(tile[:, left : left + _TILE], [heading], 0, 0)
        height, width = drawn.shape[:2]
        tile[LINE : LINE + height, left : left + width] = drawn
    return tile
