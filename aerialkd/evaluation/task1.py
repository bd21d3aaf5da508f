"""Detections as DOTA's server takes them for its task 1, one text file a class.

``Task1_CLASS.txt`` has one line a detection: ``image score x1 y1 x2 y2 x3 y3 x4 y4``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.text_fields import finite_number, read_lines
from aerialkd.engine.staging import staging
from aerialkd.errors import AnnotationError, ConfigError, ShapeError

FIELDS = ('image', 'score', 'x1', 'y1', 'x2', 'y2', 'x3', 'y3', 'x4', 'y4')
_FILE = re.compile(r'Task1_(.+)\.txt')
_REMEDY = 'correct or delete the line'


@dataclass(frozen=True)
class SceneDetections:
    """Detections of one image.

    Attributes:
        name: the image file's stem.
        boxes: (n, 8), x1 y1 to x4 y4 in pixels.
        labels: (n,), index of the class.
        scores: (n,), 0 to 1.

    Raises:
        ShapeError: if the arrays do not fit together.
    """

    name: str
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.floating]

    def __post_init__(self) -> None:
        n = len(self.scores)
        shapes = (self.boxes.shape, self.labels.shape, self.scores.shape)
        if shapes != ((n, 8), (n,), (n,)):
            raise ShapeError(
                f'{self.name}: boxes, labels and scores that do not fit together: got '
                f'{", ".join(map(str, shapes))}, expected (n, 8), (n,) and (n,).'
            )


def write_task1(
    folder: str | Path, images: Sequence[SceneDetections], classes: Sequence[str]
) -> None:
    """Write one file for every class, also where nothing was found.

    Either all files appear or none. Files of the same names are replaced. Corners have
    four decimals; scores as many digits as it takes to read the same number again.

    Args:
        folder: made if it does not exist.
        images: lines are in this order.
        classes: the name of each label.

    Raises:
        ConfigError: if a name holds white space, which separates the fields, or a
            label has no class.
        AnnotationError: if a box or score is not finite, or a score not in 0 to 1.
    """
    for image in images:
        _check_image(image, len(classes))
    names = [task1_file(name) for name in classes]
    with staging([Path(folder) / name for name in names], force=True) as temporary:
        for label, name in enumerate(names):
            with (temporary / name).open('w', encoding='utf-8') as file:
                for image in images:
                    file.writelines(_lines(image, label))


def read_task1(folder: str | Path, classes: Sequence[str]) -> list[SceneDetections]:
    """Read the files of all classes.

    Args:
        folder: holds a file for every class, and no file of another.
        classes: labels are indices into them.

    Returns:
        Images by name; those without a detection are not in the files. Detections
        class by class, in the order of their lines.

    Raises:
        ConfigError: if the folder or the file of a class is missing, or there is one of
            an unknown class.
        AnnotationError: names file and line that cannot be read.
    """
    folder = Path(folder)
    _check_files(folder, classes)
    names: list[str] = []
    rows: list[tuple[float, ...]] = []
    for label, name in enumerate(classes):
        for where, line in read_lines(folder / task1_file(name)):
            image, numbers = _parse(line, where)
            names.append(image)
            rows.append((label, *numbers))
    table = np.array(rows, np.float64).reshape(-1, len(FIELDS))
    images, owners = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    order = np.argsort(owners, kind='stable')
    bounds = np.searchsorted(owners[order], np.arange(1, len(images)))
    tables = np.split(table[order], bounds) if len(images) else []
    return [
        SceneDetections(str(name), t[:, 2:], t[:, 0].astype(np.int64), t[:, 1])
        for name, t in zip(images, tables, strict=True)
    ]


def zip_task1(folder: str | Path, classes: Sequence[str]) -> Path:
    """Pack the files of all classes, as the server takes them, into ``FOLDER.zip``."""
    target = Path(f'{folder}.zip')
    with staging([target], force=True) as temporary:
        packed = temporary / target.name
        with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name in map(task1_file, classes):
                archive.write(Path(folder) / name, name)
    return target


def class_counts(
    images: Sequence[SceneDetections], classes: Sequence[str]
) -> NDArray[np.int64]:
    """(n_classes,), the number of detections of each class."""
    labels = [np.zeros(0, np.int64), *(image.labels for image in images)]
    return np.bincount(np.concatenate(labels), minlength=len(classes))


def task1_file(class_name: str) -> str:
    """The name of a class's file.

    Raises:
        ConfigError: if no file can be named after the class.
    """
    if re.search(r'[/\0]', class_name):
        raise ConfigError(
            f'classes: got {class_name!r}, expected names without / for Task1 files, '
            'which are named after them; rename the class.'
        )
    return f'Task1_{class_name}.txt'


def _check_image(image: SceneDetections, classes: int) -> None:
    if not image.name or re.search(r'\s', image.name):
        raise ConfigError(
            f'{image.name!r}: cannot be written to a Task1 file: got a name with white '
            'space, expected one without; rename the image.'
        )
    if ((image.labels < 0) | (image.labels >= classes)).any():
        raise ConfigError(
            f'{image.name}: label without a class: got {image.labels.min()} to '
            f'{image.labels.max()}, expected 0 to {classes - 1}; name the classes of '
            'the detector.'
        )
    if not np.isfinite(image.boxes).all():
        raise AnnotationError(
            f'{image.name}: box that is not finite, expected pixels; has training '
            'diverged?'
        )
    if not ((image.scores >= 0) & (image.scores <= 1)).all():
        raise AnnotationError(
            f'{image.name}: score outside 0 to 1: got {image.scores.min()} to '
            f'{image.scores.max()}; write probabilities.'
        )


def _lines(image: SceneDetections, label: int) -> Iterator[str]:
    chosen = image.labels == label
    for score, box in zip(image.scores[chosen], image.boxes[chosen], strict=True):
        text = np.format_float_positional(score, trim='0')
        # Adding 0 turns -0 into 0.
        corners = ' '.join(f'{round(value, 4) + 0.0:.4f}' for value in box.tolist())
        yield f'{image.name} {text} {corners}\n'


def _check_files(folder: Path, classes: Sequence[str]) -> None:
    if not folder.is_dir():
        raise ConfigError(f'{folder}: no such folder, expected Task1 files in it.')
    found = {m[1] for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))}
    missing, unknown = sorted(set(classes) - found), sorted(found - set(classes))
    if missing or unknown:
        raise ConfigError(
            f'{folder}: Task1 files of other classes: missing {missing}, unknown '
            f'{unknown}, expected one of each of {", ".join(classes)}; name the '
            'version of DOTA or the classes of the detector (--version, --classes '
            f'{" ".join(sorted(found)) or "NAME ..."}), or add empty files where '
            'nothing was found.'
        )


def _parse(line: str, where: str) -> tuple[str, list[float]]:
    image, *texts = line.split()
    if len(texts) != len(FIELDS) - 1:
        raise AnnotationError(
            f'{where}: wrong number of fields: got {len(texts) + 1}, expected '
            f'{len(FIELDS)} ({" ".join(FIELDS)}); {_REMEDY}.'
        )
    numbers = [
        finite_number(text, f'{where}: {name}')
        for text, name in zip(texts, FIELDS[1:], strict=True)
    ]
    if not 0 <= numbers[0] <= 1:
        raise AnnotationError(
            f'{where}: score out of range: got {texts[0]}, expected 0 to 1; {_REMEDY}.'
        )
    return image, numbers
