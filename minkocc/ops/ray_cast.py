"""Rays through a voxel grid: LiDAR returns to weak occupancy, and visibility.

Every function walks its rays by Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray
Tracing" (1987), in double precision and in units of voxels. The first and the last voxel of a ray
are those of ``VoxelGrid.to_index``; a voxel that a ray merely touches in an edge or a corner may
or may not count as crossed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN
from minkocc.structures.voxel_grid import VoxelGrid

_Float64 = npt.NDArray[np.float64]


@numba.njit(cache=True)
def _enter(p: Any, q: Any, shape: Any, end_inside: bool) -> float:
    """Where the segment ``p + t (q - p)`` enters the box [0, shape), or -1 if it never does."""
    first, last = 0.0, 1.0
    for axis in range(3):
        d = q[axis] - p[axis]
        if d == 0.0:
            if p[axis] < 0.0 or p[axis] >= shape[axis]:
                return -1.0
            continue
        near, far = -p[axis] / d, (shape[axis] - p[axis]) / d
        if d < 0.0:
            near, far = far, near
        first, last = max(first, near), min(last, far)
    if first <= last:
        return first
    # Rounding may place the entry just behind an end that lies on the boundary.
    return 1.0 if end_inside else -1.0


@numba.njit(cache=True)
def trace(p: Any, q: Any, shape: Any, path: Any) -> tuple[int, bool]:
    """Write the flat indices of the voxels from ``p`` to ``q`` into ``path``, in order.

    Args:
        p: (3,) start in voxel units, may lie outside the grid.
        q: (3,) end in voxel units, may lie outside the grid.
        shape: (3,) int64.
        path: at least X + Y + Z long, int64.

    Returns:
        How many voxels were written, and whether the last of them holds ``q``.
    """
    index = np.empty(3, np.int64)
    step = np.empty(3, np.int64)
    left = np.empty(3, np.int64)
    t_next = np.empty(3, np.float64)
    t_delta = np.empty(3, np.float64)
    end_inside = True
    for axis in range(3):
        end_inside = end_inside and 0.0 <= q[axis] < shape[axis]
    start = _enter(p, q, shape, end_inside)
    if start < 0.0:
        return 0, False
    for axis in range(3):
        d = q[axis] - p[axis]
        entry = np.floor(p[axis] + start * d if start > 0.0 else p[axis])
        i = int(min(max(entry, 0.0), shape[axis] - 1.0))
        # One voxel outside is as good as infinitely far: the walk stops there.
        end = int(min(max(np.floor(q[axis]), -1.0), float(shape[axis])))
        step[axis] = 1 if d > 0.0 else -1
        left[axis] = (end - i) * step[axis]
        if left[axis] <= 0:
            i, left[axis] = min(max(end, 0), shape[axis] - 1), 0
        index[axis] = i
        if left[axis] == 0:
            t_next[axis], t_delta[axis] = np.inf, 0.0
        else:
            t_next[axis] = (i + (1 if d > 0.0 else 0) - p[axis]) / d
            t_delta[axis] = 1.0 / abs(d)
    return _walk(index, step, left, t_next, t_delta, shape, path), end_inside


@numba.njit(cache=True)
def _walk(
    index: Any, step: Any, left: Any, t_next: Any, t_delta: Any, shape: Any, path: Any
) -> int:
    """Step from voxel to voxel until no step is left or the grid ends; the number written."""
    # Scalars, because LLVM keeps them in registers and small arrays it does not.
    nx, ny, nz = left
    tx, ty, tz = t_next
    dx, dy, dz = t_delta
    sx, sy, sz = step[0] * shape[1] * shape[2], step[1] * shape[2], step[2]
    room_x = shape[0] - 1 - index[0] if step[0] > 0 else index[0]
    room_y = shape[1] - 1 - index[1] if step[1] > 0 else index[1]
    room_z = shape[2] - 1 - index[2] if step[2] > 0 else index[2]
    flat = (index[0] * shape[1] + index[1]) * shape[2] + index[2]
    path[0] = flat
    count = 1
    while nx + ny + nz > 0:
        if tx <= ty and tx <= tz:
            nx, room_x, flat, tx = nx - 1, room_x - 1, flat + sx, tx + dx
            if room_x < 0:
                break
            if nx == 0:
                tx = np.inf
        elif ty <= tz:
            ny, room_y, flat, ty = ny - 1, room_y - 1, flat + sy, ty + dy
            if room_y < 0:
                break
            if ny == 0:
                ty = np.inf
        else:
            nz, room_z, flat, tz = nz - 1, room_z - 1, flat + sz, tz + dz
            if room_z < 0:
                break
            if nz == 0:
                tz = np.inf
        path[count] = flat
        count += 1
    return count


@numba.njit(cache=True)
def _count(starts: Any, ends: Any, shape: Any, hits: Any, passes: Any) -> None:
    """Add every ray to the flat counters ``hits`` and ``passes``."""
    path = np.empty(shape.sum() + 3, np.int64)
    for ray in range(len(starts)):
        length, reached = trace(starts[ray], ends[ray], shape, path)
        if reached:
            length -= 1
            hits[path[length]] += 1
        for i in range(length):
            passes[path[i]] += 1


@numba.njit(cache=True)
def _mark(starts: Any, ends: Any, shape: Any, target: Any) -> None:
    """Write every ray into the flat ``target``: its end occupied, the voxels before it free."""
    path = np.empty(shape.sum() + 3, np.int64)
    for ray in range(len(starts)):
        length, reached = trace(starts[ray], ends[ray], shape, path)
        if reached:
            length -= 1
            target[path[length]] = WEAK_OCCUPIED
        for i in range(length):
            if target[path[i]] == WEAK_UNKNOWN:
                target[path[i]] = WEAK_FREE


@numba.njit(cache=True)
def _see(starts: Any, ends: Any, shape: Any, occupied: Any, visible: Any) -> None:
    """Mark every ray's voxels in the flat ``visible``, up to the first occupied one."""
    path = np.empty(shape.sum() + 3, np.int64)
    for ray in range(len(starts)):
        length, _ = trace(starts[ray], ends[ray], shape, path)
        for i in range(length):
            visible[path[i]] = True
            if occupied[path[i]]:
                break


