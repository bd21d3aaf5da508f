"""Windows that cover a scene, and the names of the tiles cut along them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aerialkd.errors import AnnotationError, ConfigError

MIN_SIZE = 32
# Scene names may hold underscores, and even the name of a tile.
_TILE_NAME = re.compile(r'(.+)__(\d+(?:\.\d+)?)__(\d+)___(\d+)', re.ASCII | re.DOTALL)
_UNSCALED = 1.0


@dataclass(frozen=True)
class Window:
    """A square of a scene, in its pixels; parts outside the scene are padding.

    Attributes:
        x: left border.
        y: upper border.
        size: side.
    """

    x: int
    y: int
    size: int


def window_starts(length: int, size: int, gap: int) -> list[int]:
    """Where the windows along one side of a scene begin.

    Neighbours overlap by ``gap`` pixels; the last one is shifted back so that it ends
    at the border. No window lies within another.

    >>> window_starts(1500, 600, 150)
    [0, 450, 900]
    >>> window_starts(1501, 600, 150)
    [0, 450, 900, 901]
    >>> window_starts(400, 600, 150)
    [0]

    Args:
        length: side of the scene in pixels.
        size: side of a window in pixels.
        gap: overlap in pixels, less than ``size``.
    """
    last = max(length - size, 0)
    return [*range(0, last, size - gap), last]


def scene_windows(
    scene_size: tuple[int, int], sizes: Sequence[int], gaps: Sequence[int]
) -> list[Window]:
    """All windows of a scene: size by size, row by row, from left to right.

    Args:
        scene_size: (width, height) in pixels.
        sizes: sides of the windows in pixels.
        gaps: overlap of neighbours in pixels, one for each size.
    """
    width, height = scene_size
    return [
        Window(x, y, size)
        for size, gap in zip(sizes, gaps, strict=True)
        for y in window_starts(height, size, gap)
        for x in window_starts(width, size, gap)
    ]


def check_windows(sizes: Sequence[int], gaps: Sequence[int]) -> None:
    """Check that there is one gap for each size, and that the windows move on.

    Raises:
        ConfigError: names what does not fit.
    """
    if not sizes or len(sizes) != len(gaps):
        raise ConfigError(
            f'sizes: got sizes {list(sizes)} and gaps {list(gaps)}, expected one gap '
            'for each size; add or remove some.'
        )
    if len(set(sizes)) < len(sizes):
        raise ConfigError(f'sizes: got {list(sizes)}, expected each once; remove some.')
    for size, gap in zip(sizes, gaps, strict=True):
        if size < MIN_SIZE:
            raise ConfigError(
                f'sizes: got {size}, expected at least {MIN_SIZE} pixels.'
            )
        if not 0 <= gap < size:
            raise ConfigError(
                f'gaps: got {gap} for size {size}, expected 0 to {size - 1} pixels.'
            )


def tile_name(scene: str, window: Window) -> str:
    """The name of a tile as mmrotate writes it, without suffix.

    >>> tile_name('P0019', Window(450, 900, 600))
    'P0019__600__450___900'
    """
    return f'{scene}__{window.size}__{window.x}___{window.y}'


def tile_origin(name: str) -> tuple[str, int, int]:
    """Scene of a tile, and where its upper left corner lies there in pixels.

    Tiles of this package and mmrotate carry their size in the name, those of DOTA's
    devkit the scale 1.

    >>> tile_origin('P0019__600__450___900')
    ('P0019', 450, 900)
    >>> tile_origin('P0019__1__768___0')
    ('P0019', 768, 0)

    Raises:
        AnnotationError: if the name does not say it, or the scene was resized.
    """
    match = _TILE_NAME.fullmatch(name)
    if match is None:
        raise AnnotationError(
            f'{name}: not the name of a tile, expected SCENE__SIZE__X___Y or '
            'SCENE__1__X___Y; detections of whole scenes need no merging.'
        )
    scene, size, x, y = match.groups()
    if float(size) != _UNSCALED and not (size.isdigit() and int(size) >= MIN_SIZE):
        raise AnnotationError(
            f'{name}: tile of a resized scene: got scale {size}, expected 1 or a size '
            f'of at least {MIN_SIZE} pixels; split the scene at its own resolution.'
        )
    return scene, int(x), int(y)
