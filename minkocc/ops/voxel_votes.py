"""The class of a voxel by the majority of the points in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import FREE, NUM_CLASSES, OCC3D
from minkocc.structures.voxel_grid import VoxelGrid


def flat_index(
    grid: VoxelGrid, points: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The flat voxel index of the ``(N, 3)`` points inside the grid, and which they are."""
    index = grid.to_index(points)
    inside = grid.contains(index)
    _, width, height = grid.shape
    flat = (index[..., 0] * width + index[..., 1]) * height + index[..., 2]
    return flat[inside], inside


def majority_class(
    grid: VoxelGrid,
    flat: npt.NDArray[np.integer[Any]],
    classes: npt.NDArray[np.integer[Any]],
    ground: Collection[int] = OCC3D.ids("ground"),
) -> npt.NDArray[np.uint8]:
    """Most frequent class per voxel, ``(X * Y * Z,)``; 17 where there is none; ground loses ties.

    Args:
        grid: of the voxels.
        flat: ``(N,)`` of ``flat_index``.
        classes: ``(N,)`` 3D ids, none of them free.
        ground: ids of the classes that lose ties.
    """
    key = flat * NUM_CLASSES + classes
    counts = np.bincount(key, minlength=grid.num_voxels * NUM_CLASSES)
    hit = np.flatnonzero(np.bincount(flat, minlength=grid.num_voxels))
    votes = 2 * counts.reshape(-1, NUM_CLASSES)[hit]
    votes += (votes > 0) & ~np.isin(np.arange(NUM_CLASSES), list(ground))
    semantics = np.full(grid.num_voxels, FREE, np.uint8)
    semantics[hit] = votes.argmax(1)
    return semantics