def _as_rows(name: str, values: npt.ArrayLike) -> _Float64:
    """``values`` as (N, 3) float64."""
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"{name} has shape {array.shape}: expected (N, 3), metres in ego frame")
    return array


def _to_voxel_units(grid: VoxelGrid, points: _Float64) -> _Float64:
    """Continuous voxel coordinates, by the same arithmetic as ``VoxelGrid.to_index``."""
    low = np.asarray(grid.point_cloud_range[:3])
    return np.ascontiguousarray((points - low) / grid.voxel_size)


def segments(
    grid: VoxelGrid, origins: npt.ArrayLike, ends: npt.ArrayLike
) -> tuple[_Float64, _Float64]:
    """Finite rays from origin to end, two arrays of (M, 3) in voxel units."""
    stop = _as_rows("ends", ends)
    start = _as_rows("origins", origins)
    if len(start) not in (1, len(stop)):
        raise ValueError(f"origins has {len(start)} rows for {len(stop)} ends: give 1 or as many")
    start = np.broadcast_to(start, stop.shape)
    finite = np.isfinite(start).all(1) & np.isfinite(stop).all(1)
    return _to_voxel_units(grid, start[finite]), _to_voxel_units(grid, stop[finite])


def ray_hits_and_passes(
    grid: VoxelGrid, origins: npt.ArrayLike, ends: npt.ArrayLike
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Count, per voxel, the rays that end in it and the rays that cross it before their end.

    Origins and ends may lie outside the grid: a ray counts where its segment is inside, and an
    end outside is no hit. Rows with a non-finite coordinate are dropped.

    Args:
        grid: the grid to count on.
        origins: (N, 3) or (1, 3) metres, ego frame: where the sensor was.
        ends: (N, 3) metres, ego frame: the returns.

    Returns:
        ``hits`` and ``passes``, both (X, Y, Z) int32. A ray adds at most one to either in a
        voxel, and never to both.

    Raises:
        ValueError: the arrays are not (N, 3), or differ in length.
    """
    start, stop = segments(grid, origins, ends)
    hits = np.zeros(grid.num_voxels, np.int32)
    passes = np.zeros(grid.num_voxels, np.int32)
    _count(start, stop, np.asarray(grid.shape, np.int64), hits, passes)
    return hits.reshape(grid.shape), passes.reshape(grid.shape)


def mark_rays(
    grid: VoxelGrid, origins: npt.ArrayLike, ends: npt.ArrayLike, target: npt.NDArray[np.uint8]
) -> None:
    """Write rays into a weak occupancy target, in place.

    Occupied wins in any order of the rays: most voxels that hold a surface are crossed by other
    rays too. One byte a voxel, where the counts of ``ray_hits_and_passes`` take eight.

    Args:
        grid: the grid of ``target``.
        origins: (N, 3) or (1, 3) metres, ego frame; as in ``ray_hits_and_passes``.
        ends: (N, 3) metres, ego frame: the returns.
        target: (X, Y, Z) uint8, contiguous: becomes occupied where a ray ends, and free where
            rays cross what was unknown.

    Raises:
        ValueError: a shape or the type is wrong, or ``target`` is not contiguous.
    """
    if target.shape != grid.shape or target.dtype != np.uint8 or not target.flags.c_contiguous:
        raise ValueError(
            f"target is {target.dtype} {target.shape}: expected contiguous uint8 {grid.shape}"
        )
    start, stop = segments(grid, origins, ends)
    _mark(start, stop, np.asarray(grid.shape, np.int64), target.reshape(-1))


def visible_voxels(
    grid: VoxelGrid,
    occupied: npt.ArrayLike,
    origins: npt.ArrayLike,
    directions: npt.ArrayLike,
    max_range: float,
) -> npt.NDArray[np.bool_]:
    """Which voxels rays see: all those up to and including the first occupied one.

    Rows with a non-finite coordinate or a zero direction are dropped.

    Args:
        grid: the grid of ``occupied``.
        occupied: (X, Y, Z) bool, what stops a ray.
        origins: (N, 3) or (1, 3) metres, ego frame; may lie outside the grid.
        directions: (N, 3), ego frame, of any length.
        max_range: how far a ray sees, in metres.

    Returns:
        (X, Y, Z) bool.

    Raises:
        ValueError: a shape is wrong or ``max_range`` is not positive and finite.
    """
    solid = np.ascontiguousarray(occupied, dtype=np.bool_)
    if solid.shape != grid.shape:
        raise ValueError(f"occupied has shape {solid.shape}: expected the grid's, {grid.shape}")
    if not 0.0 < max_range < np.inf:
        raise ValueError(f"max_range {max_range} is not a positive, finite number of metres")
    ray = _as_rows("directions", directions)
    start = _as_rows("origins", origins)
    if len(start) not in (1, len(ray)):
        raise ValueError(
            f"origins has {len(start)} rows for {len(ray)} directions: give 1 or as many"
        )
    start = np.broadcast_to(start, ray.shape)
    # Scaling by the largest component first keeps huge and tiny directions from over/underflowing.
    largest = np.abs(ray).max(1, initial=0.0)
    usable = np.isfinite(start).all(1) & np.isfinite(largest) & (largest > 0.0)
    start, ray = start[usable], ray[usable] / largest[usable, None]
    stop = start + ray * (max_range / np.linalg.norm(ray, axis=1, keepdims=True))
    visible = np.zeros(grid.num_voxels, np.bool_)
    shape = np.asarray(grid.shape, np.int64)
    start, stop = _to_voxel_units(grid, start), _to_voxel_units(grid, stop)
    _see(start, stop, shape, solid.reshape(-1), visible)
    return visible.reshape(grid.shape)
