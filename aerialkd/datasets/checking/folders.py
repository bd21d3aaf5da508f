"""The folders of a data set, and which of their files belong together."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from aerialkd.datasets.checking.layouts import Layout
from aerialkd.datasets.foreign_formats import files_hint, folders_hint
from aerialkd.datasets.image_lists import read_image_list
from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files
from aerialkd.errors import AnnotationError, ConfigError


@dataclass(frozen=True)
class FolderFiles:
    """What a folder holds.

    Attributes:
        root: the folder.
        images: by stem.
        annotations: likewise; None if there is no folder of annotations.
        unlisted: images that no list names; None without lists.
        defects: files that do not belong together.
    """

    root: Path
    images: dict[str, Path]
    annotations: dict[str, Path] | None
    unlisted: int | None
    defects: list[AnnotationError]

    def pairs(self) -> Iterator[tuple[Path, Path | None]]:
        """Every image and its annotation file, None if it has none."""
        files = self.annotations or {}
        return ((image, files.get(stem)) for stem, image in self.images.items())


def find_folders(layout: Layout, folder: Path) -> list[Path]:
    """The folder, if it has the layout, or those of its sub-folders that do.

    Of the sub-folders also those with images only, such as a test set.

    Raises:
        ConfigError: if there is none.
    """
    images, annotations = layout.folders
    if (folder / images).is_dir() and (folder / annotations).is_dir():
        return [folder]
    found = []
    if folder.is_dir():
        found = [sub for sub in sorted(folder.iterdir()) if (sub / images).is_dir()]
    if not any((sub / annotations).is_dir() for sub in found):
        hint = folders_hint(folder, layout.dataset.FORMAT)
        raise ConfigError(
            f'{folder}: no data set of this layout: expected {images} and '
            f'{annotations} in it or in its sub-folders{hint}; name another folder.'
        )
    return found


def list_files(layout: Layout, root: Path) -> FolderFiles:
    """Find a folder's files and what is wrong with their names."""
    image_folder, ann_folder = (root / name for name in layout.folders)
    defects: list[AnnotationError] = []
    images = find_files(image_folder, IMAGE_SUFFIXES, defects)
    files, listed, unlisted = None, None, None
    if not images:
        hint = files_hint(image_folder, IMAGE_SUFFIXES, layout.dataset.FORMAT)
        defects.append(
            AnnotationError.at(
                image_folder,
                'no images',
                f'got none, expected files that end in '
                f'{", ".join(sorted(IMAGE_SUFFIXES))}{hint}; restore them.',
            )
        )
    if ann_folder.is_dir():
        suffix = layout.dataset.ANN_SUFFIX
        files = find_files(ann_folder, frozenset({suffix}), defects)
        if layout.lists is not None:
            needed = {
                'image': (image_folder, images),
                'annotation file': (ann_folder, files),
            }
            listed = _listed(root / layout.lists, needed, defects)
            unlisted = len(set(images) - listed)
        hint = files_hint(ann_folder, frozenset({suffix}), layout.dataset.FORMAT)
        if hint and images:
            defects.append(
                AnnotationError.at(
                    ann_folder,
                    'no annotation files',
                    f'got none that end in {suffix}, expected one for each of '
                    f'{len(images)} images{hint}.',
                )
            )
        else:
            defects += _unpaired(images, files, listed, ann_folder, image_folder)
    return FolderFiles(root, images, files, unlisted, defects)


def _listed(
    folder: Path,
    needed: dict[str, tuple[Path, dict[str, Path]]],
    defects: list[AnnotationError],
) -> set[str]:
    """All names that the lists of a folder have."""
    lists = sorted(folder.glob('*.txt'))
    if not lists:
        defects.append(
            AnnotationError.at(
                folder,
                'no lists of images',
                'got none, expected such as trainval.txt; restore them.',
            )
        )
    names: set[str] = set()
    for file in lists:
        try:
            names.update(read_image_list(file, needed, defects))
        except AnnotationError as error:
            defects.append(error)
    return names


def _unpaired(
    images: dict[str, Path],
    files: dict[str, Path],
    listed: Collection[str] | None,
    ann_folder: Path,
    image_folder: Path,
) -> Iterator[AnnotationError]:
    # Where there are lists, a listed image that lacks its file is named there, and
    # the others are never read.
    alone = [] if listed is not None else sorted(set(images) - set(files))
    for stem in alone:
        yield AnnotationError.at(
            images[stem],
            'image without annotation file',
            f'got none in {ann_folder}, expected one of the same name; add it (one '
            'without objects, if there are none), or remove the image.',
        )
    for stem in sorted(set(files) - set(images)):
        yield AnnotationError.at(
            files[stem],
            'annotation file without image',
            f'got none in {image_folder}, expected one of the same name; add it, or '
            'remove the file.',
        )
