"""VisDrone-DET in its native layout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files, read_image_size
from aerialkd.datasets.visdrone_format import CLASSES, VisDroneBox, read_annotations
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS

PALETTE = (
    (220, 20, 60),
    (255, 128, 0),
    (119, 11, 32),
    (0, 80, 200),
    (0, 190, 255),
    (106, 0, 228),
    (0, 160, 90),
    (170, 220, 60),
    (255, 200, 0),
    (255, 0, 200),
)


@DATASETS.register_module()
class VisDroneDataset(BaseDetDataset):
    """VisDrone-DET (Zhu et al. 2021): drone images with ten classes of small objects.

    =======  =================================================================
    content  photos of Chinese cities, 480 to 2000 pixels wide; 6471 images to
             train, 548 to validate, 1610 to test (test-dev)
    objects  about 53 an image, up to several hundred, most below 32 px
    layout   ``images/*.jpg`` and ``annotations/*.txt`` with the same stems
    line     ``x,y,width,height,score,class,truncation,occlusion``
    terms    research use
    =======  =================================================================

    Images without objects are legal. Ignored regions become instances with
    ``ignore_flag`` 1, which take no part in the loss (assigners with
    ``ignore_iof_thr``) and evaluation (:class:`aerialkd.evaluation.VisDroneMetric`);
    class 11 ("others") and rows of score 0 are dropped, as in the benchmark. Boxes
    that reach over the border are cut there.

    Args:
        data_prefix: folders of images and annotations, ``img_path`` and ``ann_path``,
            relative to ``data_root``. With ``test_mode``, ``ann_path`` may be absent:
            images without annotations (test-challenge).
        bad_annotations: ``'error'`` stops at the first bad line, naming file and line;
            ``'skip'`` leaves bad lines out, counts them in ``num_bad_annotations``
            and logs the first ones.
        kwargs: as for ``mmdet.BaseDetDataset``. ``metainfo=dict(classes=(...))``
            selects classes, labels follow the order given. ``filter_cfg``, in
            training, may have ``filter_empty_gt`` and ``min_size`` (pixels).

    Raises:
        ConfigError: if a folder, class or option does not exist.
        AnnotationError: if an image has no annotation file or the reverse, an image is
            unreadable, or a line is bad.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': list(PALETTE),  # mmdet reads a tuple as a single colour
        'category_ids': tuple(range(1, len(CLASSES) + 1)),
    }

    def __init__(
        self,
        *args: Any,
        data_prefix: Mapping[str, str] | None = None,
        bad_annotations: str = 'error',
        **kwargs: Any,
    ) -> None:
        prefix = dict(data_prefix or {'img_path': 'images', 'ann_path': 'annotations'})
        _check_options(prefix, bad_annotations, kwargs)
        self.bad_annotations = bad_annotations
        self.num_bad_annotations = 0
        if isinstance(kwargs.get('data_root'), Path):
            kwargs['data_root'] = str(kwargs['data_root'])
        super().__init__(*args, data_prefix=prefix, **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        """Check the chosen classes; their colours and numbers follow them."""
        chosen = _check_classes((metainfo or {}).get('classes', CLASSES))
        indices = [CLASSES.index(name) for name in chosen]
        defaults = {
            'palette': [PALETTE[index] for index in indices],
            'category_ids': tuple(index + 1 for index in indices),
        }
        return super()._load_metainfo({**defaults, **(metainfo or {})})

    def load_data_list(self) -> list[dict]:
        """Read every image's size and annotations."""
        images = find_files(self.data_prefix['img_path'], IMAGE_SUFFIXES)
        annotations: dict[str, Path] = {}
        if 'ann_path' in self.data_prefix:
            annotations = find_files(self.data_prefix['ann_path'], frozenset({'.txt'}))
            self._check_pairs(set(images), set(annotations))
        labels = {c: i for i, c in enumerate(self.metainfo['category_ids'])}
        problems: list[str] | None = [] if self.bad_annotations == 'skip' else None
        data_list = []
        for index, (stem, image) in enumerate(images.items()):
            size = read_image_size(image)
            file = annotations.get(stem)
            boxes = read_annotations(file, size, problems) if file else []
            data_list.append(
                {
                    'img_id': index,
                    'img_path': str(image),
                    'width': size[0],
                    'height': size[1],
                    'instances': [i for box in boxes if (i := _instance(box, labels))],
                }
            )
        if problems:
            self._report(problems)
        return data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of an image's objects; ignored regions are none."""
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
            f'{_first(orphans)}); add or remove them (an image without objects needs '
            'an empty file).'
        )

    def _report(self, problems: list[str]) -> None:
        self.num_bad_annotations = len(problems)
        print_log(
            f'{len(problems)} bad annotation lines of {self.data_prefix["ann_path"]} '
            f'were left out, first: {" ".join(problems[:3])}',
            logger='current',
            level=logging.WARNING,
        )


def _check_options(
    prefix: Mapping[str, str], bad_annotations: str, kwargs: Mapping[str, Any]
) -> None:
    if bad_annotations not in ('error', 'skip'):
        raise ConfigError(
            f"bad_annotations: got {bad_annotations!r}, expected 'error' or 'skip'."
        )
    expected = {'img_path'} if kwargs.get('test_mode') else {'img_path', 'ann_path'}
    if not expected <= set(prefix) <= {'img_path', 'ann_path'}:
        raise ConfigError(
            f'data_prefix: got the keys {sorted(prefix)}, expected img_path and '
            "ann_path; for example dict(img_path='images', ann_path='annotations')."
        )
    if kwargs.get('ann_file'):
        raise ConfigError(
            f'ann_file: got {kwargs["ann_file"]!r}, expected none, as VisDrone has one '
            "annotation file an image; set data_prefix['ann_path'] to their folder."
        )
    unknown = set(kwargs.get('filter_cfg') or {}) - {'filter_empty_gt', 'min_size'}
    if unknown:
        raise ConfigError(
            f'filter_cfg: got the keys {sorted(unknown)}, expected filter_empty_gt or '
            'min_size; remove the others.'
        )


def _check_classes(chosen: Any) -> tuple[str, ...]:
    names = tuple(chosen)
    if not names or len(set(names)) < len(names) or not set(names) <= set(CLASSES):
        raise ConfigError(
            f'metainfo.classes: got {chosen!r}, expected a tuple of different names '
            f"out of {', '.join(CLASSES)}; correct it (one class: ('car',))."
        )
    return names


def _instance(box: VisDroneBox, labels: Mapping[int, int]) -> dict | None:
    """An instance as mmdet expects it; None for what takes no part at all."""
    if box.is_ignored_region:
        # The label of an ignored region is never read, but must be a valid one.
        return {'bbox': list(box.bbox), 'bbox_label': 0, 'ignore_flag': 1}
    if not box.is_object or box.category not in labels:
        return None
    return {
        'bbox': list(box.bbox),
        'bbox_label': labels[box.category],
        'ignore_flag': 0,
    }


def _object_labels(data: Mapping[str, Any]) -> list[int]:
    return [i['bbox_label'] for i in data['instances'] if not i['ignore_flag']]


def _first(names: list[str]) -> str:
    return ', '.join(names[:3]) or '-'
