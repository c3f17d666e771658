"""What a weak target knows of the depths of pixels, measured against dense labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minkocc.evaluation.voxel_iou import percent_of
from minkocc.ops.first_hit import first_voxels
from minkocc.structures.taxonomy import FREE, WEAK_FREE, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import OCC3D_GRID

DepthCounts = NDArray[np.int64]
"""Pixels: all, known, known to be the first voxel of the dense label, and known to be nearer than
it or where there is none, ``(4,)``."""


def count_depths(
    weak: NDArray[np.uint8],
    semantics: NDArray[np.uint8],
    eyes: Tensor,
    rays: Tensor,
    depth_range: tuple[float, float],
) -> DepthCounts:
    """Count the pixels whose depth a weak target knows, as ``depth_weight`` teaches it.

    Args:
        weak: ``(200, 200, 16)`` 0 free, 1 occupied, 255 unknown.
        semantics: ``(200, 200, 16)`` Occ3D ids.
        eyes: ``(N, 3)`` float64 metres, ego frame.
        rays: ``(N, P, 3)`` float64 unit vectors of the pixels.
        depth_range: metres along the ray.
    """
    solid = (torch.from_numpy(weak != WEAK_FREE), torch.from_numpy(semantics < FREE))
    met, true = (first_voxels(each, OCC3D_GRID, eyes, rays, depth_range) for each in solid)
    known = (met >= 0) & (torch.from_numpy(weak).reshape(-1)[met] == WEAK_OCCUPIED)
    same = known & (met == true)
    nearer = known & ~same & ((true < 0) | (_depth(met, eyes, rays) < _depth(true, eyes, rays)))
    return np.array([known.numel(), *(int(each.sum()) for each in (known, same, nearer))])


def depth_figures(counts: DepthCounts) -> dict[str, float | None]:
    """Percent of the pixels whose depth is known, and of those which of them are right."""
    pixels, known, same, nearer = map(int, counts)
    return {
        "depth_known": percent_of(known, pixels),
        "depth_right": percent_of(same, known),
        "depth_too_near": percent_of(nearer, known),
    }


def _depth(voxels: Tensor, eyes: Tensor, rays: Tensor) -> Tensor:
    """How far along its ray each voxel's centre lies, metres."""
    place = torch.stack(torch.unravel_index(voxels.clamp_min(0), OCC3D_GRID.shape), -1)
    return ((OCC3D_GRID.to_centre(place) - eyes[:, None]) * rays).sum(-1)
