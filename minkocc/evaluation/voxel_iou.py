"""Voxel-wise IoU from integer confusion matrices, one for each ring around the vehicle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import FREE, NUM_CLASSES
from minkocc.structures.voxel_grid import VoxelGrid

NUM_LABELS = FREE + 1

RINGS = ("0-20 m", "20-40 m", "over 40 m")
"""By the horizontal distance of a voxel's centre from the ego frame's origin; the third ring is the
grid's four corners."""

_RING_EDGES = (20.0, 40.0)
_DTYPES = {"pred": np.uint8, "target": np.uint8, "mask": np.bool_, "rings": np.uint16}


def ring_of_voxels(grid: VoxelGrid, edges: Sequence[float] = _RING_EDGES) -> NDArray[np.uint16]:
    """The number of each voxel's ring, ``(X, Y, Z)``.

    Args:
        grid: of the voxels.
        edges: between the rings, metres; by default those of ``RINGS``.
    """
    x, y, _ = grid.shape
    columns = np.stack(np.meshgrid(np.arange(x), np.arange(y), [0], indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_centre(columns)[..., :2], axis=-1)
    ring = np.searchsorted(edges, distance, side="right").astype(np.uint16)
    return np.ascontiguousarray(np.broadcast_to(ring, grid.shape))


def confusion_matrix(
    pred: NDArray[np.uint8],
    target: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None = None,
    rings: NDArray[np.uint16] | None = None,
) -> NDArray[np.int64]:
    """Counts of (target, prediction) pairs, rows = target.

    Args:
        pred: Occ3D ids, any shape.
        target: Occ3D ids, the same shape.
        mask: which voxels count; None counts all.
        rings: what ``ring_of_voxels`` gave, the same shape; None counts everything together.

    Returns:
        int64 ``(18, 18)``, or ``(3, 18, 18)`` with rings.

    Raises:
        ValueError: shapes differ, a dtype is another one (a mask of 0 and 1 would select rows), or
            an id is above 17.
    """
    arrays = {"pred": pred, "target": target, "mask": mask, "rings": rings}
    for name, array in arrays.items():
        if array is None:
            continue
        if array.shape != target.shape:
            raise ValueError(f"{name} has shape {array.shape}, the target {target.shape}")
        if array.dtype != _DTYPES[name]:
            raise ValueError(f"{name} is {array.dtype}, expected {_DTYPES[name].__name__}")
    if pred.size and max(pred.max(), target.max()) > FREE:
        raise ValueError(f"ids up to {max(pred.max(), target.max())}, expected 0..{FREE}")
    # Two bytes hold 3 * 18 * 18 pairs, and are added and masked in a quarter of the time of eight.
    pairs = target.astype(np.uint16) * NUM_LABELS + pred.astype(np.uint16, copy=False)
    if rings is not None:
        pairs += rings * np.uint16(NUM_LABELS**2)
    pairs = pairs.ravel() if mask is None else pairs[mask]
    shape = (NUM_LABELS, NUM_LABELS) if rings is None else (len(RINGS), NUM_LABELS, NUM_LABELS)
    counts = np.bincount(pairs, minlength=int(np.prod(shape)))
    return counts.reshape(shape).astype(np.int64)


def class_iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of the 17 classes, ``(17,)``; NaN for a class that the target never holds."""
    truth, predicted = confusion.sum(1), confusion.sum(0)
    iou = ratio(np.diag(confusion), truth + predicted - np.diag(confusion))
    return np.where(truth > 0, iou, np.nan)[:NUM_CLASSES]


def geometric_iou(confusion: NDArray[np.int64]) -> float:
    """IoU of occupied against free, classes collapsed; NaN when nothing is occupied."""
    both = confusion[:FREE, :FREE].sum()
    return float(ratio(both, confusion.sum() - confusion[FREE, FREE]))


def geometric_precision(confusion: NDArray[np.int64]) -> float:
    """Share of what is predicted occupied that is, in any class; NaN when nothing is predicted."""
    return float(ratio(confusion[:FREE, :FREE].sum(), confusion[:, :FREE].sum()))


def geometric_recall(confusion: NDArray[np.int64]) -> float:
    """Share of what is occupied that is predicted, in any class; NaN when nothing is occupied."""
    return float(ratio(confusion[:FREE, :FREE].sum(), confusion[:FREE].sum()))


def percent_of(part: Any, whole: Any) -> float | None:
    """``part / whole`` in percent, two decimals; None where both are 0."""
    value = float(ratio(part, whole))
    return None if np.isnan(value) else round(100.0 * value, 2)


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """``part / whole``, NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.true_divide(part, whole), np.float64)
