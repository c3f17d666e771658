"""Which spheres each pixel's ray meets first: the part of sphere rendering without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from minkocc.ops.render_arguments import uses_numba

_MAX_CANDIDATES = 1 << 22
"""(sphere, pixel) pairs that the torch finder examines at once."""


def pixel_rays(cam2img: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Unit viewing directions ``K^-1 [u + .5, v + .5, 1]`` of integer pixels (u, v).

    Args:
        cam2img: (N, 3, 3) intrinsics ``K``, of any principal point, aspect and skew.
        image_size: (h, w).

    Returns:
        (N, h * w, 3) float64, camera frames, row by row.
    """
    h, w = image_size
    device = cam2img.device
    u = torch.arange(w, dtype=torch.float64, device=device) + 0.5
    v = torch.arange(h, dtype=torch.float64, device=device) + 0.5
    grid_v, grid_u = torch.meshgrid(v, u, indexing="ij")
    pixels = torch.stack([grid_u, grid_v, torch.ones_like(grid_u)], -1).view(-1, 3)
    rays = pixels @ torch.linalg.inv_ex(cam2img.double()).inverse.transpose(1, 2)
    return rays / rays.norm(dim=2, keepdim=True)


def ego_rays(
    ego2cam: Tensor, cam2img: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The rays of ``pixel_rays`` in the frame that the cameras stand in.

    Args:
        ego2cam: (N, 4, 4) float64; rotation, reflection and translation.
        cam2img: (N, 3, 3) intrinsics.
        image_size: (h, w).

    Returns:
        The cameras' centres (N, 3), metres, and unit directions (N, h * w, 3), float64.
    """
    turn = ego2cam[:, :3, :3]
    centres = -(ego2cam[:, None, :3, 3] @ turn).squeeze(1)
    return centres, pixel_rays(cam2img, image_size) @ turn


def find_hits(
    centres: Tensor,
    radii: Tensor,
    rays: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    depth_range: tuple[float, float],
    max_hits: int,
    finder: str = "auto",
) -> Tensor:
    """The nearest spheres along the ray of every pixel, in order of their front intersection.

    A sphere is hit if the ray passes closer to its centre than its radius and enters it within
    the depth range. Equal depths are ordered by index. Computed in double precision.

    Args:
        centres: (N, V, 3) metres, in the frame of each camera.
        radii: (N, V) metres.
        rays: (N, h * w, 3) from ``pixel_rays``.
        cam2img: (N, 3, 3) intrinsics.
        image_size: (h, w).
        depth_range: nearest and furthest entry, metres along the ray.
        max_hits: how many to keep per pixel.
        finder: one of ``FINDERS``.

    Returns:
        (N, h * w, max_hits) int64 indices of spheres, padded with -1.

    Raises:
        ValueError: the finder is unknown, or ``numba`` is asked for on another device.
    """
    with_numba = uses_numba(finder, centres.device)
    centres, radii, rays, cam2img = (
        x.detach().double().contiguous() for x in (centres, radii, rays, cam2img)
    )
    boxes = pixel_boxes(centres, radii, rays, cam2img, image_size, depth_range)
    if not with_numba:
        return _find_torch(centres, radii, rays, boxes, image_size[1], depth_range, max_hits)
    hits = np.full((*rays.shape[:2], max_hits), -1, np.int64)
    spheres, pixels = (centres.numpy(), radii.numpy(), boxes.numpy()), rays.numpy()

    def find(view: int) -> None:
        centre, radius, box = (each[view] for each in spheres)
        near, far = depth_range
        _find_numba(centre, radius, pixels[view], box, image_size[1], near, far, hits[view])

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(find, range(len(hits))))
    return torch.from_numpy(hits)


def pixel_boxes(
    centres: Tensor,
    radii: Tensor,
    rays: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    depth_range: tuple[float, float],
) -> Tensor:
    """Pixels whose rays may enter each sphere: (N, V, 4) int64 ``u0, v0, u1, v1``, ends excluded.

    Arguments as ``find_hits`` has them, in double precision; a sphere around the camera has none.

    The silhouette of a sphere in front of the camera plane is an ellipse. Its extreme columns u
    belong to the planes through the camera, (k1 - u k3) . p = 0 with k the rows of K, that touch
    the sphere: ((k1 - u k3) . c)^2 = R^2 |k1 - u k3|^2, a quadratic in u. A sphere that reaches
    behind the camera plane gets the whole image.
    """
    h, w = image_size
    z, distance = centres[..., 2], centres.norm(dim=2)
    # The entry point p of a hit has p_z >= min_depth * (smallest r_z) and p_z <= z + R.
    lowest = rays[..., 2].amin(1, keepdim=True) if h * w else z.new_zeros(len(z), 1)
    reachable = (z + radii > depth_range[0] * lowest) & (z + radii > 0)
    reachable &= (distance > radii) & (distance - radii <= depth_range[1]) & (radii > 0)
    in_front = z > radii * (1 + 1e-9)
    square = radii.square()
    a = z.square() - square * cam2img[:, 2].square().sum(1, keepdim=True)
    lows, highs = [], []
    for axis, size in ((0, w), (1, h)):
        k = cam2img[:, axis]
        along = (centres @ k[..., None]).squeeze(2)
        b = along * z - square * (k * cam2img[:, 2]).sum(1, keepdim=True)
        c = along.square() - square * k.square().sum(1, keepdim=True)
        root = (b.square() - a * c).clamp_min(0).sqrt()
        low = torch.where(in_front, (b - root) / a, -torch.inf)
        high = torch.where(in_front, (b + root) / a, torch.inf)
        # Pixel i is inside if its centre i + 0.5 is; 1e-6 of a pixel absorbs the rounding.
        lows.append(torch.ceil(low - 0.5 - 1e-6).nan_to_num(0, size, 0).clamp(0, size))
        highs.append(torch.floor(high + 0.5 + 1e-6).nan_to_num(0, size, 0).clamp(0, size))
    boxes = torch.stack(lows + highs, -1).long()
    return torch.where(reachable[..., None], boxes, 0)


@numba.njit(cache=True, nogil=True)
def _find_numba(
    centres: Any,
    radii: Any,
    rays: Any,
    boxes: Any,
    width: int,
    min_depth: float,
    max_depth: float,
    hits: Any,
) -> None:
    """Insert every sphere of one view into the sorted lists ``hits`` of its pixels."""
    max_hits = hits.shape[1]
    depths = np.empty(hits.shape, np.float64)
    count = np.zeros(len(rays), np.int64)
    for sphere in range(len(centres)):
        x, y, z = centres[sphere]
        square = radii[sphere] ** 2
        u0, v0, u1, v1 = boxes[sphere]
        for v in range(v0, v1):
            for pixel in range(v * width + u0, v * width + u1):
                rx, ry, rz = rays[pixel]
                along = x * rx + y * ry + z * rz
                inside = square - (
                    (x - along * rx) ** 2 + (y - along * ry) ** 2 + (z - along * rz) ** 2
                )
                if inside <= 0.0:
                    continue
                depth = along - np.sqrt(inside)
                if depth < min_depth or depth > max_depth:
                    continue
                n = count[pixel]
                if n == max_hits:
                    if depth >= depths[pixel, n - 1]:
                        continue
                    n -= 1
                else:
                    count[pixel] = n + 1
                while n > 0 and depths[pixel, n - 1] > depth:
                    depths[pixel, n] = depths[pixel, n - 1]
                    hits[pixel, n] = hits[pixel, n - 1]
                    n -= 1
                depths[pixel, n] = depth
                hits[pixel, n] = sphere


def _find_torch(
    centres: Tensor,
    radii: Tensor,
    rays: Tensor,
    boxes: Tensor,
    width: int,
    depth_range: tuple[float, float],
    max_hits: int,
) -> Tensor:
    """Intersect every sphere with the rays of its box, and keep the first of every pixel."""
    (views, pixels, _), spheres = rays.shape, centres.shape[1]
    centres, radii, rays, boxes = (x.flatten(0, 1) for x in (centres, radii, rays, boxes))

    def intersect(sphere: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        centre, ray = centres[sphere], rays[pixel]
        along = (centre * ray).sum(1, keepdim=True)
        inside = radii[sphere].square() - (centre - along * ray).square().sum(1)
        depth = along[:, 0] - inside.clamp_min(0).sqrt()
        return (inside > 0) & (depth >= depth_range[0]) & (depth <= depth_range[1]), depth

    pixel, sphere = nearest_in_boxes(boxes, spheres, pixels, width, max_hits, intersect)
    hits = torch.full((views * pixels, max_hits), -1, dtype=torch.long, device=rays.device)
    hits[pixel, ranks(pixel)] = sphere % max(1, spheres)
    return hits.view(views, pixels, max_hits)


def nearest_in_boxes(
    boxes: Tensor,
    things: int,
    pixels: int,
    width: int,
    max_hits: int,
    intersect: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """The nearest things along the ray of every pixel, of those whose box holds the pixel.

    Args:
        boxes: (N * things, 4) int64 pixels ``u0, v0, u1, v1`` of each thing in each view.
        things: how many a view has.
        pixels: how many a view has.
        width: of a view, in pixels.
        max_hits: how many to keep of a pixel.
        intersect: of rows of ``boxes`` and pixels of all views, both (M,), whether the ray meets
            the thing, and the depth by which it is sorted.

    Returns:
        Pixels, ascending, and rows of ``boxes``, each (H,); a pixel's are ordered by depth, then
        by row.
    """
    spans = boxes[:, 2:] - boxes[:, :2]
    areas = torch.where((spans > 0).all(1), spans.prod(1), 0)
    none = torch.zeros(0, dtype=torch.long, device=boxes.device)
    kept = none, none, none.double()
    for chunk, total in _chunks(areas):
        area = areas[chunk]
        row = chunk.repeat_interleave(area, output_size=total)
        first = (area.cumsum(0) - area).repeat_interleave(area, output_size=total)
        cell = torch.arange(total, device=row.device) - first
        u = boxes[row, 0] + cell % spans[row, 0]
        v = boxes[row, 1] + cell // spans[row, 0]
        pixel = row // things * pixels + v * width + u
        hit, depth = intersect(row, pixel)
        rows = hit.nonzero().squeeze(1)
        # Kept hits come first and are of smaller rows, so stable sorts order ties by row.
        pixel, row, depth = (
            torch.cat([old, new[rows]]) for old, new in zip(kept, (pixel, row, depth))
        )
        order = depth.sort(stable=True).indices
        order = order[pixel[order].sort(stable=True).indices]
        nearest = order[(ranks(pixel[order]) < max_hits).nonzero().squeeze(1)]
        kept = pixel[nearest], row[nearest], depth[nearest]
    return kept[0], kept[1]


def ranks(pixel: Tensor) -> Tensor:
    """The place of each entry among those of its pixel; (M,) ascending."""
    return torch.arange(len(pixel), device=pixel.device) - torch.searchsorted(pixel, pixel)


def _chunks(areas: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Indices of the spheres with a box, in runs of bounded total area (but one at least)."""
    used = areas.nonzero().squeeze(1)
    if not len(used):
        return
    ends = areas[used].cumsum(0)
    total = int(ends[-1])
    if total <= _MAX_CANDIDATES:
        yield used, total
        return
    run = (ends - 1) // _MAX_CANDIDATES
    sizes = torch.unique_consecutive(run, return_counts=True)[1].tolist()
    for chunk in used.split(sizes):
        yield chunk, int(areas[chunk].sum())
