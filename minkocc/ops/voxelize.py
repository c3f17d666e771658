"""Points into voxels, and reductions of point features over them, on any device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minkocc.structures.voxel_grid import VoxelGrid

DROPPED = -1
"""The voxel row of a point that lies in none."""


class Voxelization(NamedTuple):
    """The occupied voxels and where each point went."""

    coords: Tensor
    """(V, 4) int32 ``(batch, x, y, z)``, unique, in lexicographic order."""
    point2voxel: Tensor
    """(P,) int64 row of ``coords`` for every point, ``DROPPED`` where it has none."""


def dynamic_voxelize(points: Tensor, batch_idx: Tensor, grid: VoxelGrid) -> Voxelization:
    """Assign every point to its voxel, without a limit on points or voxels.

    Points outside the grid or with a non-finite value in any column are dropped. The voxels do
    not depend on the order of the points.

    Args:
        points: (P, C) with x, y, z in metres, ego frame, in the first three columns.
        batch_idx: (P,) integer sample of each point, from 0.
        grid: the grid to fill.

    Raises:
        ValueError: the shapes are wrong.
    """
    if points.ndim != 2 or points.shape[1] < 3 or batch_idx.shape != points.shape[:1]:
        raise ValueError(
            f"points {tuple(points.shape)} and batch_idx {tuple(batch_idx.shape)}: expected "
            "(P, C) with C >= 3, and (P,)"
        )
    rows = points.isfinite().all(1).nonzero()[:, 0]
    index = grid.to_index(points[rows, :3])
    inside = grid.contains(index)
    rows, index = rows[inside], index[inside]
    _, size_y, size_z = grid.shape
    flat = (index[:, 0] * size_y + index[:, 1]) * size_z + index[:, 2]
    keys, inverse = torch.unique(
        batch_idx[rows].long() * grid.num_voxels + flat, return_inverse=True
    )
    point2voxel = torch.full_like(batch_idx, DROPPED, dtype=torch.long)
    point2voxel[rows] = inverse
    batch, flat = keys // grid.num_voxels, keys % grid.num_voxels
    x, y, z = flat // (size_y * size_z), flat // size_z % size_y, flat % size_z
    return Voxelization(torch.stack([batch, x, y, z], 1).int(), point2voxel)


def scatter_mean(feats: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Mean of the features that share an index; 0 where there are none.

    Args:
        feats: (P, C).
        index: (P,) rows to go to; ``DROPPED`` ones go nowhere.
        num_rows: V.

    Returns:
        (V, C).
    """
    target = _with_bin(index, num_rows)
    total = feats.new_zeros(num_rows + 1, feats.shape[1]).index_add(0, target, feats)
    # Counted as integers: half precision ends at 2048.
    count = torch.bincount(target, minlength=num_rows + 1).clamp_(min=1)
    return (total / count[:, None].to(feats.dtype))[:num_rows]


def scatter_max(feats: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Maximum, per channel, of the features that share an index; 0 where there are none.

    The gradient goes to the largest value, in equal parts if there are several.

    Args:
        feats: (P, C).
        index: (P,) rows to go to; ``DROPPED`` ones go nowhere.
        num_rows: V.

    Returns:
        (V, C).
    """
    target = _with_bin(index, num_rows)
    # With include_self=False over zeros, torch shares the gradient of a maximum of 0 with the
    # initial value; nothing is equal to -inf.
    lowest = feats.new_full((num_rows + 1, feats.shape[1]), -torch.inf)
    largest = lowest.scatter_reduce(
        0, target[:, None].expand_as(feats), feats, "amax", include_self=True
    )
    empty = torch.bincount(target, minlength=num_rows + 1) == 0
    return largest.masked_fill(empty[:, None], 0)[:num_rows]


def _with_bin(index: Tensor, num_rows: int) -> Tensor:
    """The index with ``DROPPED`` sent to one more row, behind the last."""
    return torch.where(index == DROPPED, num_rows, index)
