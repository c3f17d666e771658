"""Voted labels measured against dense labels, by class and distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.protocols import mean_of
from minkocc.evaluation.voxel_iou import (
    RINGS,
    class_iou,
    confusion_matrix,
    percent_of,
    ratio,
    ring_of_voxels,
)
from minkocc.structures.taxonomy import CLASSES, FREE, UNVOTED
from minkocc.structures.voxel_grid import OCC3D_GRID

Counts = NDArray[np.int64]
"""Voxels by ring, truth and vote, ``(3, 18, 18)``; truth 17 is free, vote 17 is none."""

_RING = ring_of_voxels(OCC3D_GRID)


def count_votes(
    voted: NDArray[np.uint8], semantics: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> Counts:
    """Count a frame's voxels by ring, truth and vote.

    Args:
        voted: ``(200, 200, 16)`` Occ3D ids, 255 where there is no vote.
        semantics: ``(200, 200, 16)`` Occ3D ids.
        mask: ``(200, 200, 16)`` the voxels that count.

    Raises:
        ValueError: shapes differ, or a value is no id.
    """
    if (voted == FREE).any():
        raise ValueError(f"voted holds {FREE}, free: expected a class, or {UNVOTED}")
    vote = np.where(voted == UNVOTED, np.uint8(FREE), voted)
    return confusion_matrix(vote, semantics, mask, _RING)


def vote_figures(counts: Counts) -> dict[str, Any]:
    """What the counts say, in percent; None where nothing counts.

    ``labelled`` is the share of the occupied voxels that have a vote, ``accuracy`` the share of
    these whose vote is right, ``class_accuracy`` the mean of that over the classes, ``in_free`` the
    share of the votes that lie in free voxels, and ``miou_of_votes`` the mean IoU over the voxels
    that have a vote: what a network could reach that learned the votes and nothing more.

    Args:
        counts: ``(3, 18, 18)``, or of one ring ``(18, 18)``.
    """
    table = counts.reshape(-1, FREE + 1, FREE + 1).sum(0)
    right, voted = np.diag(table)[:FREE], table[:FREE, :FREE]
    accuracy = ratio(right, voted.sum(1))
    iou = _iou_of_votes(table)
    return {
        "occupied": int(table[:FREE].sum()),
        "labelled": percent_of(voted.sum(), table[:FREE].sum()),
        "accuracy": percent_of(right.sum(), voted.sum()),
        "class_accuracy": percent_of(mean_of(accuracy), 1),
        "in_free": percent_of(table[FREE, :FREE].sum(), table[:, :FREE].sum()),
        "miou_of_votes": percent_of(mean_of(iou), 1),
    }


def figures_by_class(counts: Counts) -> dict[str, dict[str, Any]]:
    """The figures of every class, by its name; ``taken_for`` is its most frequent wrong vote."""
    table = counts.sum(0)
    iou = _iou_of_votes(table)
    return {name: _class_figures(table, i, iou[i]) for i, name in enumerate(CLASSES)}


def figures_by_ring(counts: Counts) -> dict[str, dict[str, Any]]:
    """The figures of every ring, by its name."""
    return dict(zip(RINGS, map(vote_figures, counts)))


def _class_figures(table: Counts, number: int, iou: np.float64) -> dict[str, Any]:
    votes = table[number, :FREE]
    wrong = votes.copy()
    wrong[number] = 0
    return {
        "occupied": int(table[number].sum()),
        "labelled": percent_of(votes.sum(), table[number].sum()),
        "accuracy": percent_of(votes[number], votes.sum()),
        "iou_of_votes": percent_of(iou, 1),
        "taken_for": CLASSES[int(wrong.argmax())] if wrong.any() else None,
        "taken_for_share": percent_of(wrong.max(), votes.sum()) if wrong.any() else None,
    }


def _iou_of_votes(table: Counts) -> NDArray[np.float64]:
    voted = table.copy()
    voted[:, FREE] = 0  # without a vote: nothing is said of the voxel
    return class_iou(voted)
