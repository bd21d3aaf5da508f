"""What is known of a checkpoint after its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray


@dataclass(frozen=True)
class EvaluatedImage:
    """Ground truth and detections of one image, in pixels of the original.

    Attributes:
        path: of the image file.
        size: width and height.
        gt_boxes: (g, 4) as x1 y1 x2 y2, or (g, 8) as the corners of rotated boxes.
        gt_labels: (g,).
        gt_ignored: (g,) bool; boxes that take no part.
        boxes: (n, 4) or (n, 8), by falling score.
        labels: (n,).
        scores: (n,).
    """

    path: str
    size: tuple[int, int]
    gt_boxes: NDArray
    gt_labels: NDArray
    gt_ignored: NDArray
    boxes: NDArray
    labels: NDArray
    scores: NDArray


@dataclass(frozen=True)
class EvaluatedRun:
    """A checkpoint's measures, boxes and costs.

    Attributes:
        metrics: what the evaluator returned, by its names.
        images: in the order of the test data.
        classes: names by label.
        ignored_regions: whether ignored boxes are regions as in VisDrone.
        max_dets: how many detections of an image count.
        parameters: of the detector that is deployed, without a teacher.
        flops: of one image, twice the multiply-adds of convolutions and matrix
            products; normalisation, activations and NMS are not counted. (MMDetection's
            ``get_flops`` counts a multiply-add once.)
        input_size: height and width of the image that ``flops`` is for, padded.
        images_per_second: one over the median time of single images, from the
            loaded image to its boxes, NMS included.
        threads: of torch during that measurement.
        device: that it was evaluated on.
    """

    metrics: dict[str, float]
    images: tuple[EvaluatedImage, ...]
    classes: tuple[str, ...]
    ignored_regions: bool
    max_dets: int
    parameters: int
    flops: int
    input_size: tuple[int, int]
    images_per_second: float
    threads: int
    device: str

    @property
    def rotated(self) -> bool:
        """Whether the boxes are given by four corners."""
        return bool(self.images) and self.images[0].boxes.shape[1] != 4
