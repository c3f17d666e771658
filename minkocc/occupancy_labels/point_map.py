"""Points thinned to one a cell, with the class that most of them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minkocc.occupancy_labels.scene import UNLABELLED

_IDS = UNLABELLED + 1


class PointMap(NamedTuple):
    """Points and their classes."""

    points: NDArray[np.float32]
    """``(N, 3)``"""
    classes: NDArray[np.uint8]
    """``(N,)`` Occ3D ids or ``UNLABELLED``."""

    @classmethod
    def joined(cls, parts: Sequence[PointMap]) -> PointMap:
        """All the points of maps."""
        if not parts:
            return cls(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8))
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )

    def where(self, kept: NDArray[Any]) -> PointMap:
        """The points that a mask or an index selects."""
        return PointMap(self.points[kept], self.classes[kept])


def thinned(cloud: PointMap, cell: float) -> PointMap:
    """One point a cell: the mean of its points, of the class that most of the labelled ones have.

    Labels are then decided by area, and not by how near the sensor came.

    Args:
        cloud: the points.
        cell: its edge, in the points' unit.
    """
    if not len(cloud.points):
        return cloud
    index = np.floor(cloud.points / cell).astype(np.int64)
    index -= index.min(0)
    size = index.max(0) + 1
    key = (index[:, 0] * size[1] + index[:, 1]) * size[2] + index[:, 2]
    order = np.argsort(key * _IDS + cloud.classes)  # a cell's points together, and by class
    key, classes = key[order], cloud.classes[order]
    cells = _starts(key[1:] != key[:-1])
    count = np.diff(np.append(cells, len(key)))
    points = np.add.reduceat(cloud.points[order].astype(np.float64), cells) / count[:, None]
    runs = _starts((key[1:] != key[:-1]) | (classes[1:] != classes[:-1]))
    votes = np.diff(np.append(runs, len(key)))
    votes[classes[runs] == UNLABELLED] = 0
    cell_of_run = np.searchsorted(cells, runs, side="right") - 1
    by_votes = np.lexsort((-votes, cell_of_run))
    best = by_votes[_starts(np.diff(cell_of_run[by_votes]) > 0)]
    return PointMap(points.astype(np.float32), classes[runs[best]])


def _starts(changes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where runs begin, of the changes between neighbours."""
    return np.concatenate([[0], np.flatnonzero(changes) + 1]).astype(np.int64)
