"""Which cells of a feature map a box covers, for horizontal and rotated boxes.

Everything is enumerated as (box, cell) pairs, so that there is no Python loop
over boxes and memory follows the covered area, not boxes times cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aerialkd.errors import BoxTypeError, ShapeError


@dataclass(frozen=True)
class BoxCells:
    """All pairs (box q, cell of the feature map covered by q) of a batch.

    Attributes:
        box: index of the box in the batch's concatenated boxes, (P,).
        image: index of the image of that box, (P,).
        y: row of the cell, (P,).
        x: column of the cell, (P,).
        num_boxes: Q, including boxes that cover no cell.
        shape: (N, H, W) of the maps that are drawn from the pairs.
    """

    box: Tensor
    image: Tensor
    y: Tensor
    x: Tensor
    num_boxes: int
    shape: tuple[int, int, int]

    @property
    def count(self) -> Tensor:
        """Number of cells that each box covers, (Q,)."""
        return torch.bincount(self.box, minlength=self.num_boxes)

    def within(self, cells: Tensor) -> BoxCells:
        """The pairs whose cell is one of ``cells``, (N, H, W) bool."""
        keep = cells[self.image, self.y, self.x]
        return replace(
            self,
            box=self.box[keep],
            image=self.image[keep],
            y=self.y[keep],
            x=self.x[keep],
        )

    def draw(self, values: Tensor | None = None, reduce: str = 'amax') -> Tensor:
        """Paint one value for each box; a cell that no box covers stays 0.

        Args:
            values: (Q,), non-negative where ``reduce`` is ``'amax'``; ones when
                omitted, so that the result is the foreground mask.
            reduce: how boxes that share a cell combine: ``'amax'``, ``'amin'``
                or ``'sum'``.

        Returns:
            Map of shape (N, H, W) with the dtype of ``values`` (float32 when omitted).
        """
        num_images, height, width = self.shape
        if values is None:
            values = torch.ones(self.num_boxes, device=self.box.device)
        if values.shape != (self.num_boxes,):
            raise ShapeError(
                f'BoxCells.draw: values have shape {tuple(values.shape)}, expected '
                f'one value for each of the {self.num_boxes} boxes of the batch.'
            )
        flat = (self.image * height + self.y) * width + self.x
        canvas = values.new_zeros(num_images * height * width)
        canvas = canvas.scatter_reduce(
            0, flat, values[self.box], reduce, include_self=False
        )
        return canvas.view(self.shape)


def box_cells(
    boxes: Tensor,
    image: Tensor,
    num_images: int,
    feat_size: tuple[int, int],
    input_shape: tuple[int, int],
) -> BoxCells:
    """Enumerate the feature-map cells that each box covers.

    Horizontal boxes take the cells from the floor of their low edge to the
    ceiling of their high edge, inclusive, clipped to the map, as FGD's official
    code does. Rotated boxes take the cells whose centre lies in the box, and
    always the cell that holds the box centre. A box that does not meet the input
    covers nothing.

    Args:
        boxes: (Q, 4) as x1, y1, x2, y2 or (Q, 5) as cx, cy, w, h, angle in radians,
            in pixels of the padded batch.
        image: index of the image of each box, (Q,).
        num_images: N, the batch size.
        feat_size: (H, W) of the feature map.
        input_shape: (height, width) of the padded batch in pixels.

    Raises:
        BoxTypeError: if the boxes have neither four nor five columns.

    Example:
        >>> box = torch.tensor([[8., 0., 15., 7.]])
        >>> image = torch.zeros(1, dtype=torch.long)
        >>> cells = box_cells(box, image, 1, (4, 4), (32, 32))
        >>> cells.draw()[0].int().tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    if boxes.ndim != 2 or boxes.shape[-1] not in (4, 5):
        raise BoxTypeError(
            f'box_cells: got boxes of shape {tuple(boxes.shape)}, expected (Q, 4) '
            'xyxy or (Q, 5) cx, cy, w, h, angle.'
        )
    rotated = boxes.shape[-1] == 5
    boxes = boxes.detach().double()  # cell borders must not depend on float noise
    height, width = feat_size
    scale = boxes.new_tensor([width / input_shape[1], height / input_shape[0]])
    limit = boxes.new_tensor([width, height])
    if rotated:
        centre, half = half_extents(boxes)
        low, high = (centre - half) * scale, (centre + half) * scale
    else:
        low, high = boxes[:, :2] * scale, boxes[:, 2:] * scale
    meets = ((high > 0) & (low < limit)).all(-1)  # (Q,)
    first = low.floor().clamp(min=0).long()
    last = torch.minimum(high.ceil(), limit - 1).long()
    extent = (last - first + 1).clamp(min=0) * meets[:, None]  # (Q, 2) as x, y

    box, y, x = enumerate_windows(first, extent)
    if rotated:
        keep = _inside_rotated(boxes, box, x, y, scale)
        box, y, x = box[keep], y[keep], x[keep]
    shape = (num_images, height, width)
    return BoxCells(box, image[box], y, x, boxes.shape[0], shape)


def enumerate_windows(first: Tensor, extent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List the cells of Q windows; (Q, 2) low corners and sizes -> three of (P,)."""
    count = extent.prod(-1)
    box = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    start = count.cumsum(0) - count
    rank = torch.arange(len(box), device=box.device) - start[box]  # within the window
    columns = extent[box, 0]
    y = first[box, 1] + torch.div(rank, columns, rounding_mode='floor')
    x = first[box, 0] + rank % columns
    return box, y, x


def half_extents(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and half the size of the horizontal boxes around boxes, (Q, 2) each."""
    if boxes.shape[-1] == 4:
        low, high = boxes[:, :2], boxes[:, 2:]
        return (low + high) / 2, (high - low) / 2
    size, angle = boxes[:, 2:4], boxes[:, 4]
    cos, sin = angle.cos().abs(), angle.sin().abs()
    half_x = (size[:, 0] * cos + size[:, 1] * sin) / 2
    half_y = (size[:, 0] * sin + size[:, 1] * cos) / 2
    return boxes[:, :2], torch.stack([half_x, half_y], -1)


def _inside_rotated(
    boxes: Tensor, box: Tensor, x: Tensor, y: Tensor, scale: Tensor
) -> Tensor:
    """Whether the centre of cell (x, y) lies in the box, or the box's in the cell."""
    centre, size, angle = boxes[box, :2], boxes[box, 2:4], boxes[box, 4]
    cell = torch.stack([x, y], -1)
    offset = (cell + 0.5) / scale - centre  # pixels
    cos, sin = angle.cos(), angle.sin()
    along_w = offset[:, 0] * cos + offset[:, 1] * sin
    along_h = offset[:, 1] * cos - offset[:, 0] * sin
    half = size / 2
    inside = (along_w.abs() <= half[:, 0]) & (along_h.abs() <= half[:, 1])
    holds_centre = ((centre * scale).floor() == cell).all(-1)
    return inside | holds_centre
