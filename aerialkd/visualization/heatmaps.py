"""Sheets of heat maps over an image, each with its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colors = Literal['viridis', 'inferno']

HEAT_WEIGHT = 0.7  # of the colours, against the grey image under them
_COLORMAPS = {'viridis': cv2.COLORMAP_VIRIDIS, 'inferno': cv2.COLORMAP_INFERNO}
MARGIN, LINE, _BAR = 8, 24, 14  # pixels
_FONT, _FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.6
_NARROW, _WIDE = 256, 448  # widths between which a tile is kept


@dataclass(frozen=True)
class Heat:
    """A map to be laid over the image.

    Attributes:
        heading: what is written above it.
        values: (H, W), of any size; None leaves the place empty.
        limits: values of the first and the last colour; what lies beyond has the same.
        colors: ``'viridis'`` or ``'inferno'``, both perceptually uniform.
    """

    heading: str
    values: NDArray[np.float32] | None
    limits: tuple[float, float]
    colors: Colors = 'viridis'


def percentiles(*maps: NDArray[np.float32]) -> tuple[float, float]:
    """1st and 99th percentile of the finite values of all maps, (0, 0) without any."""
    values = np.concatenate([values[np.isfinite(values)] for values in maps])
    if not len(values):
        return 0.0, 0.0
    low, high = np.percentile(values, [1, 99]).tolist()
    return low, high


def heat_sheet(
    image: Picture, rows: Sequence[tuple[str, Sequence[Heat]]], legend: Sequence[str]
) -> Picture:
    """One picture: the image and the legend, then rows of heat maps over the image.

    Args:
        image: (h, w, 3), BGR; brought to a width of 256 to 448 pixels.
        rows: caption and heat maps of each row, as many in each.
        legend: lines of ASCII text, wrapped where they are too long.

    Returns:
        (height, width, 3), BGR.

    Example:
        >>> image, heat = np.zeros((64, 96, 3), np.uint8), np.eye(8, dtype=np.float32)
        >>> row = ('row', [Heat('eye', heat, (0.0, 1.0))])
        >>> heat_sheet(image, [row], ['a legend']).shape[2]
        3
    """
    image = _resized(image)
    height, width = image.shape[:2]
    columns = max(len(heats) for _, heats in rows)
    total = columns * (width + MARGIN) + MARGIN
    beside = total - width - 3 * MARGIN if columns > 2 else 0
    lines = wrap_lines(legend, beside or total - 2 * MARGIN)
    top = blank(max(height, 0 if not beside else len(lines) * LINE), total)
    top[:height, MARGIN : MARGIN + width] = image
    if beside:
        write_lines(top[:, width + MARGIN :], lines, MARGIN, 0)
        parts = [top]
    else:
        text = blank(len(lines) * LINE + MARGIN, total)
        write_lines(text, lines, MARGIN, 0)
        parts = [text, top]
    for caption, heats in rows:
        band = np.full((LINE + 4, total, 3), 60, np.uint8)
        write_lines(band, [caption], MARGIN, 2, (255, 255, 255))
        tiles = [part for heat in heats for part in (_gap(height), _tile(image, heat))]
        row = np.concatenate(tiles, axis=1)
        parts += [blank(MARGIN, total), band, _filled(row, total)]
    return np.concatenate([blank(MARGIN, total), *parts])


def colored(
    values: NDArray[np.float32], limits: tuple[float, float], colors: Colors
) -> Picture:
    """The colours of values, (H, W, 3); those that are not finite become white."""
    low, high = limits
    finite = np.isfinite(values)
    part = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    index = (part.clip(0, 1) * 255).round().astype(np.uint8)
    picture = cv2.applyColorMap(index, _COLORMAPS[colors])
    picture[~finite] = 255
    return np.asarray(picture)


def _resized(image: Picture) -> Picture:
    height, width = image.shape[:2]
    if width > _WIDE:
        size = (_WIDE, max(1, round(height * _WIDE / width)))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    whole = -(-_NARROW // width)
    size = (width * whole, height * whole)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))


def _tile(image: Picture, heat: Heat) -> Picture:
    """Heading, heat map over the image, and the scale."""
    height, width = image.shape[:2]
    tile = blank(height + 2 * LINE + MARGIN, width)
    if heat.values is None:
        write_lines(tile, [heat.heading], 0, 0)
        return tile
    write_lines(tile, [f'{heat.heading} (mean {heat.values.mean():.3g})'], 0, 0)
    picture = colored(heat.values, heat.limits, heat.colors)
    # Cells as they are: smoothing would show detail that the map does not have.
    picture = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    tile[LINE : LINE + height] = cv2.addWeighted(
        picture, HEAT_WEIGHT, grey, 1 - HEAT_WEIGHT, 0
    )
    _write_scale(tile[LINE + height + 4 :], heat)
    return tile


def _write_scale(place: Picture, heat: Heat) -> None:
    """A bar of the colours between the values of its ends."""
    low, high = (f'{value:.3g}' for value in heat.limits)
    width = place.shape[1]
    write_lines(place, [low], 0, -2)
    write_lines(place[:, width - _text_width(high) :], [high], 0, -2)
    start, stop = _text_width(low) + 6, width - _text_width(high) - 6
    ramp = np.tile(np.linspace(0, 1, stop - start, dtype=np.float32), (_BAR, 1))
    place[3 : 3 + _BAR, start:stop] = colored(ramp, (0.0, 1.0), heat.colors)


def write_lines(
    place: Picture,
    lines: Sequence[str],
    left: int,
    top: int,
    color: tuple[int, int, int] = (20, 20, 20),
) -> None:
    """Write lines of text into a part of a picture, smaller where they are too long."""
    for number, line in enumerate(lines):
        room = place.shape[1] - 2 * left
        size = _FONT_SIZE * min(1.0, room / max(_text_width(line), 1))
        origin = (left, top + number * LINE + LINE - 7)
        cv2.putText(place, line, origin, _FONT, size, color, 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _FONT_SIZE, 1)[0][0])


def wrap_lines(lines: Sequence[str], width: int) -> list[str]:
    """Break lines between words where they are wider than ``width`` pixels."""
    wrapped = []
    for line in lines:
        words, current = line.split(), ''
        for word in words:
            longer = f'{current} {word}'.strip()
            if current and _text_width(longer) > width:
                wrapped.append(current)
                longer = word
            current = longer
        wrapped.append(current)
    return wrapped


def blank(height: int, width: int) -> Picture:
    """A white picture."""
    return np.full((height, width, 3), 255, np.uint8)


def _gap(height: int) -> Picture:
    return blank(height + 2 * LINE + MARGIN, MARGIN)


def _filled(row: Picture, width: int) -> Picture:
    """A row with as many empty columns as are missing."""
    rest = blank(row.shape[0], width - row.shape[1])
    return np.concatenate([row, rest], axis=1)
