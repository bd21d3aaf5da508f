"""DOTA in its native layout, whole scenes or tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aerialkd.datasets.dota_format import CLASSES, read_annotations
from aerialkd.datasets.rotated import RotatedDataset
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS

PALETTE = (
    (0, 190, 255),
    (170, 110, 40),
    (220, 20, 60),
    (0, 128, 0),
    (255, 200, 0),
    (255, 128, 0),
    (255, 0, 200),
    (0, 200, 120),
    (200, 120, 255),
    (0, 80, 200),
    (170, 220, 60),
    (119, 11, 32),
    (250, 170, 160),
    (70, 240, 240),
    (106, 0, 228),
    (128, 128, 0),
    (230, 230, 230),
    (0, 160, 90),
)


@DATASETS.register_module()
class DOTADataset(RotatedDataset):
    """DOTA (Xia et al. 2018, Ding et al. 2021): rotated boxes in satellite images.

    =======  =================================================================
    content  scenes of Google Earth, GF-2, JL-1 and aerial cameras, 800 to 4000
             pixels wide, in 2.0 larger ones too. 1.0 and 1.5: 1411 images to train, 458
             to validate, 937 to test; 2.0: 11268 in all
    objects  1.0: 15 classes, 188282 objects; 1.5: the same images with those below
             10 pixels and container-crane, 403318; 2.0: 18 classes with airport and
             helipad, 1793658
    layout   ``images/*.png`` (any format) and ``labelTxt/*.txt``, same stems
    line     ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``
    terms    academic use only
    =======  =================================================================

    Trained on tiles of 1024 pixels as a rule, which have the same layout. Images
    without objects are legal. Boxes that reach over the border stay as they are.

    Args:
        args: as for :class:`aerialkd.datasets.native.NativeDataset`.
        version: ``'1.0'``, ``'1.5'`` or ``'2.0'``, which says what classes there are.
        kwargs: as for :class:`aerialkd.datasets.native.NativeDataset`, and
            ``ignore_difficult`` of :class:`aerialkd.datasets.rotated.RotatedDataset`.
            ``classes`` are those of the files where they are not the version's, say
            ``('insulator',)``; ``metainfo=dict(classes=(...))`` selects some of them.

    Raises:
        ConfigError: if a folder, class or option does not exist.
        AnnotationError: if an image has no annotation file or the reverse, an image is
            unreadable, or a line is bad.
    """

    METAINFO = {
        'classes': CLASSES['1.0'],
        'palette': list(PALETTE[:15]),  # mmdet reads a tuple as a single colour
    }
    DEFAULT_PREFIX = {'img_path': 'images', 'ann_path': 'labelTxt'}
    NAMES_IN_FILES = True
    FORMAT = 'DOTA'
    OFFICIAL = CLASSES['2.0']

    def __init__(
        self, *args: Any, version: Literal['1.0', '1.5', '2.0'] = '1.0', **kwargs: Any
    ) -> None:
        self.version = version
        super().__init__(*args, **kwargs)

    @classmethod
    def default_metainfo(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Classes of the version, and their colours."""
        version = options.get('version', '1.0')
        if version not in CLASSES:
            raise ConfigError(
                f'version: got {version!r}, expected one of '
                f'{", ".join(map(repr, CLASSES))}, as text.'
            )
        classes = CLASSES[version]
        return {'classes': classes, 'palette': list(PALETTE[: len(classes)])}

    def read_instances(
        self,
        file: Path,
        image_size: tuple[int, int],
        problems: list[AnnotationError] | None,
    ) -> list[dict]:
        """Objects of the chosen classes."""
        boxes = read_annotations(file, image_size, self.classes_of_files, problems)
        return self.instances_of([(b.corners, b.name, b.difficult) for b in boxes])
