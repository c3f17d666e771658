"""Which voxels each pixel's ray passes, and from where to where: the part without a gradient."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from minkocc.ops.render_arguments import uses_numba
from minkocc.ops.sphere_hits import ego_rays, nearest_in_boxes, pixel_boxes, pixel_rays, ranks

SHORTEST_CHORD = 1e-6
"""Of a voxel's edge: what a ray passes less of, it does not pass."""

_TABLE_LIMIT = 1 << 27
"""Cells of the table that rays walk through; in a larger one voxels are intersected one by one."""
BLOCK = 4
"""Cells along an edge of a block: what is empty is passed block by block."""
_PIECES = 4
"""Parts that a thread's share of the rays is cut into: some rays are longer than others."""


class VoxelHits(NamedTuple):
    """The voxels along every ray, from near to far."""

    voxel: Tensor
    """(N, h * w, K) int64 rows of the voxels, padded with -1."""
    near: Tensor
    """(N, h * w, K) float64 metres along the ray to where it enters; 0 in the padding."""
    far: Tensor
    """(N, h * w, K) float64 metres along the ray to where it leaves; 0 in the padding."""


def find_voxel_hits(
    centres: Tensor,
    voxel_size: float,
    ego2cam: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    depth_range: tuple[float, float],
    max_hits: int,
    finder: str = "auto",
) -> VoxelHits:
    """The first voxels along the ray of every pixel, and the part of it that lies in each.

    A voxel holds its lower faces and not its upper ones. What lies outside of ``depth_range``
    counts for nothing. Computed in double precision: ``numba`` walks from voxel to voxel, ``torch``
    intersects each voxel with the rays of the pixels that it may cover.

    Args:
        centres: (V, 3) of voxels on a lattice, each once; metres.
        voxel_size: metres.
        ego2cam: (N, 4, 4) from the frame of the centres; rotation, reflection and translation.
        cam2img: (N, 3, 3) intrinsics.
        image_size: (h, w).
        depth_range: nearest and furthest point of a ray, metres along it.
        max_hits: K, how many to keep of each ray.
        finder: one of ``FINDERS``.

    Raises:
        ValueError: the centres lie on no lattice, the finder is unknown, or ``numba`` is asked for
            on another device.
    """
    with_numba = uses_numba(finder, centres.device)
    centres, ego2cam, cam2img = (x.detach().double() for x in (centres, ego2cam, cam2img))
    views, (h, w) = len(ego2cam), image_size
    if not len(centres) or not views * h * w:
        nothing = centres.new_zeros(views, h * w, max_hits)
        return VoxelHits(nothing.long() - 1, nothing, nothing)
    low, index = _lattice(centres, voxel_size)
    eyes, rays = ego_rays(ego2cam, cam2img, image_size)
    # In voxels from the corner of index 0; a ray's length stays in metres.
    origins, steps = (eyes - low) / voxel_size, rays / voxel_size
    shape = index.amax(0) + 1
    if not with_numba or int(shape.prod()) > _TABLE_LIMIT:
        cells = centres @ ego2cam[:, :3, :3].transpose(1, 2) + ego2cam[:, None, :3, 3]
        seen = pixel_rays(cam2img, image_size)
        boxes = _boxes(cells, voxel_size, seen, cam2img, image_size, depth_range)
        return _find_torch(index, origins, steps, boxes, w, depth_range, max_hits)
    return _find_numba(index, shape, origins, steps, depth_range, max_hits)


def _lattice(centres: Tensor, voxel_size: float) -> tuple[Tensor, Tensor]:
    """The lower corner of the voxels' bounding box, and each voxel's index from there."""
    low = centres.amin(0)
    place = (centres - low) / voxel_size
    index = place.round()
    off = float((place - index).abs().max())
    if not off < 0.01:
        raise ValueError(
            f"centres lie up to {off:.3g} voxels off a lattice of {voxel_size} m: expected those "
            "of a VoxelGrid of that voxel_size"
        )
    return low - voxel_size / 2, index.long()


