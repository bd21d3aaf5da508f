"""How DOTA's scenes are split into tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aerialkd.datasets.class_lists import class_list
from aerialkd.datasets.dota_format import CLASSES
from aerialkd.datasets.tiles.windows import check_windows
from aerialkd.errors import ConfigError

CHOICES = {
    'version': tuple(CLASSES),
    'cut': ('clip', 'whole'),
    'small_parts': ('drop', 'difficult'),
    'empty_tiles': ('keep', 'drop'),
    'image_format': ('png', 'jpg'),
    'bad_annotations': ('error', 'skip'),
}


@dataclass(frozen=True)
class TileSettings:
    """What decides the tiles of a folder.

    Attributes:
        sizes: sides of the tiles in pixels; several make several tiles of each place.
            Nothing is resized.
        gaps: overlap of neighbouring tiles in pixels, one for each size. An object up
            to this wide lies whole in at least one tile.
        version: of DOTA; decides the classes.
        kept_share: objects with at least this part of their area in a tile belong to
            it. 0.7 is the rule of DOTA's devkit and of mmrotate.
        cut: what happens to such an object that a tile's border cuts: ``clip``
            replaces it by the smallest rectangle along its own axes around the visible
            part, which can reach a little out of the tile; ``whole`` keeps its corners.
        small_parts: ``drop`` objects of which less is in a tile, or write them as
            ``difficult`` 2 like DOTA's devkit; parts below one square pixel are always
            dropped.
        empty_tiles: ``keep`` or ``drop`` tiles without objects. They belong to an
            evaluation, where they carry false positives; to train faster they may go.
        labels: folder of the annotations within the source; None: images only.
        image_format: ``png`` loses nothing; ``jpg`` (quality 95) is several times
            smaller, but its artefacts are no part of the scene.
        bad_annotations: what to do about a line that cannot be read: ``error``, or
            ``skip`` it and report its message. A file without any good line is an
            error.
        classes: names of all classes that the annotations have; those of the version
            if not given.

    Raises:
        ConfigError: names the setting that does not fit.
    """

    sizes: Sequence[int] = (600,)
    gaps: Sequence[int] = (150,)
    version: str = '1.0'
    kept_share: float = 0.7
    cut: str = 'clip'
    small_parts: str = 'drop'
    empty_tiles: str = 'keep'
    labels: str | None = 'labelTxt'
    image_format: str = 'png'
    bad_annotations: str = 'error'
    classes: tuple[str, ...] = None  # type: ignore[assignment] # see __post_init__

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f'{name}: got {getattr(self, name)!r}, expected '
                    f'{" or ".join(choices)}.'
                )
        stated = CLASSES[self.version] if self.classes is None else self.classes
        classes = class_list(stated, 'classes', in_lines=True)
        object.__setattr__(self, 'classes', classes)
        check_windows(self.sizes, self.gaps)
        if not 0 < self.kept_share <= 1:
            raise ConfigError(
                f'kept_share: got {self.kept_share}, expected above 0, at most 1.'
            )
        if self.labels is None and self.empty_tiles == 'drop':
            raise ConfigError(
                'empty_tiles: got drop without labels, where every tile looks empty; '
                'expected keep.'
            )
