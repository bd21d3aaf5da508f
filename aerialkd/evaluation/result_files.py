"""Detections as files: COCO's JSON, and the text files of the VisDrone server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """Detections of one image by falling score, in pixels of the original.

    Attributes:
        img_id: the data set's number of the image.
        name: the image file's stem.
        boxes: (n, 4), x1 y1 x2 y2.
        labels: (n,).
        scores: (n,).
    """

    img_id: Any
    name: str
    boxes: NDArray
    labels: NDArray
    scores: NDArray

    @property
    def arrays(self) -> tuple[NDArray, NDArray, NDArray]:
        """Boxes, labels and scores."""
        return self.boxes, self.labels, self.scores

    def best(self, number: int | None) -> Detections:
        """The first ``number`` of them."""
        return replace(
            self,
            boxes=self.boxes[:number],
            labels=self.labels[:number],
            scores=self.scores[:number],
        )

    @property
    def xywh(self) -> NDArray:
        """(n, 4), upper left corner, width and height."""
        return np.concatenate(
            [self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], 1
        )


def write_result_files(
    prefix: str | Path, images: Sequence[Detections], category_ids: Sequence[int]
) -> None:
    """Write ``PREFIX.bbox.json`` and ``PREFIX_visdrone/IMAGE.txt``.

    Args:
        prefix: path without an ending; missing folders are made.
        images: of every image, also those without a detection.
        category_ids: the format's number of each label.
    """
    json_path, folder = Path(f'{prefix}.bbox.json'), Path(f'{prefix}_visdrone')
    folder.mkdir(parents=True, exist_ok=True)
    json_path.write_text(
        json.dumps([row for image in images for row in _coco_rows(image, category_ids)])
    )
    for image in images:
        lines = _visdrone_lines(image, category_ids)
        (folder / f'{image.name}.txt').write_text(''.join(lines))


def _coco_rows(image: Detections, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {'image_id': image.img_id, 'bbox': box, 'score': score, 'category_id': category}
        for box, score, category in _rows(image, category_ids)
    ]


def _visdrone_lines(image: Detections, category_ids: Sequence[int]) -> list[str]:
    # Truncation and occlusion are -1 in results.
    return [
        f'{x:.2f},{y:.2f},{w:.2f},{h:.2f},{score:.6f},{category},-1,-1\n'
        for (x, y, w, h), score, category in _rows(image, category_ids)
    ]


def _rows(image: Detections, category_ids: Sequence[int]) -> Any:
    categories = [category_ids[label] for label in image.labels]
    return zip(image.xywh.tolist(), image.scores.tolist(), categories, strict=True)
