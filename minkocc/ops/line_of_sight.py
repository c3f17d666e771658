"""Whether surfaces are in sight, by where in its voxel each surface lies.

A ray that ends at the first occupied voxel sees little of a road: metres away it passes just above
the surface, through the voxels that hold it. Here a voxel hides only what lies behind the box
around its points.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from minkocc.ops.ray_cast import segments, trace
from minkocc.ops.voxel_votes import flat_index
from minkocc.structures.voxel_grid import VoxelGrid

_THROUGH = 0.5
"""A surface that extends further than this along an axis goes on in the next voxel, voxels."""


@numba.njit(cache=True)
def _extents(points: Any, flat: Any, low: Any, high: Any) -> None:
    """Grow the box of each voxel around its points."""
    for i in range(len(flat)):
        for axis in range(3):
            low[flat[i], axis] = min(low[flat[i], axis], points[i, axis])
            high[flat[i], axis] = max(high[flat[i], axis], points[i, axis])


@numba.njit(cache=True)
def _meets(p: Any, q: Any, low: Any, high: Any, last: float) -> bool:
    """Whether the segment from ``p`` to ``p + last (q - p)`` meets the box."""
    first = 0.0
    for axis in range(3):
        d = q[axis] - p[axis]
        if d == 0.0:
            if p[axis] < low[axis] or p[axis] > high[axis]:
                return False
            continue
        near, far = (low[axis] - p[axis]) / d, (high[axis] - p[axis]) / d
        first, last = max(first, min(near, far)), min(last, max(near, far))
    return first <= last


@numba.njit(cache=True)
def _look(
    eye: Any, targets: Any, shape: Any, low: Any, high: Any, share: float, near: float, seen: Any
) -> None:
    path = np.empty(shape.sum() + 3, np.int64)
    for i in range(len(targets)):
        square = 0.0
        for axis in range(3):
            square += (targets[i, axis] - eye[axis]) ** 2
        last = max(0.0, (1.0 - near / np.sqrt(max(square, 1e-12))) / (1.0 + share))
        length, _ = trace(eye, targets[i], shape, path)
        seen[i] = True
        for step in range(length - 1):
            voxel = path[step]
            if low[voxel, 0] <= high[voxel, 0] and _meets(
                eye, targets[i], low[voxel], high[voxel], last
            ):
                seen[i] = False
                break


class Surfaces:
    """The surface points of a grid, each voxel's in a box of its own.

    Args:
        grid: of the voxels.
        points: ``(N, 3)`` metres, ego frame, inside the grid.
        spacing: metres between neighbouring points of a surface: where it goes on beyond a voxel
            the box is half of it larger, so that nothing is seen between neighbouring boxes.
    """

    def __init__(self, grid: VoxelGrid, points: npt.NDArray[np.float64], spacing: float) -> None:
        self._grid = grid
        flat, _ = flat_index(grid, points)
        inside, _ = segments(grid, points, points)
        self._low = np.full((grid.num_voxels, 3), np.inf)
        self._high = np.full((grid.num_voxels, 3), -np.inf)
        _extents(inside, flat, self._low, self._high)
        through = self._high - self._low > _THROUGH
        self._low[through] -= spacing / 2 / grid.voxel_size
        self._high[through] += spacing / 2 / grid.voxel_size
        self.voxels = np.unique(flat)
        """Flat indices of the voxels that hold a surface, ``(M,)``."""
        count = np.bincount(flat, minlength=grid.num_voxels)[self.voxels, None]
        sums = [np.bincount(flat, axis, grid.num_voxels)[self.voxels] for axis in points.T]
        self.middles = np.stack(sums, 1) / count
        """The mean of the points of each, ``(M, 3)`` metres, ego frame."""

    def in_sight(
        self,
        eye: npt.NDArray[np.float64],
        index: npt.NDArray[np.integer[Any]],
        share: float,
        near: float,
    ) -> npt.NDArray[np.bool_]:
        """Which of the voxels' middles nothing hides, ``(K,)``.

        Args:
            eye: ``(3,)`` metres, ego frame.
            index: ``(K,)`` which of ``voxels``.
            share: what lies behind something else by no more than this share of the distance to
                that,
            near: and so many metres, is in sight nevertheless.
        """
        starts, ends = segments(self._grid, eye[None], self.middles[index])
        seen = np.zeros(len(ends), np.bool_)
        if len(ends):
            shape = np.asarray(self._grid.shape, np.int64)
            _look(
                starts[0].copy(),
                ends,
                shape,
                self._low,
                self._high,
                share,
                near / self._grid.voxel_size,
                seen,
            )
        return seen
