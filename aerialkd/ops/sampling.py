"""Bilinear sampling of feature maps in plain torch: RoIAlign, deformable convolution.

A sample is a weighted sum of four pixels, so that both are weighted sums of rows of a
table of pixels, which torch computes without writing the rows out: ``embedding_bag``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ShapeError

# Samples that are looked up at once: what their indices take of memory, about 50 MB.
_CHUNK = 2**20


def roi_align(
    features: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean features in the cells of a grid over each region (He et al. 2017).

    Args:
        features: (N, C, H, W).
        rois: (R, 5) as image, x1, y1, x2, y2 in pixels of the image.
        size: rows and columns of the grid, (h, w).
        scale: cells of the map a pixel.
        sampling_ratio: samples a cell and axis; 0: one a cell of the map, rounded up.
        aligned: pixel centres lie at .5, not at 0.

    Returns:
        (R, C, h, w).

    Raises:
        ShapeError: if aligned regions have a negative size.
    """
    _, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    low = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
    extent = rois[:, 3:5] * scale - (0.5 if aligned else 0.0) - low
    if not aligned:
        extent = extent.clamp(min=1)
    elif bool((extent < 0).any()):
        raise ShapeError('roi_align: got a region of negative size, expected x1 <= x2.')
    cells = extent.new_tensor([size[1], size[0]])
    cell = extent / cells
    samples = torch.full_like(cell, sampling_ratio)
    if sampling_ratio <= 0:
        samples = cell.ceil()
    samples = samples.long()
    image = rois[:, 0].long()
    parts = [rows.new_zeros(0, channels)]
    for part in _chunks(samples.prod(1) * size[0] * size[1]):
        count = samples[part]
        bag_size = count.prod(1).repeat_interleave(size[0] * size[1])
        starts = bag_size.cumsum(0) - bag_size
        bag = torch.arange(len(bag_size), device=rois.device)
        bag = bag.repeat_interleave(bag_size)
        roi, at = bag // (size[0] * size[1]), bag % (size[0] * size[1])
        inner = torch.arange(len(bag), device=rois.device) - starts[bag]
        inner = torch.stack([inner % count[roi, 0], inner // count[roi, 0]], -1)
        outer = torch.stack([at % size[1], at // size[1]], -1)
        step = cell[part][roi]
        points = low[part][roi] + outer * step + (inner + 0.5) * step / count[roi]
        index, weight = _on_the_map(points, height, width)
        index = index + (image[part][roi] * height * width)[:, None]
        weight = weight / count.prod(1).clamp(min=1)[roi, None]
        parts.append(_sums(rows, index, weight, starts))
    return torch.cat(parts).reshape(-1, *size, channels).permute(0, 3, 1, 2)


def deform_conv(
    features: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolution whose kernel points are displaced (Dai et al. 2017).

    Args:
        features: (N, C, H, W).
        offset: (N, 2 * deform_groups * K, H', W') as y, x of each of the K points.
        weight: (C', C / groups, kh, kw); K = kh * kw.
        mask: factor of each point, (N, deform_groups * K, H', W') (Zhu et al. 2019).
        bias: (C',).
        stride: along y and x, as the next two.
        padding: zeros around the map.
        dilation: distance of the kernel's points.
        groups: of channels in the convolution.
        deform_groups: of channels with displacements of their own.

    Returns:
        (N, C', H', W').
    """
    n, channels, height, width = features.shape
    out_channels, per_group, kh, kw = weight.shape
    points, out = kh * kw, offset.shape[-2:]
    axes = [
        torch.arange(o, device=offset.device)[None, :] * s
        - p
        + torch.arange(k, device=offset.device)[:, None] * d
        for o, s, p, k, d in zip(out, stride, padding, (kh, kw), dilation, strict=True)
    ]
    at_y = axes[0][:, None, :, None].expand(kh, kw, *out).reshape(points, *out)
    at_x = axes[1][None, :, None, :].expand(kh, kw, *out).reshape(points, *out)
    shifts = offset.reshape(n, deform_groups, points, 2, *out)
    y, x = shifts[:, :, :, 0] + at_y, shifts[:, :, :, 1] + at_x
    # (deform_groups, N, K, H', W') and (deform_groups, N, H, W, C / deform_groups)
    at = torch.stack([x, y], -1).transpose(0, 1)
    share = channels // deform_groups
    rows = features.reshape(n, deform_groups, share, height, width)
    rows = rows.permute(1, 0, 3, 4, 2).reshape(-1, share)
    at = at.reshape(-1, 2)
    index, factor = _around(at, height, width)
    # On the line where the map's influence ends, the gradient is that of beyond.
    beyond = (at <= -1) | (at >= at.new_tensor([width, height]))
    factor = factor.masked_fill(beyond.any(-1, keepdim=True), 0)
    image = torch.arange(deform_groups * n, device=index.device) * (height * width)
    index = index + image.repeat_interleave(points * out[0] * out[1])[:, None]
    if mask is not None:
        amount = mask.reshape(n, deform_groups, points, *out).transpose(0, 1)
        factor = factor * amount.reshape(-1, 1)
    columns = _sums(rows, index, factor)
    columns = columns.reshape(deform_groups, n, points, -1, share)
    columns = columns.permute(1, 0, 4, 2, 3)  # (N, deform_groups, C / d, K, H' W')
    columns = columns.reshape(n, groups, per_group * points, -1)
    kernels = weight.reshape(groups, out_channels // groups, per_group * points)
    result = (kernels @ columns).reshape(n, out_channels, *out)
    return result if bias is None else result + bias[:, None, None]


def _on_the_map(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """RoIAlign's reading: pulled onto the map, nothing from 1 cell beyond it."""
    limit = points.new_tensor([width, height])
    outside = ((points < -1) | (points > limit)).any(-1, keepdim=True)
    points = torch.minimum(points.clamp(min=0), limit - 1)
    index, weight = _around(points, height, width)
    return index, weight.masked_fill(outside, 0)


def _around(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Indices and weights of the four pixels around points; 0 beyond the map.

    Args:
        points: (P, 2) as x, y in cells, whole numbers at the pixels.
        height: of the map.
        width: likewise.

    Returns:
        (P, 4) each.
    """
    whole = points.detach().floor()
    x, y = (points - whole).unbind(-1)
    weight = torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], -1)
    # Far away, an index would not fit into an integer.
    left = whole[:, 0].clamp(-2, width + 1).long()
    top = whole[:, 1].clamp(-2, height + 1).long()
    columns = torch.stack([left, left + 1, left, left + 1], -1)
    rows = torch.stack([top, top, top + 1, top + 1], -1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return (rows * width + columns) * inside, weight * inside


def _sums(
    rows: Tensor, index: Tensor, weight: Tensor, starts: Tensor | None = None
) -> Tensor:
    """Weighted sums of rows; of four each, or of all samples from each start on.

    Args:
        rows: (M, C).
        index: (S, 4).
        weight: (S, 4).
        starts: first sample of each sum, (B,), rising.

    Returns:
        (S, C), or (B, C).
    """
    if starts is None:
        return F.embedding_bag(index, rows, mode='sum', per_sample_weights=weight)
    return F.embedding_bag(
        index.flatten(),
        rows,
        starts * index.shape[1],
        mode='sum',
        per_sample_weights=weight.flatten(),
    )


def _chunks(counts: Tensor) -> Iterator[slice]:
    """Split a list into runs of at most ``_CHUNK`` samples, or of one item."""
    start = total = 0
    for index, count in enumerate(counts.tolist()):
        if total and total + count > _CHUNK:
            yield slice(start, index)
            start, total = index, 0
        total += count
    if start < len(counts):
        yield slice(start, len(counts))
