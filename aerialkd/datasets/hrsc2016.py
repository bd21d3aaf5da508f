"""HRSC2016 in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrotate.datasets import HRSCDataset

from aerialkd.datasets.hrsc2016_format import read_objects
from aerialkd.datasets.image_lists import read_image_list
from aerialkd.datasets.rotated import RotatedDataset
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS

_TYPES = dict(
    zip(
        (f'1000000{number}' for number in HRSCDataset.METAINFO['classes_id']),
        HRSCDataset.METAINFO['classes'],
        strict=True,
    )
)
# Two numbers have no name, but are ships all the same.
SHIP_NAMES = {
    number: _TYPES.get(number, f'type {number}')
    for number in map(str, range(100000001, 100000034))
}


def ship_names(
    classes: Sequence[str] | None = None, classwise: bool = False
) -> Mapping[str, str]:
    """The class of each ``Class_ID`` that there is.

    Args:
        classes: the user's. One is that of every object, unless ``classwise``; several
            are those of the numbers 100000001, 100000002, ... in order. A file may
            hold a name in the place of its number.
        classwise: whether types are told apart.
    """
    if classes is None:
        return _TYPES if classwise else dict.fromkeys(SHIP_NAMES, 'ship')
    if len(classes) == 1 and not classwise:
        names = dict.fromkeys(SHIP_NAMES, classes[0])
    else:
        names = {str(100000000 + n): name for n, name in enumerate(classes, start=1)}
    return names | {name: name for name in classes}


@DATASETS.register_module()
class HRSC2016Dataset(RotatedDataset):
    """HRSC2016 (Liu et al. 2017): rotated boxes of ships in harbours and at sea.

    =======  =================================================================
    content  1061 images of Google Earth, 300 to 1500 pixels wide; 436 to train, 181
             to validate, 444 to test
    objects  2976 ships; one class, or 31 types of ships
    layout   ``FullDataSet/AllImages/*.bmp`` (any format),
             ``FullDataSet/Annotations/*.xml``, and ``ImageSets/*.txt`` with the
             names of a split's images
    box      centre, length, width and angle, see
             :mod:`aerialkd.datasets.hrsc2016_format`
    terms    academic use
    =======  =================================================================

    Images without objects are legal. Boxes that reach over the border stay as they
    are. Instances have four corners, so that DOTA's pipelines serve both.

    Args:
        ann_file: the list of images, one name without ending a line.
        args: as for :class:`aerialkd.datasets.native.NativeDataset`.
        classwise: whether the types of ships are told apart.
        kwargs: as for :class:`aerialkd.datasets.native.NativeDataset`; ``classes`` are
            those of :func:`ship_names`, if they are others than HRSC2016's. And
            ``ignore_difficult`` of :class:`aerialkd.datasets.rotated.RotatedDataset`.

    Raises:
        ConfigError: if a folder, list, class or option does not exist.
        AnnotationError: if the list names an image twice, or one that is missing or
            has no annotation file, an image is unreadable, or an annotation is bad.
    """

    METAINFO = {'classes': ('ship',), 'palette': [(220, 20, 60)]}
    DEFAULT_PREFIX = {
        'img_path': 'FullDataSet/AllImages',
        'ann_path': 'FullDataSet/Annotations',
    }
    ANN_SUFFIX = '.xml'
    FORMAT = 'HRSC2016'
    OFFICIAL = ('ship', *_TYPES.values())

    def __init__(
        self,
        ann_file: str = 'ImageSets/trainval.txt',
        *args: Any,
        classwise: bool = False,
        **kwargs: Any,
    ) -> None:
        self.classwise = classwise
        super().__init__(ann_file, *args, **kwargs)

    @classmethod
    def default_metainfo(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """One class, or those of ``mmrotate.HRSCDataset``."""
        if not options.get('classwise'):
            return cls.METAINFO
        return {key: HRSCDataset.METAINFO[key] for key in ('classes', 'palette')}

    def check_ann_file(self, ann_file: str) -> None:
        """Demand a list of images."""
        if not ann_file:
            raise ConfigError(
                f'ann_file: got {ann_file!r}, expected the list of images, for example '
                "'ImageSets/trainval.txt'."
            )

    def find_pairs(self) -> list[tuple[Path, Path | None]]:
        """Images that the list names, in its order, and their annotation files."""
        file = Path(self.ann_file)
        if not file.is_file():
            raise ConfigError(
                f'ann_file: got {file}, expected a list of images there; correct '
                'ann_file or data_root.'
            )
        images, annotations = self.find_files()
        needed = {'image': (self.data_prefix['img_path'], images)}
        if annotations is not None:
            needed['annotation file'] = (self.data_prefix['ann_path'], annotations)
        stems = read_image_list(file, needed)
        return [(images[s], annotations[s] if annotations else None) for s in stems]

    def read_instances(
        self,
        file: Path,
        image_size: tuple[int, int],
        problems: list[AnnotationError] | None,
    ) -> list[dict]:
        """Ships of the chosen classes."""
        names = ship_names(self.classes, self.classwise)
        ships = read_objects(file, image_size, names, problems)
        return self.instances_of(
            [(ship.corners, names[ship.class_id], ship.difficult) for ship in ships]
        )