def _boxes(
    centres: Tensor,
    voxel_size: float,
    rays: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    depth_range: tuple[float, float],
) -> Tensor:
    """Pixels that each voxel may cover: those of the sphere around it; (N * V, 4)."""
    h, w = image_size
    radii = torch.full_like(centres[..., 0], voxel_size * (0.75**0.5 + 1e-6))
    # A ray may start inside of a voxel, where it has long entered the sphere.
    boxes = pixel_boxes(centres, radii, rays, cam2img, image_size, (0.0, depth_range[1]))
    around = centres.norm(dim=2, keepdim=True) <= radii[..., None]
    whole = torch.tensor([0, 0, w, h], device=boxes.device)
    return torch.where(around, whole, boxes).flatten(0, 1)


def _find_torch(
    index: Tensor,
    origins: Tensor,
    steps: Tensor,
    boxes: Tensor,
    width: int,
    depth_range: tuple[float, float],
    max_hits: int,
) -> VoxelHits:
    """Intersect every voxel with the rays of its box, and keep the first of every pixel."""
    (views, pixels, _), voxels = steps.shape, len(index)
    rows = steps.flatten(0, 1)

    def chord(row: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        start, step = origins[row // voxels] - index[row % voxels], rows[pixel]
        still = step == 0
        faces = torch.stack([-start, 1 - start]) / torch.where(still, 1.0, step)
        held = torch.where((start >= 0) & (start < 1), torch.inf, -torch.inf)
        near = torch.where(still, -held, faces.amin(0)).amax(1).clamp_min(depth_range[0])
        return near, torch.where(still, held, faces.amax(0)).amin(1).clamp_max(depth_range[1])

    def intersect(row: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        near, far = chord(row, pixel)
        return far - near > SHORTEST_CHORD / rows[pixel].norm(dim=1), near

    pixel, row = nearest_in_boxes(boxes, voxels, pixels, width, max_hits, intersect)
    near, far = chord(row, pixel)
    place = (pixel, ranks(pixel))
    depths = steps.new_zeros(2, views * pixels, max_hits)
    depths[0].index_put_(place, near)
    depths[1].index_put_(place, far)
    voxel = torch.full_like(depths[0], -1, dtype=torch.long).index_put_(place, row % voxels)
    return VoxelHits(*(x.view(views, pixels, max_hits) for x in (voxel, depths[0], depths[1])))


def _find_numba(
    index: Tensor,
    shape: Tensor,
    origins: Tensor,
    steps: Tensor,
    depth_range: tuple[float, float],
    max_hits: int,
) -> VoxelHits:
    """Walk every ray through a table of the voxels."""
    views, pixels, _ = steps.shape
    table = np.full(shape.tolist(), -1, np.int32)
    table[tuple(index.numpy().T)] = np.arange(len(index), dtype=np.int32)
    blocks = np.zeros((-(-shape // BLOCK)).tolist(), np.bool_)
    blocks[tuple((index // BLOCK).numpy().T)] = True
    voxel = np.full((views, pixels, max_hits), -1, np.int64)
    near, far = np.zeros((2, *voxel.shape))
    starts, rays = origins.numpy(), steps.numpy()
    threads = torch.get_num_threads()
    piece = -(-pixels // max(1, _PIECES * threads // views))
    jobs = [(view, first) for view in range(views) for first in range(0, pixels, piece)]

    def walk(job: tuple[int, int]) -> None:
        view, part = job[0], slice(job[1], job[1] + piece)
        found = (each[view, part] for each in (voxel, near, far))
        _walk(table, blocks, starts[view], rays[view, part], *depth_range, *found)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(walk, jobs))
    return VoxelHits(*map(torch.from_numpy, (voxel, near, far)))


@numba.njit(cache=True, nogil=True)
def _part_inside(
    start: Any, step: Any, shape: Any, nearest: float, furthest: float
) -> tuple[float, float]:
    """The part of a ray that lies in the table; empty where the second is not larger."""
    begin, end = nearest, furthest
    for axis in range(3):
        if step[axis] == 0.0:
            if not 0.0 <= start[axis] < shape[axis]:
                return 0.0, 0.0
        else:
            first, last = -start[axis] / step[axis], (shape[axis] - start[axis]) / step[axis]
            begin, end = max(begin, min(first, last)), min(end, max(first, last))
    return begin, end


@numba.njit(cache=True, nogil=True, inline="always")
def _layer(start: float, step: float, at: float, size: int) -> int:
    """The layer of cells that a ray is in at ``at`` metres."""
    return int(min(max(np.floor(start + at * step), 0.0), size - 1.0))


@numba.njit(cache=True, nogil=True, inline="always")
def _onward(layer: int, start: float, step: float, at: float, size: int) -> int:
    """The layer at ``at`` metres of a ray that was in ``layer``: rounding may not lead back.

    In a corner, where a ray leaves two layers at once, it would go from one to the other for ever.
    """
    there = _layer(start, step, at, size)
    return max(layer, there) if step > 0.0 else min(layer, there)


@numba.njit(cache=True, nogil=True, inline="always")
def _face(layer: int, width: int, start: float, step: float) -> float:
    """Where a ray leaves a layer of ``width`` cells.

    Computed anew each time, so that no rounding adds up, and a cell and a block that end in one
    face say the same.
    """
    if step == 0.0:
        return np.inf
    return ((layer + (step > 0.0)) * width - start) / step


@numba.njit(cache=True, nogil=True, inline="always")
def _leave_block(
    x: int, y: int, z: int, start: Any, step: Any, shape: Any, begin: float
) -> tuple[int, int, int, float]:
    """The cell behind the block that holds a cell, and where the ray enters it."""
    i, j, k = x // BLOCK, y // BLOCK, z // BLOCK
    tx, ty = _face(i, BLOCK, start[0], step[0]), _face(j, BLOCK, start[1], step[1])
    tz = _face(k, BLOCK, start[2], step[2])
    begin = max(begin, min(tx, ty, tz))
    x = _onward(x, start[0], step[0], begin, shape[0])
    y = _onward(y, start[1], step[1], begin, shape[1])
    z = _onward(z, start[2], step[2], begin, shape[2])
    # Of the face that it leaves through no rounding decides on which side it is.
    if tx <= ty and tx <= tz:
        x = (i + (step[0] > 0.0)) * BLOCK - (step[0] < 0.0)
    elif ty <= tz:
        y = (j + (step[1] > 0.0)) * BLOCK - (step[1] < 0.0)
    else:
        z = (k + (step[2] > 0.0)) * BLOCK - (step[2] < 0.0)
    return x, y, z, begin


@numba.njit(cache=True, nogil=True)
def _walk(
    table: Any,
    blocks: Any,
    start: Any,
    steps: Any,
    nearest: float,
    furthest: float,
    voxel: Any,
    near: Any,
    far: Any,
) -> None:
    """Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing" (1987).

    From block to block where these are empty, else from cell to cell. Scalars, because LLVM keeps
    them in registers and small arrays it does not.
    """
    nx, ny, nz = table.shape
    x0, y0, z0 = start
    for ray in range(len(steps)):
        dx, dy, dz = steps[ray]
        begin, end = _part_inside(start, steps[ray], table.shape, nearest, furthest)
        if begin >= end:
            continue
        shortest = SHORTEST_CHORD / np.sqrt(dx * dx + dy * dy + dz * dz)
        x, y, z = _layer(x0, dx, begin, nx), _layer(y0, dy, begin, ny), _layer(z0, dz, begin, nz)
        tx, ty, tz = _face(x, 1, x0, dx), _face(y, 1, y0, dy), _face(z, 1, z0, dz)
        count = 0
        while begin < end and count < voxel.shape[1]:
            row = table[x, y, z]
            if row < 0 and not blocks[x // BLOCK, y // BLOCK, z // BLOCK]:
                x, y, z, begin = _leave_block(x, y, z, start, steps[ray], table.shape, begin)
                if not (0 <= x < nx and 0 <= y < ny and 0 <= z < nz):
                    break
                tx, ty, tz = _face(x, 1, x0, dx), _face(y, 1, y0, dy), _face(z, 1, z0, dz)
                continue
            leave = min(tx, ty, tz, end)
            if row >= 0 and leave - begin > shortest:
                voxel[ray, count], near[ray, count], far[ray, count] = row, begin, leave
                count += 1
            begin = max(begin, leave)
            if tx <= ty and tx <= tz:
                x += 1 if dx > 0.0 else -1
                tx = _face(x, 1, x0, dx)
            elif ty <= tz:
                y += 1 if dy > 0.0 else -1
                ty = _face(y, 1, y0, dy)
            else:
                z += 1 if dz > 0.0 else -1
                tz = _face(z, 1, z0, dz)
            if not (0 <= x < nx and 0 <= y < ny and 0 <= z < nz):
                break
