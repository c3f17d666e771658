"""Weak occupancy measured against dense labels, by distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.voxel_iou import percent_of, ring_of_voxels
from minkocc.structures.taxonomy import (
    DYNAMIC_IDS,
    FREE,
    WEAK_FREE,
    WEAK_OCCUPIED,
    WEAK_UNKNOWN,
)
from minkocc.structures.voxel_grid import OCC3D_GRID

RING_NAMES = ("0-10 m", "10-20 m", "20-30 m", "over 30 m")
"""By the horizontal distance of a voxel's centre from the ego frame's origin."""

_RING = ring_of_voxels(OCC3D_GRID, (10.0, 20.0, 30.0)).astype(np.int64)
_VALUES = (WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN)

Counts = NDArray[np.int64]
"""Voxels by ring, truth (free, static, of a class that moves) and weak value (free, occupied,
unknown), ``(4, 3, 3)``."""


def count_voxels(
    weak: NDArray[np.uint8], semantics: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> Counts:
    """Count a frame's voxels by ring, truth and weak value.

    Args:
        weak: ``(200, 200, 16)`` 0 free, 1 occupied, 255 unknown.
        semantics: ``(200, 200, 16)`` Occ3D ids.
        mask: ``(200, 200, 16)`` the voxels that count.

    Raises:
        ValueError: a shape is not that of Occ3D's grid.
    """
    for name, array in (("weak", weak), ("semantics", semantics), ("mask", mask)):
        if array.shape != OCC3D_GRID.shape:
            raise ValueError(f"{name} has shape {array.shape}: expected {OCC3D_GRID.shape}")
    truth = np.where(semantics == FREE, 0, np.where(np.isin(semantics, DYNAMIC_IDS), 2, 1))
    value = np.select([weak == code for code in _VALUES], [0, 1, 2], -1)
    if (value[mask] < 0).any():
        raise ValueError(f"weak holds {np.setdiff1d(weak, _VALUES)}: expected {_VALUES}")
    cell = (_RING * 3 + truth) * 3 + value
    return np.bincount(cell[mask], minlength=len(RING_NAMES) * 9).reshape(-1, 3, 3)


def weak_figures(counts: Counts, unknown: str = "ignore") -> dict[str, float | None]:
    """Precision and recall in percent; None where nothing counts.

    Args:
        counts: ``(4, 3, 3)``, or of one ring ``(3, 3)``.
        unknown: ``"ignore"``, or ``"free"``: the unknown is taken for free, as that policy teaches.
    """
    table = counts.reshape(-1, 3, 3).sum(0)
    if unknown == "free":
        table = np.stack([table[:, 0] + table[:, 2], table[:, 1], np.zeros(3, np.int64)], 1)
    (free, occupied), total = (table[0], table[1:].sum(0)), table.sum()
    return {
        "occupied_precision": percent_of(occupied[1], table[:, 1].sum()),
        "occupied_recall": percent_of(occupied[1], occupied.sum()),
        "static_recall": percent_of(table[1, 1], table[1].sum()),
        "moving_recall": percent_of(table[2, 1], table[2].sum()),
        "free_precision": percent_of(free[0], table[:, 0].sum()),
        "free_recall": percent_of(free[0], free.sum()),
        "known": percent_of(table[:, :2].sum(), total),
        "unknown_free": percent_of(free[2], table[:, 2].sum()),
    }


def by_ring(counts: Counts) -> dict[str, dict[str, float | None]]:
    """The figures of every ring, by its name."""
    return {name: weak_figures(ring) for name, ring in zip(RING_NAMES, counts)}
