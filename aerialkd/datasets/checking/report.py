"""What a look through a data set has found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from aerialkd.datasets.checking.statistics import ObjectStatistics
from aerialkd.errors import AnnotationError


@dataclass(frozen=True)
class CheckedFolder:
    """A folder of the layout.

    Attributes:
        path: the folder.
        images: how many it holds.
        annotations: how many files; None: a folder of images only.
        unlisted: images that no list names; None: the layout has no lists.
    """

    path: Path
    images: int
    annotations: int | None
    unlisted: int | None = None

    @property
    def line(self) -> str:
        """It as text."""
        text = f'{self.path}: {self.images} images, '
        if self.annotations is None:
            text += 'no folder of annotations'
        else:
            text += f'{self.annotations} annotation files'
        return text + (f', {self.unlisted} images in no list' if self.unlisted else '')


@dataclass
class DatasetReport:
    """Defects and statistics of a data set.

    Attributes:
        folders: that were checked.
        defects: each with its ``kind``; the message begins with file and line.
        statistics: of the objects that are not defective.
    """

    folders: list[CheckedFolder] = field(default_factory=list)
    defects: list[AnnotationError] = field(default_factory=list)
    statistics: ObjectStatistics = field(default_factory=ObjectStatistics)

    @property
    def kinds(self) -> Counter[str]:
        """How many defects of each kind there are."""
        return Counter(defect.kind for defect in self.defects)

    def lines(self) -> list[str]:
        """Defects, folders, statistics, and the numbers of defects by kind."""
        return [
            *map(str, self.defects),
            *(folder.line for folder in self.folders),
            *self.statistics.lines(),
            self.verdict,
        ]

    @property
    def verdict(self) -> str:
        """The numbers of defects by kind."""
        if not self.defects:
            return 'nothing wrong'
        number = len(self.defects)
        kinds = ', '.join(f'{kind} ({n})' for kind, n in self.kinds.most_common())
        return f'{number} {"defect" if number == 1 else "defects"}: {kinds}'
