"""How many scenes, tiles and objects there are, and what became of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from aerialkd.datasets.dota_format import DotaBox
from aerialkd.datasets.tiles.plan import ScenePlan


@dataclass
class TileCounts:
    """Counts of a split; those of objects by class.

    Every object is counted once as whole, cut or lost.

    Attributes:
        scenes: that were split.
        tiles: that were written.
        empty_tiles: without objects, written or not.
        whole: objects that lie uncut in at least one tile.
        cut: other objects of which at least one tile holds enough.
        lost: objects of which no tile holds enough.
        boxes: written; an object can lie in several tiles.
        small_parts: of objects, in tiles that do not hold enough of them.
        lost_boxes: the lost objects of each scene that has some.
        bad_lines: messages of the annotations that were left out.
    """

    scenes: int = 0
    tiles: int = 0
    empty_tiles: int = 0
    whole: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    small_parts: Counter[str] = field(default_factory=Counter)
    lost_boxes: dict[str, list[DotaBox]] = field(default_factory=dict)
    bad_lines: list[str] = field(default_factory=list)

    @property
    def objects(self) -> Counter[str]:
        """All objects of the scenes."""
        return self.whole + self.cut + self.lost

    def add(self, plan: ScenePlan) -> None:
        """Count a scene."""
        placed, kept = plan.placed, plan.kept
        self.scenes += 1
        self.tiles += len(plan.tiles)
        self.empty_tiles += len(plan.windows) - sum(bool(t.boxes) for t in plan.tiles)
        self.bad_lines += plan.bad_lines
        fate = np.zeros(len(plan.boxes), np.int64)
        fate[placed.objects[kept]] = 1
        fate[placed.objects[placed.whole]] = 2
        names = np.array([box.name for box in plan.boxes], dtype=object)
        for value, counter in enumerate((self.lost, self.cut, self.whole)):
            counter.update(names[fate == value].tolist())
        self.boxes.update(box.name for tile in plan.tiles for box in tile.boxes)
        self.small_parts.update(names[placed.objects[~kept]].tolist())
        lost = [plan.boxes[i] for i in np.flatnonzero(fate == 0)]
        if lost:
            self.lost_boxes[plan.scene.name] = lost

    def table(self) -> str:
        """The objects of each class, what became of them, and the boxes written."""
        columns = {
            'objects': self.objects,
            'whole': self.whole,
            'cut only': self.cut,
            'in no tile': self.lost,
            'boxes': self.boxes,
            'small parts': self.small_parts,
        }
        width = max([20, *(len(name) + 1 for name in self.objects)])
        rows = [f'{"class":{width}}' + ''.join(f'{name:>12}' for name in columns)]
        for name in sorted(self.objects):
            numbers = ''.join(f'{column[name]:12}' for column in columns.values())
            rows.append(f'{name:{width}}{numbers}')
        totals = ''.join(f'{column.total():12}' for column in columns.values())
        return '\n'.join([*rows, f'{"total":{width}}{totals}'])

    def lines(self) -> list[str]:
        """All of it as text: totals, table, lost objects scene by scene, bad lines."""
        lines = [
            f'{self.scenes} scenes, {self.tiles} tiles; {self.empty_tiles} empty ones'
        ]
        if self.objects:
            lines.append(self.table())
        for scene, boxes in self.lost_boxes.items():
            lines.append(f'{scene}: in no tile: {", ".join(map(_place, boxes))}')
        if self.bad_lines:
            lines.append(f'{len(self.bad_lines)} annotations left out:')
        return lines + self.bad_lines


def _place(box: DotaBox) -> str:
    x, y = sum(box.corners[::2]) / 4, sum(box.corners[1::2]) / 4
    width = max(box.corners[::2]) - min(box.corners[::2])
    height = max(box.corners[1::2]) - min(box.corners[1::2])
    return f'{box.name} of {width:.0f}x{height:.0f} pixels at {x:.0f},{y:.0f}'
