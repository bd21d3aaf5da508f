"""VisDrone-DET in its native layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aerialkd.datasets.native import NativeDataset
from aerialkd.datasets.visdrone_format import CLASSES, VisDroneBox, read_annotations
from aerialkd.errors import AnnotationError
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
class VisDroneDataset(NativeDataset):
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

    Lines hold numbers. ``classes``, where they are not VisDrone's ten, are the names of
    1, 2, ... in order; 0 stays the ignored region, and with ten names 11 "others".

    Args:
        data_prefix: folders of images and annotations, ``img_path`` and ``ann_path``,
            relative to ``data_root``. With ``test_mode``, ``ann_path`` may be absent:
            images without annotations (test-challenge).
        classes: names of all classes that the files number, from 1 on.
        bad_annotations: ``'error'`` stops at the first bad line, naming file and line,
            or unreadable image; ``'skip'`` leaves them out, counts them in
            ``num_bad_annotations`` and ``num_bad_images`` and logs the first ones.
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
    DEFAULT_PREFIX = {'img_path': 'images', 'ann_path': 'annotations'}
    FORMAT = 'VisDrone'
    OFFICIAL = CLASSES

    @classmethod
    def known_metainfo(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Classes, colours, and the number of each class in the files."""
        known = super().known_metainfo(options)
        return {**known, 'category_ids': tuple(range(1, len(known['classes']) + 1))}

    def load_data_list(self) -> list[dict]:
        """Read every image's size and annotations; images are numbered, as in COCO."""
        data_list = super().load_data_list()
        for index, data in enumerate(data_list):
            data['img_id'] = index
        return data_list

    def read_instances(
        self,
        file: Path,
        image_size: tuple[int, int],
        problems: list[AnnotationError] | None,
    ) -> list[dict]:
        """Objects of the chosen classes, and ignored regions."""
        labels = {c: i for i, c in enumerate(self.metainfo['category_ids'])}
        boxes = read_annotations(file, image_size, problems, self.classes_of_files)
        return [i for box in boxes if (i := _instance(box, labels))]


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
