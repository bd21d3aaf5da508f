"""What the readers of native layouts share: options, classes, pairs of files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from aerialkd.datasets.class_lists import class_list
from aerialkd.datasets.foreign_formats import file_hint, files_hint, folders_hint
from aerialkd.datasets.images import (
    IMAGE_SUFFIXES,
    check_image,
    find_files,
    read_image_size,
)
from aerialkd.datasets.metainfo import palette_for
from aerialkd.errors import AnnotationError, ConfigError, NothingUsable


class NativeDataset(BaseDetDataset):
    """Base of data sets with a folder of images and one annotation file an image.

    A data set states ``METAINFO``, ``DEFAULT_PREFIX``, ``ANN_SUFFIX`` and ``FORMAT``, a
    name of :mod:`aerialkd.datasets.foreign_formats`, and has :meth:`read_instances`.
    ``NAMES_IN_FILES`` says whether annotations name their classes, or number them;
    ``OFFICIAL`` has all names of all versions of the data set.

    Classes are stated twice, for two ends. ``classes`` are all that the annotation
    files have, in place of the data set's own; any other is an error. The ``classes``
    of ``metainfo`` are, as everywhere in mmdet, those that are learned and evaluated;
    the others of the files are left out. Where ``metainfo`` alone has names of the
    user's, these are ``classes`` too.

    Args:
        ann_file: refused, unless a data set overrides :meth:`check_ann_file`.
        metainfo: as for ``mmdet.BaseDetDataset``; ``classes`` selects some, labels
            follow the order given, and what METAINFO has for each class follows them.
            Beside the argument ``classes`` it must be a part of that.
        data_root: where ``data_prefix`` begins.
        data_prefix: folders of images and annotations, ``img_path`` and ``ann_path``;
            with ``test_mode`` the second may be absent, or None.
        classes: names of all classes that the files have; see the data set for what
            has which label.
        bad_annotations: ``'error'`` stops at the first bad annotation, object that is
            there twice or unreadable image. ``'skip'`` leaves those out, counts them in
            ``num_bad_annotations`` and ``num_bad_images``, and logs the first; where an
            annotation file cannot be read at all, its image is left out, too. A file
            whose annotations are all bad is an error: it is of another format, or of
            other classes.
        kwargs: as for ``mmdet.BaseDetDataset``. ``filter_cfg``, in training, may have
            ``filter_empty_gt`` and ``min_size`` (pixels).

    Raises:
        ConfigError: if a folder, class or option does not exist.
        AnnotationError: if files do not pair, or one is bad.
    """

    DEFAULT_PREFIX: Mapping[str, str]
    ANN_SUFFIX = '.txt'
    FORMAT = ''
    NAMES_IN_FILES = False
    OFFICIAL: Collection[str] = ()

    def __init__(
        self,
        ann_file: str = '',
        metainfo: Mapping | None = None,
        data_root: str | Path | None = '',
        data_prefix: Mapping[str, Any] | None = None,
        *,
        classes: Any = None,  # checked below: text may be a file of names
        bad_annotations: str = 'error',
        **kwargs: Any,
    ) -> None:
        stated = (data_prefix or self.DEFAULT_PREFIX).items()
        prefix = {key: folder for key, folder in stated if folder is not None}
        self._check_options(prefix, bad_annotations, kwargs)
        self.check_ann_file(ann_file)
        self.bad_annotations = bad_annotations
        self.num_bad_annotations = self.num_bad_images = 0
        self.classes = self._own_classes(classes, metainfo or {})
        known = self.known_metainfo(vars(self))
        self.classes_of_files: tuple[str, ...] = known['classes']
        super().__init__(
            ann_file,
            metainfo=_choose_classes(known, metainfo or {}),
            data_root=str(data_root) if isinstance(data_root, Path) else data_root,
            data_prefix=prefix,
            **kwargs,
        )

    @classmethod
    def known_metainfo(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Metainfo of all classes that the data set's files may have.

        Args:
            options: those of a config, or attributes of an instance.
        """
        default = cls.default_metainfo(options)
        classes = options.get('classes')
        if classes is None:
            return default
        names = class_list(classes, 'classes', in_lines=cls.NAMES_IN_FILES)
        return {'classes': names, 'palette': palette_for(names, default)}

    @classmethod
    def default_metainfo(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What :meth:`known_metainfo` is where the user states no classes."""
        return cls.METAINFO

    def check_ann_file(self, ann_file: str) -> None:
        """Refuse a file for all images."""
        if ann_file:
            raise ConfigError(
                f'ann_file: got {ann_file!r}, expected none, as '
                f'{type(self).__name__} has one annotation file an image; set '
                f"data_prefix['ann_path'] to their folder{file_hint(Path(ann_file))}."
            )

    def read_instances(
        self,
        file: Path,
        image_size: tuple[int, int],
        problems: list[AnnotationError] | None,
    ) -> list[dict]:
        """Instances of an image as mmdet expects them.

        Args:
            file: its annotations.
            image_size: (width, height) of the image in pixels.
            problems: receives the errors of bad annotations, which are then left
                out; without it the first one is an error.
        """
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """Read every image's size and annotations."""
        skip = self.bad_annotations == 'skip'
        problems: list[AnnotationError] | None = [] if skip else None
        bad_images: list[AnnotationError] = []
        bad_files: list[AnnotationError] = []
        data_list, pairs = [], self.find_pairs()
        for image, file in pairs:
            errors = bad_images
            try:
                size = read_image_size(image)
                errors = bad_files
                instances = self.read_instances(file, size, problems) if file else []
            except AnnotationError as error:
                if not skip or isinstance(error, NothingUsable):
                    raise
                # An image of unknown objects would teach that there are none.
                errors.append(error.with_traceback(None))
                continue
            data_list.append(
                {
                    'img_id': image.stem,
                    'file_name': image.name,
                    'img_path': str(image),
                    'width': size[0],
                    'height': size[1],
                    'instances': instances,
                }
            )
        self._report([*bad_files, *(problems or [])], bad_images)
        if pairs and not data_list:
            raise AnnotationError.at(
                self.data_prefix['img_path'],
                'no usable image',
                f'got none of {len(pairs)}, the first because of: '
                f'{(bad_images or bad_files)[0]}',
            )
        return data_list

    def find_pairs(self) -> list[tuple[Path, Path | None]]:
        """Images and their annotation files, in the order of the images' names."""
        images, annotations = self.find_files()
        if annotations is None:
            return [(image, None) for image in images.values()]
        self._check_pairs(set(images), set(annotations))
        return [(image, annotations[stem]) for stem, image in images.items()]

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path] | None]:
        """Images and annotations by stem; None for annotations that are not wanted."""
        for folder in map(Path, self.data_prefix.values()):
            if not folder.is_dir():
                raise ConfigError(self._no_folder(folder))
        images = find_files(self.data_prefix['img_path'], IMAGE_SUFFIXES)
        if 'ann_path' not in self.data_prefix:
            return images, None
        suffixes = frozenset({self.ANN_SUFFIX})
        return images, find_files(self.data_prefix['ann_path'], suffixes)

    def _no_folder(self, folder: Path) -> str:
        what = 'a file, no folder' if folder.is_file() else 'no such folder'
        images = Path(self.data_prefix['img_path'])
        hint = folders_hint(folder.parent, self.FORMAT) or file_hint(folder)
        repair = 'set data_root and data_prefix of the data set to where it lies'
        if self.test_mode and images.is_dir():
            repair += (
                '; images without annotations are tested with tools/test.py '
                '--format-only PREFIX (data_prefix.ann_path=None)'
            )
        return f'{folder}: {what}{hint}; {repair}.'

    def prepare_data(self, idx: int) -> Any:
        """An image's data as the pipeline makes them; None where a transform refuses.

        mmengine puts another image, drawn by lot, in the place of None. That is meant
        for crops without an object and must not hide an image that cannot be read.

        Raises:
            AnnotationError: if the image cannot be read.
        """
        try:
            data = super().prepare_data(idx)
        except AnnotationError:
            raise
        except Exception:
            check_image(self.get_data_info(idx)['img_path'])
            raise
        if data is None:
            check_image(self.get_data_info(idx)['img_path'])
        return data

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of an image's objects; ignored ones are none."""
        return _object_labels(self.get_data_info(idx))

    def filter_data(self) -> list[dict]:
        """Apply ``filter_cfg``: ``filter_empty_gt`` and ``min_size``."""
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        needs_object = self.filter_cfg.get('filter_empty_gt', False)
        min_size = self.filter_cfg.get('min_size', 0)
        kept = [
            data
            for data in self.data_list
            if min(data['width'], data['height']) >= min_size
            and (not needs_object or _object_labels(data))
        ]
        if not kept:
            raise ConfigError(
                f'filter_cfg: got {self.filter_cfg}, which leaves none of the '
                f'{len(self.data_list)} images in {self.data_prefix["img_path"]}; '
                'loosen it or choose other metainfo.classes.'
            )
        return kept

    def _check_pairs(self, images: set[str], annotations: set[str]) -> None:
        if images == annotations and images:
            return
        without = sorted(images - annotations)
        orphans = sorted(annotations - images)
        raise AnnotationError(
            f'{self.data_prefix["img_path"]}: images and annotations do not pair: got '
            f'{len(images)} images and {len(annotations)} annotation files, expected '
            f'one file an image; {len(without)} images have none (first: '
            f'{_first(without)}), {len(orphans)} files have no image (first: '
            f'{_first(orphans)}){self._hints()}; add or remove them (an image '
            'without objects needs an empty file).'
        )

    def _hints(self) -> str:
        """What else the folders hold where nothing of what is wanted is there."""
        wanted = {'img_path': IMAGE_SUFFIXES, 'ann_path': frozenset({self.ANN_SUFFIX})}
        return ''.join(
            files_hint(Path(self.data_prefix[key]), suffixes, self.FORMAT)
            for key, suffixes in wanted.items()
        )

    def _report(
        self, problems: list[AnnotationError], bad_images: list[AnnotationError]
    ) -> None:
        self.num_bad_annotations = len(problems)
        self.num_bad_images = len(bad_images)
        for what, key, errors in (
            ('annotations', 'ann_path', problems),
            ('images', 'img_path', bad_images),
        ):
            if errors:
                print_log(
                    f'{len(errors)} bad {what} of {self.data_prefix[key]} were left '
                    f'out, first: {" ".join(map(str, errors[:3]))}',
                    logger='current',
                    level=logging.WARNING,
                )

    def _own_classes(
        self, classes: Sequence[str] | None, metainfo: Mapping
    ) -> tuple[str, ...] | None:
        """The user's list of the files' classes; None: the data set's own."""
        if classes is not None:
            return class_list(classes, 'classes', in_lines=self.NAMES_IN_FILES)
        chosen = metainfo.get('classes')
        if chosen is None:
            return None
        names = class_list(chosen, 'metainfo.classes', in_lines=self.NAMES_IN_FILES)
        known = self.known_metainfo({**vars(self), 'classes': None})['classes']
        new = set(names) - set(known)
        # Of numbers nobody knows which class a name beside known ones would be. A name
        # of another version is a slip.
        mixed = len(new) < len(names) and not self.NAMES_IN_FILES
        return None if not new or mixed or new & set(self.OFFICIAL) else names

    def _check_options(
        self, prefix: Mapping[str, str], bad_annotations: str, kwargs: Mapping[str, Any]
    ) -> None:
        if bad_annotations not in ('error', 'skip'):
            raise ConfigError(
                f"bad_annotations: got {bad_annotations!r}, expected 'error' or 'skip'."
            )
        expected = {'img_path'} if kwargs.get('test_mode') else {'img_path', 'ann_path'}
        if not expected <= set(prefix) <= {'img_path', 'ann_path'}:
            example = ', '.join(f'{k}={v!r}' for k, v in self.DEFAULT_PREFIX.items())
            raise ConfigError(
                f'data_prefix: got the keys {sorted(prefix)}, expected img_path and '
                f'ann_path; for example dict({example}).'
            )
        unknown = set(kwargs.get('filter_cfg') or {}) - {'filter_empty_gt', 'min_size'}
        if unknown:
            raise ConfigError(
                f'filter_cfg: got the keys {sorted(unknown)}, expected filter_empty_gt '
                'or min_size; remove the others.'
            )


def _choose_classes(known: Mapping[str, Any], metainfo: Mapping) -> dict[str, Any]:
    """Metainfo of the chosen classes; what is known for each class follows them."""
    classes = known['classes']
    chosen = metainfo.get('classes')
    names = classes if chosen is None else class_list(chosen, 'metainfo.classes')
    if not set(names) <= set(classes):
        raise ConfigError(
            f'metainfo.classes: got {chosen!r}, expected a tuple of different names '
            f'out of {", ".join(classes)}; correct it (one class: {classes[:1]!r}), or '
            'state all classes of the files as classes=(...) of the data set.'
        )
    indices = [classes.index(name) for name in names]
    follow = {
        key: type(values)(values[index] for index in indices)
        for key, values in known.items()
    }
    palette = metainfo.get('palette')
    if isinstance(palette, list) and len(palette) != len(names):
        raise ConfigError(
            f'metainfo.palette: got {len(palette)} colours, expected one for each of '
            f'the {len(names)} classes ({", ".join(names)}); correct or delete it.'
        )
    return {**follow, **metainfo, 'classes': names}


def _object_labels(data: Mapping[str, Any]) -> list[int]:
    return [i['bbox_label'] for i in data['instances'] if not i['ignore_flag']]


def _first(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) or '-'
