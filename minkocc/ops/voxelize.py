"""Points into voxels, and reductions of point features over them, on any device."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from minkocc.ops.row_sums import count_rows, scatter_sum
from minkocc.structures.voxel_grid import VoxelGrid

DROPPED = -1
"""The voxel row of a point that lies in none."""

_TABLE_LIMIT = 1 << 23
"""Cells of which a table is made; of more, those with points are sorted."""


class Voxelization(NamedTuple):
    """The occupied voxels and where each point went."""

    coords: Tensor
    """(V, 4) int32 ``(batch, x, y, z)``, unique, in lexicographic order."""
    point2voxel: Tensor
    """(P,) int64 row of ``coords`` for every point, ``DROPPED`` where it has none."""


def dynamic_voxelize(
    points: Tensor, batch_idx: Tensor, grid: VoxelGrid, samples: int
) -> Voxelization:
    """Assign every point to its voxel, without a limit on points or voxels.

    Points outside the grid or with a non-finite value in any column are dropped. The voxels do
    not depend on the order of the points.

    Args:
        points: (P, C) with x, y, z in metres, ego frame, in the first three columns.
        batch_idx: (P,) integer sample of each point, 0..samples-1.
        grid: the grid to fill.
        samples: how many there are.

    Raises:
        ValueError: the shapes are wrong.
    """
    if points.ndim != 2 or points.shape[1] < 3 or batch_idx.shape != points.shape[:1]:
        raise ValueError(
            f"points {tuple(points.shape)} and batch_idx {tuple(batch_idx.shape)}: expected "
            "(P, C) with C >= 3, and (P,)"
        )
    index = grid.to_index(points[:, :3])
    inside = grid.contains(index) & points.isfinite().all(1)
    _, size_y, size_z = grid.shape
    flat = (index[:, 0] * size_y + index[:, 1]) * size_z + index[:, 2]
    cells = samples * grid.num_voxels
    # What is dropped goes behind the last cell.
    cell = torch.where(inside, batch_idx.long() * grid.num_voxels + flat, cells)
    keys, point2voxel = _ranked(cell, cells)
    batch, flat = keys // grid.num_voxels, keys % grid.num_voxels
    x, y, z = flat // (size_y * size_z), flat // size_z % size_y, flat % size_z
    return Voxelization(torch.stack([batch, x, y, z], 1).int(), point2voxel)


def _ranked(cell: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The different cells below ``cells``, ascending, and the place of each among them."""
    if cells > _TABLE_LIMIT:
        keys, rank = torch.unique(cell, return_inverse=True)
        keys = keys[keys < cells]
        return keys, rank.masked_fill_(cell == cells, DROPPED)
    seen = cell.new_zeros(cells + 1, dtype=torch.bool)
    seen.index_fill_(0, cell, True)
    seen[cells:].zero_()
    keys = seen.nonzero().squeeze(1)
    table = cell.new_full((cells + 1,), DROPPED)
    table[keys] = torch.arange(len(keys), device=cell.device)
    return keys, table.index_select(0, cell)


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
    # Summed in single precision: half precision cannot add 1 to 2048, nor bfloat16 to 256.
    wide = feats.to(torch.promote_types(feats.dtype, torch.float32))
    total = scatter_sum(wide, target, num_rows + 1)
    count = count_rows(target, num_rows + 1).clamp_(min=1)
    return (total / count[:, None])[:num_rows].to(feats.dtype)


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
    return _ScatterMax.apply(feats, _with_bin(index, num_rows), num_rows + 1)[:num_rows]


class _ScatterMax(Function):
    """``scatter_reduce`` with another gradient.

    Torch's own gathers along expanded indices, several times slower on a CPU than whole rows, and
    over zeros it shares the gradient of a maximum of 0 with the initial value.
    """

    @staticmethod
    def forward(ctx: Any, feats: Tensor, target: Tensor, num_rows: int) -> Tensor:
        largest = feats.new_full((num_rows, feats.shape[1]), -torch.inf)
        largest.scatter_reduce_(0, target[:, None].expand_as(feats), feats, "amax")
        ctx.save_for_backward(feats, target, largest)
        empty = count_rows(target, num_rows) == 0
        return largest.masked_fill(empty[:, None], 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        feats, target, largest = ctx.saved_tensors
        winners = (feats == largest.index_select(0, target)).to(torch.float32)
        ties = scatter_sum(winners, target, len(largest)).clamp_(min=1)
        share = (grad / ties).index_select(0, target)
        return share.mul_(winners).to(feats.dtype), None, None


def _with_bin(index: Tensor, num_rows: int) -> Tensor:
    """The index with ``DROPPED`` sent to one more row, behind the last."""
    return torch.where(index == DROPPED, num_rows, index)
