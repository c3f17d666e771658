"""Differentiable rendering of voxels into cameras, along exact rays: nothing stands for a voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from minkocc.ops.exact_products import exact_products
from minkocc.ops.render_arguments import check_depths, check_finder, check_shapes
from minkocc.ops.row_sums import gather_rows, weighted_gather
from minkocc.ops.voxel_hits import find_voxel_hits

_LEAST_COVERAGE = 1e-12
"""Of less, depth and its gradient are no numbers in single precision."""


class VoxelRenderOutput(NamedTuple):
    """What the cameras see."""

    features: Tensor
    """(N, C, h, w), weighted sums over the voxels; the background is 0."""
    coverage: Tensor
    """(N, h, w), the voxels' share of the weight, in [0, 1]."""
    depth: Tensor
    """(N, h, w), metres along the ray: the mean of the middles of what it passes, by weight; 0
    where it passes nothing."""


@dataclass(frozen=True)
class VoxelRenderSettings:
    """Which part of a ray counts, and of how many voxels.

    Args:
        min_depth: what is nearer is not seen, metres along the ray.
        max_depth: what is further is not seen.
        max_hits: how many voxels count per pixel, nearest first.
        finder: ``"numba"`` (CPU only), ``"torch"``, or ``"auto"``.

    Raises:
        ValueError: a value makes no sense.
    """

    min_depth: float = 1.0
    max_depth: float = 60.0
    max_hits: int = 8
    finder: str = "auto"

    def __post_init__(self) -> None:
        check_depths(self.min_depth, self.max_depth)
        if self.max_hits < 1:
            raise ValueError(f"max_hits {self.max_hits}: expected at least 1")
        check_finder(self.finder)


DEFAULT_VOXEL_SETTINGS = VoxelRenderSettings()


def render_voxels(
    centres: Tensor,
    voxel_size: float,
    densities: Tensor,
    features: Tensor,
    ego2cam: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    settings: VoxelRenderSettings = DEFAULT_VOXEL_SETTINGS,
) -> VoxelRenderOutput:
    """Composite the voxels along the ray of every pixel from front to back.

    A voxel of density s absorbs ``a = 1 - exp(-s l / voxel_size)`` of what reaches it, l being the
    length of the ray in it; its weight is ``a`` times the product of ``1 - a`` of those before it.
    Gradients are those of this formula for densities and features.

    Args:
        centres: (V, 3) of voxels on a lattice, each once; metres, ego frame.
        voxel_size: metres.
        densities: (V,) of 0 or more; ``-log(1 - o)`` is opaque by o along an edge.
        features: (V, C).
        ego2cam: (N, 4, 4); its rotation may contain a reflection.
        cam2img: (N, 3, 3) intrinsics for ``image_size``; (0, 0) is the corner of the image.
        image_size: (h, w) to render.
        settings: constants.

    Returns:
        All in float64 if ``features`` are and else in float32. Exempt from autocast.

    Raises:
        ValueError: shapes do not match, or the centres lie on no lattice.
    """
    v, n = len(centres), len(ego2cam)
    check_shapes(
        {
            "centres": (centres, (v, 3)),
            "densities": (densities, (v,)),
            "features": (features, (v, features.shape[-1])),
            "ego2cam": (ego2cam, (n, 4, 4)),
            "cam2img": (cam2img, (n, 3, 3)),
        }
    )
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    hits = find_voxel_hits(
        centres,
        voxel_size,
        ego2cam,
        cam2img,
        image_size,
        (settings.min_depth, settings.max_depth),
        settings.max_hits,
        settings.finder,
    )
    voxel, near, far = (each.flatten(0, 1) for each in hits)
    rows = (voxel[:, 0] >= 0).nonzero().squeeze(1)  # the sky costs nothing
    voxel, near, far = (each.index_select(0, rows) for each in (voxel, near, far))
    place = torch.where(voxel >= 0, voxel, len(centres))  # one more row stands for "no voxel"
    with exact_products(features.device.type):
        weights = absorbed(densities.to(dtype), place, ((far - near) / voxel_size).to(dtype))
        padded = torch.cat([features.to(dtype), features.new_zeros(1, features.shape[1]).to(dtype)])
        blended = weighted_gather(padded, place, weights)
    coverage = weights.sum(1)
    middle = (weights * ((near + far) / 2).to(dtype)).sum(1)
    depth = middle / coverage.clamp_min(_LEAST_COVERAGE)
    size = (len(ego2cam), *image_size)
    flat = size[0] * size[1] * size[2]
    image = blended.new_zeros(flat, blended.shape[1]).index_copy(0, rows, blended)
    maps = [blended.new_zeros(flat).index_copy(0, rows, each) for each in (coverage, depth)]
    image = image.view(*size, blended.shape[1]).permute(0, 3, 1, 2)  # channels last
    return VoxelRenderOutput(image, *(each.view(size) for each in maps))


def absorbed(densities: Tensor, place: Tensor, length: Tensor) -> Tensor:
    """The share of its ray that every voxel absorbs.

    Args:
        densities: (V,).
        place: (P, K) rows of the voxels from near to far, V where there is none.
        length: (P, K) of the ray in each, in voxels; 0 where there is none.

    Returns:
        (P, K) weights of a sum of at most 1.
    """
    padded = torch.cat([densities, densities.new_zeros(1)])[:, None]
    thickness = gather_rows(padded, place.view(-1)).view_as(place) * length
    before = thickness.cumsum(1) - thickness
    return -torch.expm1(-thickness) * torch.exp(-before)
