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
def _first(semantics: Any, x: int, y: int, z: int, step: Any, most: int) -> tuple[int, int]:
    """The class of the first occupied voxel within ``most`` steps, and how many they are."""
    shape = semantics.shape
    for i in range(1, most + 1):
        x, y, z = x + step[0], y + step[1], z + step[2]
        if not (0 <= x < shape[0] and 0 <= y < shape[1] and 0 <= z < shape[2]):
            break
        if semantics[x, y, z] != FREE:
            return semantics[x, y, z], i
    return FREE, most + 1


@numba.njit(cache=True)
def _fill(semantics: Any, known: Any, axes: Any, gap: int, filled: Any) -> None:
    for x in range(semantics.shape[0]):
        for y in range(semantics.shape[1]):
            for z in range(semantics.shape[2]):
                if semantics[x, y, z] != FREE or known[x, y, z]:
                    continue
                narrowest = gap + 1  # voxels of the gap, this one included
                for axis in axes:
                    kind, there = _first(semantics, x, y, z, axis, narrowest - 1)
                    if kind == FREE:
                        continue
                    other, back = _first(semantics, x, y, z, -axis, narrowest - there)
                    if other == kind and there + back - 1 < narrowest:
                        narrowest = there + back - 1
                        filled[x, y, z] = kind


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
    _fill(semantics, np.asarray(known_free, np.bool_), _AXES, gap, filled)
    return filled
