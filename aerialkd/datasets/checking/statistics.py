"""How many objects of which class and size a data set has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.checking.layouts import FoundObject

SMALL, LARGE = 32, 96  # COCO: areas below SMALL^2, from LARGE^2 on, square pixels
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class ObjectStatistics:
    """Counts of objects.

    Attributes:
        objects: by class; without those that no detector has to find.
        images: with at least one, by class.
        difficult: of the objects, by class.
        others: what no detector has to find, by name.
    """

    def __init__(self) -> None:
        self.objects: Counter[str] = Counter()
        self.images: Counter[str] = Counter()
        self.difficult: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self._sides: list[tuple[float, float]] = []

    def add(self, image: Iterable[FoundObject]) -> None:
        """Count the objects of an image."""
        found = list(image)
        objects = [item for item in found if item.is_object]
        self.others.update(item.name for item in found if not item.is_object)
        self.objects.update(item.name for item in objects)
        self.images.update({item.name for item in objects})
        self.difficult.update(item.name for item in objects if item.difficult)
        self._sides += [item.sides for item in objects]

    @property
    def sides(self) -> NDArray[np.float64]:
        """(n, 2), both sides of every object in pixels."""
        return np.array(self._sides, np.float64).reshape(-1, 2)

    @property
    def scales(self) -> NDArray[np.float64]:
        """(n,), the square root of every object's area, in pixels."""
        return np.sqrt(self.sides.prod(axis=1))

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of small, medium and large objects, as COCO has them."""
        edges = np.searchsorted(np.sort(self.scales), [SMALL, LARGE])
        small, up_to_medium = edges.tolist()
        total = len(self._sides)
        return {
            'small': small,
            'medium': up_to_medium - small,
            'large': total - up_to_medium,
        }

    def lines(self) -> list[str]:
        """All of it as text."""
        lines = []
        if self._sides:
            lines += [*self._table(), *self._size_lines()]
        if self.others:
            shown = ', '.join(f'{name} ({n})' for name, n in self.others.most_common())
            lines.append(f'besides, no objects to find: {shown}')
        return lines

    def _table(self) -> list[str]:
        columns = {'objects': self.objects, 'images': self.images}
        if self.difficult:
            columns['difficult'] = self.difficult
        width = max(map(len, self.objects)) + 2
        lines = [f'{"class":{width}}' + ''.join(f'{name:>10}' for name in columns)]
        for name, _ in self.objects.most_common():
            numbers = ''.join(f'{column[name]:10}' for column in columns.values())
            lines.append(f'{name:{width}}{numbers}')
        return lines

    def _size_lines(self) -> list[str]:
        total, scales, sides = len(self._sides), self.scales, self.sides
        shares = ', '.join(
            f'{n} {name} ({n / total:.1%})' for name, n in self.sizes.items()
        )
        places = [f'{quantile:.0%}' for quantile in _QUANTILES]
        values = [f'{v:.4g}' for v in np.quantile(scales, _QUANTILES)]
        widths = [max(map(len, pair)) + 2 for pair in zip(places, values, strict=True)]
        return [
            f'{total} objects: {shares}; bounds {SMALL}x{SMALL} and {LARGE}x{LARGE} px',
            'share of objects' + _row(places, widths),
            'sqrt(area) up to' + _row(values, widths) + ' px',
            f'sides from {sides.min():.4g} to {sides.max():.4g} px',
        ]


def _row(texts: list[str], widths: list[int]) -> str:
    return ''.join(f'{t:>{width}}' for t, width in zip(texts, widths, strict=True))
