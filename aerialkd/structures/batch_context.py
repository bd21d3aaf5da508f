"""BatchContext: what a distillation loss may know about the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from aerialkd.errors import BoxTypeError, ConfigError, RecordError
from aerialkd.structures.assigned import AssignedTargets
from aerialkd.structures.box_cells import BoxCells, box_cells
from aerialkd.structures.dense_head import (
    box_bins,
    decode_boxes,
    differing_settings,
    flatten_deltas,
    flatten_levels,
    same_grid,
    settings_of,
)
from aerialkd.structures.scaling import nearest_cells, scaled_boxes


class BatchContext:
    """Boxes, sizes, priors and assigned targets of one training batch.

    A loss whose ``forward`` declares an argument ``batch`` receives it. Boxes keep
    their own type; a loss that cannot serve it calls :meth:`require_horizontal`.

    Args:
        data_samples: the batch's samples with ``gt_instances`` (and
            ``ignored_instances`` where the data set has ignored regions).
        batch_input_shape: (height, width) of the padded batch in pixels. Masks are
            drawn against this, never against an image's own size.
        assigned: gives the student's assigned targets, or None if there are none;
            called when a loss first asks for them.
        heads: dense heads of student and teacher, for losses that compare boxes.
        teacher_scale: size of the teacher's images over that of the student's. All
            boxes and priors here are in pixels of the student's images.

    Raises:
        BoxTypeError: if the boxes are neither (n, 4) nor (n, 5), or mixed.
    """

    def __init__(
        self,
        data_samples: Sequence[Any],
        batch_input_shape: tuple[int, int],
        assigned: Callable[[], AssignedTargets | None] | None = None,
        heads: tuple[Any, Any] | None = None,
        teacher_scale: float = 1.0,
    ) -> None:
        self.data_samples = data_samples
        self.batch_input_shape = (int(batch_input_shape[0]), int(batch_input_shape[1]))
        self._read_assigned = assigned
        self._heads = heads
        self.teacher_scale = teacher_scale
        self._cells: dict[tuple[int, int], BoxCells] = {}
        self._valid: dict[tuple[int, int], Tensor] = {}
        columns = {boxes.shape[-1] for boxes in self.boxes_list}
        if not columns <= {4} and not columns <= {5}:
            raise BoxTypeError(
                f'BatchContext: gt_instances.bboxes have {sorted(columns)} columns, '
                'expected 4 (x1, y1, x2, y2) or 5 (cx, cy, w, h, angle) in all images.'
            )

    @property
    def num_images(self) -> int:
        """N, the batch size."""
        return len(self.data_samples)

    @cached_property
    def boxes_list(self) -> list[Tensor]:
        """Boxes of each image, (n, 4) xyxy or (n, 5) cx, cy, w, h, angle, pixels."""
        samples = self.data_samples
        return [get_box_tensor(sample.gt_instances.bboxes) for sample in samples]

    @cached_property
    def ignored_boxes_list(self) -> list[Tensor]:
        """Boxes of each image's ignored regions, same form as ``boxes_list``."""
        return [
            get_box_tensor(sample.ignored_instances.bboxes)
            if 'ignored_instances' in sample
            else boxes[:0]
            for sample, boxes in zip(self.data_samples, self.boxes_list, strict=True)
        ]

    @cached_property
    def boxes(self) -> Tensor:
        """Boxes of the whole batch, (Q, 4) or (Q, 5)."""
        return torch.cat(self.boxes_list)

    @cached_property
    def labels(self) -> Tensor:
        """Classes of the whole batch, (Q,)."""
        return torch.cat([sample.gt_instances.labels for sample in self.data_samples])

    @cached_property
    def image_index(self) -> Tensor:
        """Image of each box, (Q,)."""
        counts = torch.tensor([len(boxes) for boxes in self.boxes_list])
        return torch.repeat_interleave(counts).to(self.boxes.device)

    @cached_property
    def boxes_per_image(self) -> Tensor:
        """Number of boxes of each image, (N,)."""
        return torch.bincount(self.image_index, minlength=self.num_images)

    @cached_property
    def rank_in_image(self) -> Tensor:
        """Position of each box among those of its image, (Q,)."""
        start = self.boxes_per_image.cumsum(0) - self.boxes_per_image
        rank = torch.arange(len(self.boxes), device=self.boxes.device)
        return rank - start[self.image_index]

    @cached_property
    def areas(self) -> Tensor:
        """Area of each box in pixels squared, (Q,)."""
        if self.is_rotated:
            return self.boxes[:, 2] * self.boxes[:, 3]
        return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(-1)

    @cached_property
    def img_shapes(self) -> Tensor:
        """(height, width) of each image without padding, (N, 2)."""
        return torch.tensor([sample.img_shape[:2] for sample in self.data_samples])

    @cached_property
    def relative_areas(self) -> Tensor:
        """Area of each box as a fraction of its image without padding, (Q,)."""
        return self.areas / self.img_shapes.prod(-1).to(self.areas)[self.image_index]

    @property
    def is_rotated(self) -> bool:
        """Whether the boxes carry an angle."""
        return self.boxes.shape[-1] == 5

    def require_horizontal(self, who: str) -> None:
        """Refuse rotated boxes on behalf of a loss that cannot serve them.

        Raises:
            BoxTypeError: if the boxes are rotated.
        """
        if self.is_rotated:
            raise BoxTypeError(
                f'{who} serves horizontal boxes (n, 4) only, got rotated boxes (n, 5). '
                'Use a loss that states support for rotated boxes.'
            )

    @cached_property
    def assigned(self) -> AssignedTargets:
        """The student's assigned targets.

        Raises:
            RecordError: if the student's head did not yield any.
        """
        assigned = self._read_assigned() if self._read_assigned else None
        if assigned is None:
            raise RecordError(
                'A loss asks for the assigned targets, but none were recorded: the '
                "student has no 'bbox_head.get_targets', or the head did not call it."
            )
        return assigned

    @property
    def priors(self) -> Tensor:
        """Priors of the student's head; see :class:`AssignedTargets`."""
        return self.assigned.priors

    def valid_cells(self, feat_size: tuple[int, int]) -> Tensor | None:
        """Cells of a feature map that hold a part of the image, not padding alone.

        Returns:
            (N, H, W) bool on the boxes' device; None where no image is padded.
        """
        if (self.img_shapes >= torch.tensor(self.batch_input_shape)).all():
            return None
        if feat_size not in self._valid:
            self._valid[feat_size] = self._covered_cells(feat_size)
        return self._valid[feat_size]

    def _covered_cells(self, feat_size: tuple[int, int]) -> Tensor:
        covered = self.img_shapes * torch.tensor(feat_size)  # exact, as integers
        total = torch.tensor(self.batch_input_shape)
        rows, columns = (-(-covered // total)).to(self.boxes.device).T[..., None]
        inside_y = torch.arange(feat_size[0], device=rows.device) < rows
        inside_x = torch.arange(feat_size[1], device=rows.device) < columns
        return inside_y[:, :, None] & inside_x[:, None, :]

    def valid_priors(self, levels: Sequence[Tensor], num_priors: int) -> Tensor | None:
        """Priors whose cell holds a part of the image.

        Args:
            levels: maps of a dense head, (N, ..., H_l, W_l).
            num_priors: L, of all levels.

        Returns:
            (N, L) bool in the order of :func:`flatten_levels`; None without padding.
        """
        maps = [self.valid_cells((x.shape[-2], x.shape[-1])) for x in levels]
        cells = [cell.flatten(1) for cell in maps if cell is not None]
        if not cells:
            return None
        joined = torch.cat(cells, 1)  # (N, cells of all levels)
        return joined.repeat_interleave(num_priors // joined.shape[1], 1)

    def flat_logits(self, cls_scores: Sequence[Tensor]) -> Tensor:
        """Class logits of every prior, (N, L, K), from maps (N, A * K, H_l, W_l)."""
        return flatten_levels(cls_scores, self._head(True).cls_out_channels)

    def flat_deltas(self, bbox_preds: Sequence[Tensor]) -> Tensor:
        """Encoded boxes of every prior, (N, L, 4 or 5); see :func:`flatten_deltas`."""
        return flatten_deltas(self._head(True), bbox_preds)

    @property
    def class_channels(self) -> int:
        """Channels of a prior in the student's map of class scores."""
        return self._head(True).cls_out_channels

    def require_same_bins(self, who: str) -> Tensor:
        """The bins of the heads' distributions, of a side or coordinate, (bins,).

        Raises:
            ConfigError: if a head has no distributions, or both have other bins.
        """
        one, other = (box_bins(self._head(side)) for side in (True, False))
        if one.shape != other.shape or not torch.equal(one, other):
            raise ConfigError(
                f'{who} compares distributions bin by bin, but they differ: student '
                f'{_extent(one)}, teacher {_extent(other)}. Train both with the same.'
            )
        return one

    def require_same_priors(self, who: str, coder: bool = True) -> None:
        """Refuse two heads whose outputs do not mean the same, prior by prior.

        The priors of a teacher at another scale are compared where they lie in the
        student's images. How they are written does not matter.

        Args:
            who: the loss.
            coder: whether the box coders must be the same, too, which they need not
                where decoded boxes are compared.

        Raises:
            ConfigError: if their priors or box coders differ.
        """
        student, teacher = self._head(True), self._head(False)
        if student is teacher:
            return
        scale = self.teacher_scale
        zoomed = f" (the student's times {scale:g}, the scale)" if scale != 1 else ''
        for part in ('prior_generator', 'bbox_coder')[: 1 + coder]:
            both = getattr(student, part), getattr(teacher, part)
            one, other = settings_of(both[0], scale), settings_of(both[1])
            if one == other or (part == 'prior_generator' and same_grid(*both, scale)):
                continue
            one, other = differing_settings(*both, scale)
            raise ConfigError(
                f'{who} compares the outputs of the heads prior by prior, but '
                f"{part} differs: student's {one}, teacher's {other}{zoomed}. "
                'Train both with the same, or distil features.'
            )

    def require_same_classes(self, who: str) -> None:
        """Refuse two heads whose class scores are not those of the same classes.

        Raises:
            ConfigError: if the numbers of classes differ, or one has a sigmoid for each
                class and the other a softmax over them and the background.
        """
        one, other = (_classes(self._head(side)) for side in (True, False))
        if one != other:
            raise ConfigError(
                f'{who} compares the class scores of both heads, but the student has '
                f'{one}, the teacher {other}. Train both with the same classes and the '
                'same use_sigmoid in loss_cls, or distil features.'
            )

    def decoded_boxes(self, bbox_preds: Sequence[Tensor], of_student: bool) -> Tensor:
        """Boxes of every prior in pixels; see :func:`decode_boxes`."""
        boxes = decode_boxes(self._head(of_student), bbox_preds)
        if of_student or self.teacher_scale == 1:
            return boxes
        return scaled_boxes(boxes, 1 / self.teacher_scale)

    @property
    def prior_generator(self) -> Any:
        """What makes the priors of the student's head."""
        return self._head(True).prior_generator

    @property
    def teacher_head(self) -> Any:
        """The teacher's dense head, for losses that send features through it."""
        return self._head(False)

    def on_grid(
        self,
        feat: Tensor,
        level: int,
        stride: tuple[float, float],
        of_student: bool,
    ) -> Tensor:
        """Bring a map of the neck to a grid of another step, by nearest cells.

        Args:
            feat: (N, C, h, w).
            level: which level of the neck it is.
            stride: of the grid along x and y, in pixels of the student's images.
            of_student: whose neck it is.

        Returns:
            (N, C, H, W); see :func:`nearest_cells`.
        """
        head = self._head(of_student)
        scale = 1.0 if of_student else self.teacher_scale
        # Strides are those of the priors, which a head of LA makes finer than its maps.
        cell = getattr(head, 'upsample', 1) / scale
        steps = [
            wanted / (own * cell)
            for wanted, own in zip(
                stride, head.prior_generator.strides[level], strict=True
            )
        ]
        return nearest_cells(feat, (steps[1], steps[0]))

    def require_sigmoid(self, who: str) -> None:
        """Refuse heads that do not treat each class as a problem of its own.

        Raises:
            ConfigError: if the scores of one end in a softmax.
        """
        heads = (self._head(True), self._head(False))
        if not all(getattr(head, 'use_sigmoid_cls', True) for head in heads):
            raise ConfigError(
                f'{who} treats each class as a binary problem (sigmoid), but the head '
                'ends in a softmax. Set use_sigmoid=True in loss_cls.'
            )

    def _head(self, of_student: bool) -> Any:
        if self._heads is None:
            raise RecordError(
                'A loss asks for class scores or boxes of a dense head, but student or '
                "teacher has no 'bbox_head'."
            )
        return self._heads[0 if of_student else 1]

    def cells(self, feat_size: tuple[int, int]) -> BoxCells:
        """Feature-map cells of every box; see :func:`box_cells`. Computed once."""
        if feat_size not in self._cells:
            self._cells[feat_size] = box_cells(
                self.boxes,
                self.image_index,
                self.num_images,
                feat_size,
                self.batch_input_shape,
            )
        return self._cells[feat_size]

    def rasterize(
        self,
        feat_size: tuple[int, int],
        values: Tensor | None = None,
        reduce: str = 'amax',
    ) -> Tensor:
        """Draw the boxes on a feature map of ``feat_size``; see ``BoxCells.draw``.

        Returns:
            (N, H, W); without ``values`` the foreground mask of zeros and ones.
        """
        return self.cells(feat_size).draw(values, reduce)


def _classes(head: Any) -> str:
    number = getattr(head, 'num_classes', head.cls_out_channels)
    if getattr(head, 'use_sigmoid_cls', True):
        return f'{number} classes, each with a sigmoid'
    return f'a softmax over {number} classes and the background'


def _extent(bins: Tensor) -> str:
    return f'{len(bins)} bins from {float(bins[0]):g} to {float(bins[-1]):g}'
