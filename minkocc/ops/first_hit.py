"""The first occupied voxel of a ray, by the rule that RayIoU is defined with.

Published RayIoU figures come from one ray caster, whose roundings decide which voxel a ray hits
first. It is kept exactly, which is why this walk stands beside that of ``ray_cast.py``: origins
and ends are rounded to float32, the walk starts in voxel ``int(origin)`` (towards zero), depth is
measured to the face through which the ray *leaves* the voxel, and a tie between two faces goes to
the later axis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import VoxelGrid

MAX_STEPS = 1000
NEVER_INSIDE = -1.0
"""Distance of a ray that never enters the grid; its voxel is number 0."""


class VoxelRays(NamedTuple):
    """Rays in units of voxels, from the grid's low corner: a point on each and where it starts."""

    starts: npt.NDArray[np.float32]
    """``(N, 3)``."""
    ends: npt.NDArray[np.float32]
    """``(N, 3)``, one metre further; the ray goes on beyond."""

    def where(self, kept: npt.NDArray[np.bool_]) -> VoxelRays:
        """The rays that are kept, ``(N,)`` bool."""
        return VoxelRays(self.starts[kept], self.ends[kept])


def voxel_rays(
    grid: VoxelGrid, origins: npt.ArrayLike, directions: npt.NDArray[np.float32]
) -> VoxelRays:
    """All directions from all origins, rounded as RayIoU rounds them.

    Args:
        grid: gives origin and unit.
        origins: ``(T, 3)`` metres, ego frame.
        directions: ``(N, 3)`` float32 unit vectors, ego frame.

    Returns:
        ``T * N`` rays, those of the first origin first.

    Raises:
        ValueError: a shape is wrong or a coordinate is not finite.
    """
    start = np.asarray(origins, np.float64)
    if start.ndim != 2 or start.shape[1] != 3 or not np.isfinite(start).all():
        raise ValueError(f"origins of shape {start.shape}: expected finite (T, 3), metres in ego")
    low = np.asarray(grid.point_cloud_range[:3], np.float32).astype(np.float64)
    unit = np.float64(np.float32(grid.voxel_size))
    end = start[:, None] + directions[None]
    starts = np.broadcast_to(start[:, None], end.shape)
    to_units = (((point - low) / unit).astype(np.float32).reshape(-1, 3) for point in (starts, end))
    return VoxelRays(*to_units)


