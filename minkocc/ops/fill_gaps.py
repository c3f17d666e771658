"""Gaps between the voxels of a surface that no ray met."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import FREE

_AXES = np.array(
    [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)]
)
"""The 13 lines through a voxel's neighbours, one direction each."""


@numba.njit(cache=True)
def _fill(
    semantics: Any, known: Any, start: Any, step: Any, gap: int, filled: Any, of: Any
) -> None:
    """Close the gap, if there is one, that begins behind an occupied voxel."""
    shape = semantics.shape
    x, y, z = start
    for width in range(gap + 1):
        x, y, z = x + step[0], y + step[1], z + step[2]
        if not (0 <= x < shape[0] and 0 <= y < shape[1] and 0 <= z < shape[2]):
            return
        if semantics[x, y, z] == FREE:
            continue
        if semantics[x, y, z] != semantics[start[0], start[1], start[2]]:
            return
        for _ in range(width):
            x, y, z = x - step[0], y - step[1], z - step[2]
            if not known[x, y, z] and width < of[x, y, z]:
                of[x, y, z] = width
                filled[x, y, z] = semantics[start[0], start[1], start[2]]
        return


@numba.njit(cache=True)
def _fill_all(
    semantics: Any, known: Any, occupied: Any, axes: Any, gap: int, filled: Any, of: Any
) -> None:
    for i in range(len(occupied)):
        for axis in axes:
            _fill(semantics, known, occupied[i], axis, gap, filled, of)


def fill_gaps(
    semantics: npt.NDArray[np.uint8], known_free: npt.NDArray[np.bool_], gap: int
) -> npt.NDArray[np.uint8]:
    """Close what lies between two occupied voxels of one class and was not seen to be free.

    Along each of the 13 lines through a voxel the nearest occupied voxels on both sides count; of
    several pairs the one with the narrowest gap decides.

    Args:
        semantics: ``(X, Y, Z)`` uint8 Occ3D ids.
        known_free: ``(X, Y, Z)`` what is never filled.
        gap: the widest that is closed, voxels; 0 closes none.

    Returns:
        Semantics, a new array.
    """
    filled = semantics.copy()
    width = np.full(semantics.shape, gap + 1, np.int32)  # of the gap that filled a voxel
    known, occupied = np.asarray(known_free, np.bool_), np.argwhere(semantics != FREE)
    _fill_all(semantics, known, occupied, _AXES, gap, filled, width)
    return filled
