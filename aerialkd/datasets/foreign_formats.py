"""What files and folders look like that are of another format than the one expected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aerialkd.datasets.images import IMAGE_SUFFIXES
from aerialkd.errors import AnnotationError

_NUMBER = re.compile(r'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?', re.ASCII)
_YOLO = "in parts of the image's size; convert the labels to pixels in this layout"
_FORMATS = {
    'YOLO': f'class cx cy w h, {_YOLO}',
    'YOLO-OBB': f'class x1 y1 x2 y2 x3 y3 x4 y4, {_YOLO}',
    'YOLO segmentation': f'class and x y of each point, {_YOLO}',
    'VisDrone': 'x,y,width,height,score,class,truncation,occlusion; read it with '
    'aerialkd.VisDroneDataset, check it as visdrone',
    'MOT': 'frame,target,x,y,width,height,...; export an annotation file an image',
    'DOTA': 'x1 y1 x2 y2 x3 y3 x4 y4 class difficult; read it with '
    'aerialkd.DOTADataset, check it as dota',
    'COCO': "JSON, one file for all images; read it with MMDetection's CocoDataset",
    'XML': 'VOC (or HRSC2016), an XML file an image; read it with '
    "MMDetection's XMLDataset or aerialkd.HRSC2016Dataset",
}
# Folders below a data set's own, and the format; ours last, as VisDrone's are common.
_FOLDERS = (
    (('images', 'labels'), 'YOLO'),
    (('JPEGImages', 'Annotations'), 'XML'),
    (('FullDataSet/AllImages',), 'XML'),
    (('images', 'labelTxt'), 'DOTA'),
    (('images', 'annfiles'), 'DOTA'),
    (('images', 'annotations'), 'VisDrone'),
)
_ENDINGS = {'.json': 'COCO', '.xml': 'XML'}


def line_format(text: str) -> str:
    """The format that a line of text looks like; '' for none that is known here."""
    text = text.strip()
    if text[:1] in ('{', '['):
        return 'COCO'
    if text[:1] == '<':
        return 'XML'
    fields = [field for field in re.split(r'[,;\s]+', text) if field]
    numeric = [bool(_NUMBER.fullmatch(field)) for field in fields]
    if 'YOLO' in (name := _yolo(fields, numeric)):
        return name
    if ',' in text and all(numeric):
        return {8: 'VisDrone', 10: 'MOT'}.get(len(fields), '')
    is_dota = len(fields) in (9, 10) and all(numeric[:8]) and not numeric[8]
    return 'DOTA' if is_dota else ''


def wrong_fields(
    where: str, text: str, got: int, fields: Sequence[str], own: str, separator: str
) -> AnnotationError:
    """The error of a line with too few or too many fields.

    Args:
        where: ``file:line``.
        text: the line.
        got: the number of its fields.
        fields: what they should be.
        own: the line's format.
        separator: of its fields.
    """
    hint = _hint(line_format(text), own)
    repair = f'{hint}. If not,' if hint else ';'
    return AnnotationError.at(
        where,
        'wrong number of fields',
        f'got {got}, expected {len(fields)} ({separator.join(fields)}){repair} correct '
        'or delete the line.',
    )


def file_hint(file: Path) -> str:
    """What a file looks like by its ending, or nothing."""
    return _hint(_ENDINGS.get(file.suffix.lower(), ''), '')


def files_hint(folder: Path, suffixes: frozenset[str], own: str) -> str:
    """What a folder holds in the place of files with these endings; or nothing."""
    if not folder.is_dir():
        return ''
    there = [p for p in folder.iterdir() if not p.name.startswith('.')]
    endings = Counter(path.suffix.lower() for path in there if path.is_file())
    if any(suffix in suffixes for suffix in endings):
        return ''
    for ending, name in _ENDINGS.items():
        if endings[ending]:
            return f'; it holds {endings[ending]} {ending} files{_hint(name, own)}'
    images = sum(number for e, number in endings.items() if e in IMAGE_SUFFIXES)
    if images:
        return f'; it holds {images} images, so that another folder is wanted'
    if endings['.txt']:
        return f'; it holds {endings[".txt"]} .txt files, so that another is wanted'
    folders = sorted(path.name for path in there if path.is_dir())
    return f'; it holds the folders {", ".join(folders[:4])}' if folders else ''


def folders_hint(root: Path, own: str) -> str:
    """What a data set's folders look like, or nothing."""
    for names, name in _FOLDERS:
        if all((root / folder).is_dir() for folder in names) and name != own:
            listed = ' and '.join(f'{folder}/' for folder in names)
            return f'; {root} has {listed}{_hint(name, own)}'
    return ''


def _hint(name: str, own: str) -> str:
    return f'; looks like {name}: {_FORMATS[name]}' if name not in ('', own) else ''


def _yolo(fields: Sequence[str], numeric: Sequence[bool]) -> str:
    """Its kind; a class, then numbers of which those of the box lie in 0 to 1."""
    if len(fields) < 5 or not all(numeric[1:]):
        return ''
    # Some exporters let a box reach a little over the border.
    if not all(-0.1 <= float(field) <= 1.1 for field in fields[1:]):
        return ''
    if numeric[0] and not float(fields[0]).is_integer():
        return ''
    if len(fields) in (5, 6):  # the sixth is a score
        return 'YOLO'
    if len(fields) in (9, 10):
        return 'YOLO-OBB'
    return 'YOLO segmentation' if len(fields) % 2 else ''
