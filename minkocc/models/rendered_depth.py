"""Rendered depth, and what an occupancy target knows of it: a term beside the paper's."""

from __future__ import annotations

import torch
from torch import Tensor

from minkocc.models.render_cameras import RenderCameras
from minkocc.ops.first_hit import along_rays, first_known, voxel_depths
from minkocc.structures.voxel_grid import VoxelGrid


def known_depths(
    target: Tensor, grid: VoxelGrid, cameras: RenderCameras, depth_range: tuple[float, float]
) -> Tensor:
    """How far away an occupancy target knows the first voxel of each pixel to be.

    It is known where the first voxel that is not known to be free is occupied: behind an unknown
    one nothing is. Both sides are voxels, so that a ray that grazes the road is not said to end
    metres behind the first voxel of road, as the depth of a LiDAR return would.

    Args:
        target: uint8 ``(X, Y, Z)``: accumulated LiDAR in the weak phase.
        grid: of ``target``.
        cameras: of the pixels.
        depth_range: metres along the ray that are rendered.

    Returns:
        ``(N, h * w)`` float64 metres along the ray, to where it is nearest to the voxel's centre;
        0 where nothing is known.
    """
    eyes, rays = cameras.rays()
    first, known = first_known(target, grid, eyes, rays, depth_range)
    return torch.where(known, voxel_depths(first, grid, eyes, rays), 0.0)


def depth_loss(places: Tensor, covered: Tensor, known: Tensor, cameras: RenderCameras) -> Tensor:
    """The mean of ``|log d - log d'|`` over the pixels whose depth ``d'`` is known.

    Args:
        places: ``(N, 3, h, w)``, rendered centres of the voxels as means of what covers a pixel:
            ``d`` is how far along its ray that lies, whatever renders.
        covered: bool ``(N, h, w)``, the pixels that count.
        known: ``(N, h * w)`` from ``known_depths``.
        cameras: of the pixels.

    Returns:
        Scalar; 0 with a gradient path where no pixel counts.
    """
    rendered = along_rays(places.flatten(2).transpose(1, 2), *cameras.rays())
    used = covered.flatten(1) & (known > 0) & (rendered > 0)
    ratio = torch.where(used, rendered, 1.0) / torch.where(used, known, 1.0)
    return (ratio.log().abs().sum() / used.sum().clamp(min=1)).float()
