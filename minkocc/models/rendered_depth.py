"""Rendered depth, and what an occupancy target knows of it: a term beside the paper's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minkocc.ops.first_hit import first_voxels
from minkocc.ops.sphere_hits import ego_rays
from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import VoxelGrid


class RenderCameras(NamedTuple):
    """The cameras of one sample as they are rendered."""

    ego2cam: Tensor
    """(N, 4, 4) float64, from the augmented ego frame."""
    cam2img: Tensor
    """(N, 3, 3) intrinsics of the rendered images."""
    size: tuple[int, int]
    """(h, w) of them."""

    def rays(self) -> tuple[Tensor, Tensor]:
        """Centres (N, 3), metres, and the pixels' unit directions (N, h * w, 3), float64."""
        return ego_rays(self.ego2cam, self.cam2img, self.size)


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
    first = first_voxels(target != WEAK_FREE, grid, eyes, rays, depth_range)
    known = (first >= 0) & (target.reshape(-1)[first] == WEAK_OCCUPIED)
    place = torch.stack(torch.unravel_index(first.clamp_min(0), target.shape), -1)
    depth = _along(grid.to_centre(place), eyes, rays)
    return torch.where(known, depth, 0.0)


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
    rendered = _along(places.flatten(2).transpose(1, 2), *cameras.rays())
    used = covered.flatten(1) & (known > 0) & (rendered > 0)
    ratio = torch.where(used, rendered, 1.0) / torch.where(used, known, 1.0)
    return (ratio.log().abs().sum() / used.sum().clamp(min=1)).float()


def _along(points: Tensor, eyes: Tensor, rays: Tensor) -> Tensor:
    """How far along each ray points ``(N, P, 3)`` lie, metres."""
    return ((points.double() - eyes[:, None]) * rays).sum(-1)
