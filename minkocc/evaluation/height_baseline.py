"""The baseline that a trained model has to beat: input voxels, classed by their height alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import FREE, NUM_CLASSES
from minkocc.structures.voxel_grid import VoxelGrid


def class_by_height(semantics: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts of each class at each height of one label, ``(Z, 17)``, visible voxels only."""
    height = np.broadcast_to(np.arange(semantics.shape[2]), semantics.shape)
    used = mask & (semantics < FREE)
    pairs = height[used] * NUM_CLASSES + semantics[used]
    counts = np.bincount(pairs, minlength=semantics.shape[2] * NUM_CLASSES)
    return counts.reshape(-1, NUM_CLASSES)


def predict_by_height(
    points: NDArray[np.floating[Any]], counts: NDArray[np.int64], grid: VoxelGrid
) -> NDArray[np.uint8]:
    """Every voxel that holds a point takes the most frequent class of its height.

    Args:
        points: ``(P, >=3)`` ego frame, metres.
        counts: ``(Z, 17)``; a height never labelled takes the most frequent class of all.
        grid: of the prediction.

    Returns:
        uint8 ``(X, Y, Z)``, 17 = free.
    """
    overall = counts.sum(0).argmax()
    classes = np.where(counts.sum(1) > 0, counts.argmax(1), overall)
    index = grid.to_index(points[:, :3])
    x, y, z = index[grid.contains(index)].T
    out = np.full(grid.shape, FREE, dtype=np.uint8)
    out[x, y, z] = classes[z]
    return out
