"""Finding every defect of a data set, with the checks that its reader makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from aerialkd.datasets.checking.folders import FolderFiles, find_folders, list_files
from aerialkd.datasets.checking.layouts import LAYOUTS, FoundObject, Layout
from aerialkd.datasets.checking.report import CheckedFolder, DatasetReport
from aerialkd.datasets.images import check_image, read_image_size
from aerialkd.errors import AnnotationError, ConfigError, NothingUsable


def check_dataset(
    layout: str,
    *folders: str | Path,
    version: str | None = None,
    classes: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> DatasetReport:
    """Look through data sets: every file, every annotation, every image decoded.

    The annotations of an image of which not even the header can be read are not
    checked, as it is not known where its borders are.

    Args:
        layout: a name of ``LAYOUTS``.
        folders: data sets in this layout, or folders whose sub-folders are such.
        version: of DOTA; decides the classes.
        classes: those of the files, if they are the user's; see the layout's data set
            for which number or name is which.
        workers: images that are decoded at a time; as many as there are processors if
            not given.
        progress: whether to show a progress bar on standard error.

    Raises:
        ConfigError: if an option does not fit, or a folder is no such data set.
    """
    chosen, classes = _choose(layout, version, classes)
    if not folders:
        raise ConfigError('folders: got none, expected at least one; name a folder.')
    if workers is not None and workers < 1:
        raise ConfigError(f'workers: got {workers}, expected at least 1.')
    # A folder and its parent may both be named.
    roots = [root for folder in folders for root in find_folders(chosen, Path(folder))]
    contents = [list_files(chosen, root) for root in dict.fromkeys(roots)]
    report = DatasetReport()
    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        tqdm(
            total=sum(len(content.images) for content in contents),
            desc='checking',
            unit='image',
            disable=not progress,
        ) as bar,
    ):
        try:
            for content in contents:
                _add_folder(report, content)
                jobs = [
                    pool.submit(_check_pair, chosen, classes, image, file)
                    for image, file in content.pairs()
                ]
                for job in jobs:
                    defects, objects = job.result()
                    report.defects += defects
                    report.statistics.add(objects)
                    bar.update()
        except BaseException:
            # Ctrl-C must not wait for thousands of images.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return report


def _choose(
    layout: str, version: str | None, classes: Sequence[str] | None
) -> tuple[Layout, Sequence[str] | None]:
    """The layout and its classes; None where they are those of the only version."""
    if layout not in LAYOUTS:
        raise ConfigError(
            f'layout: got {layout!r}, expected one of {", ".join(LAYOUTS)}.'
        )
    chosen = LAYOUTS[layout]
    if version is not None and version not in chosen.versions:
        versions = ', '.join(chosen.versions)
        expected = f'one of {versions}' if versions else 'none'
        raise ConfigError(
            f'version: got {version!r} for the layout {layout}, expected {expected}.'
        )
    if classes is not None and version is not None:
        raise ConfigError(
            f'version: got {version!r} beside classes, expected one of both, as either '
            'says what classes there are; leave one.'
        )
    if classes is None and not chosen.versions:
        return chosen, None
    options = {'classes': classes, **({'version': version} if version else {})}
    known: Sequence[str] = chosen.dataset.known_metainfo(options)['classes']
    return chosen, known


def _add_folder(report: DatasetReport, content: FolderFiles) -> None:
    files = content.annotations
    report.folders.append(
        CheckedFolder(
            content.root,
            len(content.images),
            None if files is None else len(files),
            content.unlisted,
        )
    )
    report.defects += content.defects


def _check_pair(
    layout: Layout, classes: Sequence[str] | None, image: Path, file: Path | None
) -> tuple[list[AnnotationError], list[FoundObject]]:
    defects: list[AnnotationError] = []
    try:
        size = read_image_size(image, complete=False)
    except AnnotationError as error:
        return [error], []
    objects: list[FoundObject] = []
    try:
        check_image(image)
    except AnnotationError as error:
        defects.append(error)
    lines: list[AnnotationError] = []
    try:
        if file is not None:
            objects = layout.read(file, size, classes, lines)
    except NothingUsable as error:
        # One line says it for a file of another format, which may have thousands.
        lines = [error] if len(lines) > 1 else lines
    except AnnotationError as error:
        lines.append(error)
    return defects + lines, objects
