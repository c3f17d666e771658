"""Voxel-wise IoU from one integer confusion matrix (protocol ``occ3d``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import FREE, NUM_CLASSES

NUM_LABELS = FREE + 1


def confusion_matrix(
    pred: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Counts of (target, prediction) pairs, rows = target.

    Args:
        pred: Occ3D ids, any shape.
        target: Occ3D ids, the same shape.
        mask: which voxels count; None counts all.

    Returns:
        int64 ``(18, 18)``.

    Raises:
        ValueError: shapes differ or an id is above 17.
    """
    for name, array in (("pred", pred), ("mask", mask)):
        if array is not None and array.shape != target.shape:
            raise ValueError(f"{name} has shape {array.shape}, the target {target.shape}")
    if mask is not None:
        pred, target = pred[mask], target[mask]
    pairs = target.ravel().astype(np.int64) * NUM_LABELS + pred.ravel()
    if pred.size and max(int(pred.max()), int(target.max())) > FREE:
        raise ValueError(f"ids up to {max(int(pred.max()), int(target.max()))}, expected 0..{FREE}")
    counts = np.bincount(pairs, minlength=NUM_LABELS**2)
    return counts.reshape(NUM_LABELS, NUM_LABELS).astype(np.int64)


def class_iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of the 17 classes, ``(17,)``; NaN for a class that the target never holds."""
    truth, predicted = confusion.sum(1), confusion.sum(0)
    union = truth + predicted - np.diag(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.diag(confusion) / union
    iou = np.where(truth > 0, iou, np.nan)
    return iou[:NUM_CLASSES]


def geometric_iou(confusion: NDArray[np.int64]) -> float:
    """IoU of occupied against free, classes collapsed; NaN when nothing is occupied."""
    both = confusion[:FREE, :FREE].sum()
    union = confusion.sum() - confusion[FREE, FREE]
    return float(both / union) if union else float("nan")
