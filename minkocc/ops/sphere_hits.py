"""Which spheres each pixel's ray meets first: the part of sphere rendering without a gradient."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

FINDERS = ("auto", "numba", "torch")
"""``numba`` needs CPU tensors and is the default there; ``torch`` runs anywhere."""

_MAX_CANDIDATES = 1 << 21  # (sphere, pixel) pairs that the torch finder examines at once


def pixel_rays(cam2img: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Unit viewing directions ``K^-1 [u + .5, v + .5, 1]`` of integer pixels (u, v).

    Args:
        cam2img: (3, 3) intrinsics ``K``, of any principal point, aspect and skew.
        image_size: (h, w).

    Returns:
        (h * w, 3) float64, camera frame, row by row.
    """
    h, w = image_size
    device = cam2img.device
    u = torch.arange(w, dtype=torch.float64, device=device) + 0.5
    v = torch.arange(h, dtype=torch.float64, device=device) + 0.5
    grid_v, grid_u = torch.meshgrid(v, u, indexing="ij")
    pixels = torch.stack([grid_u, grid_v, torch.ones_like(grid_u)], -1).view(-1, 3)
    rays = pixels @ torch.linalg.inv(cam2img.double()).t()
    return rays / rays.norm(dim=1, keepdim=True)


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
        centres: (V, 3) metres, camera frame.
        radii: (V,) metres.
        rays: (h * w, 3) from ``pixel_rays``.
        cam2img: (3, 3) intrinsics.
        image_size: (h, w).
        depth_range: nearest and furthest entry, metres along the ray.
        max_hits: how many to keep per pixel.
        finder: one of ``FINDERS``.

    Returns:
        (h * w, max_hits) int64 indices of spheres, padded with -1.

    Raises:
        ValueError: the finder is unknown, or ``numba`` is asked for on another device.
    """
    if finder not in FINDERS:
        raise ValueError(f"unknown finder {finder!r}: expected one of {', '.join(FINDERS)}")
    on_cpu = centres.device.type == "cpu"
    if finder == "numba" and not on_cpu:
        raise ValueError(f"the numba finder got tensors on {centres.device}: use finder='torch'")
    centres, radii, rays, cam2img = (
        x.detach().double().contiguous() for x in (centres, radii, rays, cam2img)
    )
    boxes = _pixel_boxes(centres, radii, rays, cam2img, image_size, depth_range)
    if finder == "torch" or not on_cpu:
        return _find_torch(centres, radii, rays, boxes, image_size[1], depth_range, max_hits)
    hits = np.full((len(rays), max_hits), -1, np.int64)
    _find_numba(
        centres.numpy(),
        radii.numpy(),
        rays.numpy(),
        boxes.numpy(),
        image_size[1],
        depth_range[0],
        depth_range[1],
        hits,
        np.empty(hits.shape, np.float64),
    )
    return torch.from_numpy(hits)


def _pixel_boxes(
    centres: Tensor,
    radii: Tensor,
    rays: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    depth_range: tuple[float, float],
) -> Tensor:
    """Pixels whose rays may hit each sphere: (V, 4) int64 ``u0, v0, u1, v1``, ends excluded.

    The silhouette of a sphere in front of the camera plane is an ellipse. Its extreme columns u
    belong to the planes through the camera, (k1 - u k3) . p = 0 with k the rows of K, that touch
    the sphere: ((k1 - u k3) . c)^2 = R^2 |k1 - u k3|^2, a quadratic in u. A sphere that reaches
    behind the camera plane gets the whole image.
    """
    h, w = image_size
    z, distance = centres[:, 2], centres.norm(dim=1)
    # The entry point p of a hit has p_z >= min_depth * (smallest r_z) and p_z <= z + R.
    reachable = (z + radii > depth_range[0] * rays[:, 2].min()) & (z + radii > 0)
    reachable &= (distance > radii) & (distance - radii <= depth_range[1]) & (radii > 0)
    in_front = z > radii * (1 + 1e-9)
    lows, highs = [], []
    for axis, size in ((0, w), (1, h)):
        k, k3 = cam2img[axis], cam2img[2]
        along, square = centres @ k, radii.square()
        a = z.square() - square * k3.dot(k3)
        b = along * z - square * k.dot(k3)
        c = along.square() - square * k.dot(k)
        root = (b.square() - a * c).clamp_min(0).sqrt()
        low = torch.where(in_front, (b - root) / a, -torch.inf)
        high = torch.where(in_front, (b + root) / a, torch.inf)
        # Pixel i is inside if its centre i + 0.5 is; 1e-6 of a pixel absorbs the rounding.
        lows.append(torch.ceil(low - 0.5 - 1e-6).nan_to_num(0, size, 0).clamp(0, size))
        highs.append(torch.floor(high + 0.5 + 1e-6).nan_to_num(0, size, 0).clamp(0, size))
    boxes = torch.stack(lows + highs, 1).long()
    return torch.where(reachable[:, None], boxes, 0)


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
    depths: Any,
) -> None:
    """Insert every sphere into the sorted lists ``hits`` and ``depths`` of its pixels."""
    max_hits = hits.shape[1]
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
    """Expand the boxes into candidates, intersect, sort, and keep the first of every pixel."""
    spans = boxes[:, 2:] - boxes[:, :2]
    areas = torch.where((spans > 0).all(1), spans.prod(1), 0)
    kept = _no_hits(centres)
    for chunk in _chunks(areas):
        sphere = torch.repeat_interleave(chunk, areas[chunk])
        first = (areas[chunk].cumsum(0) - areas[chunk]).repeat_interleave(areas[chunk])
        cell = torch.arange(len(sphere), device=sphere.device) - first
        u = boxes[sphere, 0] + cell % spans[sphere, 0]
        v = boxes[sphere, 1] + cell // spans[sphere, 0]
        pixel = v * width + u
        centre, ray = centres[sphere], rays[pixel]
        along = (centre * ray).sum(1, keepdim=True)
        inside = radii[sphere].square() - (centre - along * ray).square().sum(1)
        depth = along[:, 0] - inside.clamp_min(0).sqrt()
        hit = (inside > 0) & (depth >= depth_range[0]) & (depth <= depth_range[1])
        # Kept hits come first and are of smaller index, so stable sorts order ties by index.
        pixel, sphere, depth = (
            torch.cat([old, new[hit]]) for old, new in zip(kept, (pixel, sphere, depth))
        )
        order = depth.sort(stable=True).indices
        order = order[pixel[order].sort(stable=True).indices]
        pixel = pixel[order]
        rank = torch.arange(len(pixel), device=pixel.device) - torch.searchsorted(pixel, pixel)
        nearest = rank < max_hits
        kept = pixel[nearest], sphere[order][nearest], depth[order][nearest]
    pixel, sphere, _ = kept
    hits = torch.full((len(rays), max_hits), -1, dtype=torch.long, device=rays.device)
    rank = torch.arange(len(pixel), device=pixel.device) - torch.searchsorted(pixel, pixel)
    hits[pixel, rank] = sphere
    return hits


def _no_hits(centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Empty pixel, sphere and depth lists."""
    none = torch.zeros(0, dtype=torch.long, device=centres.device)
    return none, none, centres.new_zeros(0)


def _chunks(areas: Tensor) -> list[Tensor]:
    """Indices of the spheres with a box, in runs of bounded total area (but one at least)."""
    used = areas.nonzero()[:, 0]
    if len(used) == 0:
        return []
    run = (areas[used].cumsum(0) - 1) // _MAX_CANDIDATES
    return list(used.split(torch.unique_consecutive(run, return_counts=True)[1].tolist()))
