"""From surviving voxels of any size to a dense prediction on the Occ3D grid."""

from __future__ import annotations

import torch
from torch import Tensor

from minkocc.models.group_index import GroupIndex
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid


def to_occ3d(index: Tensor, probs: Tensor, grid: VoxelGrid, classes: GroupIndex) -> Tensor:
    """Pool sparse voxels to Occ3D's 0.4 m grid.

    A coarse voxel is occupied if any child is; its class is the argmax of the children's summed
    probabilities.

    Args:
        index: ``(V, 3)`` indices of occupied voxels; those outside the grid are left out.
        probs: ``(V, K)``.
        grid: what ``index`` refers to; same range as Occ3D's, size a divisor of 0.4 m.
        classes: the K of ``probs``.

    Returns:
        uint8 ``(200, 200, 16)`` of Occ3D ids, 17 = free.

    Raises:
        ValueError: the grid does not fit into Occ3D's.
    """
    cell, summed = occ3d_cells(index, probs, grid)
    out = torch.full((OCC3D_GRID.num_voxels + 1,), FREE, dtype=torch.uint8, device=index.device)
    out[cell] = classes.id_of(summed.argmax(1))
    return out[:-1].view(OCC3D_GRID.shape)


def occ3d_cells(index: Tensor, probs: Tensor, grid: VoxelGrid) -> tuple[Tensor, Tensor]:
    """The occupied voxels of Occ3D's grid and the summed probabilities of their children.

    Args:
        index: ``(V, 3)`` indices of occupied voxels.
        probs: ``(V, K)``.
        grid: what ``index`` refers to; same range as Occ3D's, size a divisor of 0.4 m.

    Returns:
        ``(M,)`` int64 places in the flat ``(200, 200, 16)``, one beyond it for what lies outside,
        and ``(M, K)``, not normalised.

    Raises:
        ValueError: the grid does not fit into Occ3D's.
    """
    ratio = grid.ratio_to(OCC3D_GRID)
    x, y, z = index.long().div(ratio, rounding_mode="floor").unbind(1)
    _, size_y, size_z = OCC3D_GRID.shape
    # One more cell takes what is outside.
    cell = torch.where(grid.contains(index), (x * size_y + y) * size_z + z, OCC3D_GRID.num_voxels)
    if ratio == 1:
        return cell, probs
    cell, child = torch.unique(cell, return_inverse=True)
    return cell, probs.new_zeros(len(cell), probs.shape[1]).index_add(0, child, probs)
