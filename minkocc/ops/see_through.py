"""Voxels that later sweeps see through: what an object leaves behind in accumulated LiDAR.

Counted are sweeps, not rays: a sweep either hits a voxel or sees through it. Most static voxels are
crossed by some ray too, above the ground, beside a pole, or on the way to a return close behind, so
that a ray sees through a voxel only if

* no ray of its sweep ends there,
* it passes the voxel's middle, within half a voxel, and does not graze it,
* it passes below the highest return in the voxel, hence through what was hit,
* it goes on for at least a voxel and a half.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from minkocc.ops.ray_cast import segments, trace
from minkocc.structures.voxel_grid import VoxelGrid

_GRAZING = 0.5
"""Rays that pass the middle of a voxel further away than this graze it, voxels."""

_BELOW_TOP = 0.1
"""How far below the highest return a ray has to pass, voxels: range noise."""

_BEFORE_RETURN = 1.5
"""What a ray crosses within this distance of its end is taken for the surface it hits, voxels."""


class SweepCounts(NamedTuple):
    """What the sweeps saw of every voxel, each ``(X, Y, Z)`` int32."""

    returns: npt.NDArray[np.int32]
    """Returns in the voxel."""
    hits: npt.NDArray[np.int32]
    """Sweeps with a return in it."""
    passes: npt.NDArray[np.int32]
    """Sweeps that saw through it; counted where there is a hit."""


@numba.njit(cache=True)
def _voxel_of(end: Any, shape: Any) -> int:
    """The flat index of the voxel that holds a point, -1 outside."""
    for axis in range(3):
        if not 0.0 <= end[axis] < shape[axis]:
            return -1
    return (int(end[0]) * shape[1] + int(end[1])) * shape[2] + int(end[2])


@numba.njit(cache=True)
def _count_hits(ends: Any, first: Any, shape: Any, returns: Any, hits: Any, top: Any) -> None:
    """Count returns and sweeps that hit; ``top`` is the height of the highest return, voxels."""
    stamp = np.full(len(hits), -1, np.int32)
    for sweep in range(len(first) - 1):
        for ray in range(first[sweep], first[sweep + 1]):
            voxel = _voxel_of(ends[ray], shape)
            if voxel < 0:
                continue
            returns[voxel] += 1
            top[voxel] = max(top[voxel], ends[ray, 2])
            if stamp[voxel] != sweep:
                stamp[voxel] = sweep
                hits[voxel] += 1


@numba.njit(cache=True)
def _count_passes(
    starts: Any, ends: Any, first: Any, shape: Any, hits: Any, top: Any, passes: Any
) -> None:
    """Count the sweeps that see through voxels with a hit."""
    path = np.empty(shape.sum() + 3, np.int64)
    # Whether this sweep has hit the voxel, or been seen to pass it: it then counts no more.
    stamp = np.full(len(hits), -1, np.int32)
    for sweep in range(len(first) - 1):
        for ray in range(first[sweep], first[sweep + 1]):
            voxel = _voxel_of(ends[ray], shape)
            if voxel >= 0:
                stamp[voxel] = sweep
        for ray in range(first[sweep], first[sweep + 1]):
            p, q = starts[ray], ends[ray]
            dx, dy, dz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            square = dx * dx + dy * dy + dz * dz
            if square == 0.0:
                continue
            end = 1.0 - _BEFORE_RETURN / np.sqrt(square)
            length, _ = trace(p, q, shape, path)
            for i in range(length):
                voxel = path[i]
                if hits[voxel] == 0 or stamp[voxel] == sweep:
                    continue
                column = voxel // shape[2]
                x = column // shape[1] + 0.5 - p[0]
                y = column % shape[1] + 0.5 - p[1]
                z = voxel % shape[2] + 0.5 - p[2]
                t = (x * dx + y * dy + z * dz) / square
                if t > end:
                    break
                x, y, z = x - t * dx, y - t * dy, z - t * dz
                grazes = x * x + y * y + z * z > _GRAZING * _GRAZING
                if not grazes and p[2] + t * dz <= top[voxel] - _BELOW_TOP:
                    passes[voxel] += 1
                    stamp[voxel] = sweep


def sweep_counts(
    grid: VoxelGrid, origins: npt.ArrayLike, ends: list[npt.NDArray[np.floating[Any]]]
) -> SweepCounts:
    """Count for every voxel the sweeps that hit it and those that see through it.

    Args:
        grid: the grid to count on.
        origins: ``(S, 3)`` metres, ego frame: where the sensor was in each sweep.
        ends: per sweep ``(N_s, 3)`` metres, ego frame: the returns. Rows that are not finite are
            left out.

    Returns:
        Counts; a sweep adds at most one to hits or passes of a voxel, and never to both.

    Raises:
        ValueError: ``origins`` is not ``(S, 3)``, or a sweep is not ``(N, 3)``.
    """
    origins = np.asarray(origins, np.float64)
    if origins.shape != (len(ends), 3):
        raise ValueError(
            f"origins has shape {origins.shape}: expected ({len(ends)}, 3), one a sweep"
        )
    parts = [segments(grid, origin[None], end) for origin, end in zip(origins, ends)]
    first = np.cumsum([0, *(len(stop) for _, stop in parts)])
    start, stop = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    shape = np.asarray(grid.shape, np.int64)
    returns, hits, passes = np.zeros((3, grid.num_voxels), np.int32)
    top = np.full(grid.num_voxels, -np.inf)
    _count_hits(stop, first, shape, returns, hits, top)
    _count_passes(start, stop, first, shape, hits, top, passes)
    return SweepCounts(*(count.reshape(grid.shape) for count in (returns, hits, passes)))