def first_hits(
    rays: VoxelRays, occupied: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Which voxel each ray hits first, and how far away it leaves that voxel; in parallel.

    Args:
        rays: what ``voxel_rays`` gave.
        occupied: ``(X, Y, Z)``, what stops a ray.

    Returns:
        The voxel's number in ``occupied.ravel()`` and the distance in voxels, each ``(N,)``. A ray
        that hits nothing gives the last voxel inside the grid; one that never enters gives voxel 0
        at ``NEVER_INSIDE``.
    """
    solid = np.ascontiguousarray(occupied, np.bool_)
    index = np.empty(len(rays.starts), np.int64)
    distance = np.empty(len(rays.starts), np.float32)
    shape = np.asarray(solid.shape, np.int64)
    threads = torch.get_num_threads()
    _cast(rays.starts, rays.ends, shape, solid.reshape(-1), index, distance)
    # Numba's pool has set OpenMP's threads, which are torch's too, to the number of cores.
    torch.set_num_threads(threads)
    return index, distance


@numba.njit(parallel=True, cache=True)
def _cast(starts: Any, ends: Any, shape: Any, solid: Any, index: Any, distance: Any) -> None:
    for ray in numba.prange(len(starts)):
        index[ray], distance[ray] = _walk(starts[ray], ends[ray], shape, solid)


@numba.njit(cache=True)
def _face(voxel: int, start: Any, direction: Any) -> tuple[int, float, float]:
    """Step, distance to the first face and between faces along one axis."""
    step = 1 if direction >= 0.0 else -1
    if direction == 0.0:
        return step, np.inf, np.inf
    border = voxel + (1.0 if step > 0 else 0.0)
    return step, (border - start) / direction, step / direction


@numba.njit(cache=True)
def _walk(start: Any, end: Any, shape: Any, solid: Any) -> tuple[int, float]:
    """Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing" (1987)."""
    x0, y0, z0 = np.float64(start[0]), np.float64(start[1]), np.float64(start[2])
    dx, dy, dz = end[0] - x0, end[1] - y0, end[2] - z0
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    vx, vy, vz = int(x0), int(y0), int(z0)
    sx, tx, rx = _face(vx, x0, dx / length)
    sy, ty, ry = _face(vy, y0, dy / length)
    sz, tz, rz = _face(vz, z0, dz / length)
    index, distance = 0, NEVER_INSIDE
    was_inside = False
    for _ in range(MAX_STEPS + 1):
        at = (vx * shape[1] + vy) * shape[2] + vz
        inside = 0 <= vx < shape[0] and 0 <= vy < shape[1] and 0 <= vz < shape[2]
        if was_inside and not inside:
            break
        if tx < ty and tx < tz:
            leaves = tx
            vx, tx = vx + sx, tx + rx
        elif tx >= ty and ty < tz:
            leaves = ty
            vy, ty = vy + sy, ty + ry
        else:
            leaves = tz
            vz, tz = vz + sz, tz + rz
        if inside:
            was_inside = True
            index, distance = at, leaves
            if solid[at]:
                break
    return index, distance


def first_hits_torch(rays: VoxelRays, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """``first_hits`` in plain PyTorch, on the device of ``occupied``: all rays step together.

    The same voxels and distances, bit for bit, as far as the device divides as IEEE 754 says.

    Args:
        rays: what ``voxel_rays`` gave.
        occupied: bool ``(X, Y, Z)``.

    Returns:
        int64 and float32 ``(N,)`` on that device.
    """
    device = occupied.device
    starts, ends = (torch.from_numpy(rows).to(device).double() for rows in rays)
    solid = occupied.reshape(-1)
    shape = torch.tensor(occupied.shape, device=device)
    number = torch.arange(len(starts), device=device)
    index = torch.zeros(len(starts), dtype=torch.int64, device=device)
    distance = torch.full((len(starts),), NEVER_INSIDE, device=device)
    voxel = starts.trunc().long()
    direction = ends - starts
    x, y, z = direction.square().unbind(1)
    direction = direction / (x + y + z).sqrt()[:, None]  # in this order, on every device
    step = torch.where(direction >= 0, 1, -1)
    border = voxel + (step > 0)
    never = torch.full_like(direction, torch.inf)
    face = torch.where(direction == 0, never, (border - starts) / direction)
    between = torch.where(direction == 0, never, step / direction)
    was_inside = torch.zeros_like(number, dtype=torch.bool)
    for _ in range(MAX_STEPS + 1):
        inside = ((voxel >= 0) & (voxel < shape)).all(1)
        at = (voxel[:, 0] * shape[1] + voxel[:, 1]) * shape[2] + voxel[:, 2]
        axis = _nearest_axis(face)[:, None]
        row = number[inside]
        index[row] = at[inside]
        distance[row] = face.gather(1, axis)[inside, 0].float()
        hit = torch.zeros_like(inside)
        hit[inside] = solid[at[inside]]
        face = face.scatter_add(1, axis, between.gather(1, axis))
        voxel = voxel.scatter_add(1, axis, step.gather(1, axis))
        going = ~hit & (inside | ~was_inside)
        was_inside |= inside
        rows = (number, voxel, face, between, step, was_inside)
        number, voxel, face, between, step, was_inside = (values[going] for values in rows)
        if not len(number):
            break
    return index, distance


def first_voxels(
    solid: Tensor, grid: VoxelGrid, eyes: Tensor, rays: Tensor, depth_range: tuple[float, float]
) -> Tensor:
    """The first solid voxel that each ray meets within a range of depths.

    Args:
        solid: bool ``(X, Y, Z)``.
        grid: of ``solid``.
        eyes: ``(N, 3)`` metres, frame of the grid.
        rays: ``(N, P, 3)`` unit vectors from each.
        depth_range: metres along the ray; what is nearer stops none.

    Returns:
        int64 ``(N, P)``, the voxel's number in ``solid.ravel()``; -1 where none is met.
    """
    nearest, furthest = depth_range
    low = eyes.new_tensor(grid.point_cloud_range[:3])
    starts = (eyes[:, None] + nearest * rays - low) / grid.voxel_size
    ends = starts + rays / grid.voxel_size
    units = VoxelRays(*(x.float().reshape(-1, 3).cpu().numpy() for x in (starts, ends)))
    if solid.device.type == "cpu":
        index, leaves = (torch.from_numpy(each) for each in first_hits(units, solid.numpy()))
    else:
        index, leaves = first_hits_torch(units, solid)
    ahead = (leaves > 0) & (leaves * grid.voxel_size < furthest - nearest)
    met = solid.reshape(-1)[index] & ahead
    return torch.where(met, index, -1).view(rays.shape[:2])


def first_known(
    target: Tensor, grid: VoxelGrid, eyes: Tensor, rays: Tensor, depth_range: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """The first voxel of each ray that an occupancy target does not know to be free.

    Args:
        target: uint8 ``(X, Y, Z)``: 0 free, 1 occupied, else unknown.
        grid: of ``target``.
        eyes: as of ``first_voxels``, like the others.
        rays: as there.
        depth_range: as there.

    Returns:
        int64 ``(N, P)`` as of ``first_voxels``, and bool ``(N, P)``: it is known to be occupied.
    """
    met = first_voxels(target != WEAK_FREE, grid, eyes, rays, depth_range)
    return met, (met >= 0) & (target.reshape(-1)[met] == WEAK_OCCUPIED)


def voxel_depths(voxels: Tensor, grid: VoxelGrid, eyes: Tensor, rays: Tensor) -> Tensor:
    """How far along its ray the centre of each voxel lies, metres, ``(N, P)`` float64.

    Args:
        voxels: int64 ``(N, P)`` numbers; what stands for -1 means nothing.
        grid: of the voxels.
        eyes: ``(N, 3)`` metres.
        rays: ``(N, P, 3)`` unit vectors from each.
    """
    place = torch.stack(torch.unravel_index(voxels.clamp_min(0), grid.shape), -1)
    return along_rays(grid.to_centre(place), eyes, rays)


def along_rays(points: Tensor, eyes: Tensor, rays: Tensor) -> Tensor:
    """How far along each ray the points ``(N, P, 3)`` lie, metres, ``(N, P)`` float64."""
    return ((points.double() - eyes[:, None]) * rays).sum(-1)


def _nearest_axis(face: Tensor) -> Tensor:
    """The axis of the nearest face, the later one where two are equally near, ``(N,)``."""
    x, y, z = face.unbind(1)
    return torch.where((x < y) & (x < z), 0, torch.where((x >= y) & (y < z), 1, 2))
