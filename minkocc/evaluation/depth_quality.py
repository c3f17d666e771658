"""What a weak target knows of the depths of pixels, measured against dense labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minkocc.evaluation.voxel_iou import percent_of
from minkocc.ops.first_hit import first_known, first_voxels, voxel_depths
from minkocc.structures.taxonomy import FREE
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
    seen = (OCC3D_GRID, eyes, rays)
    met, known = first_known(torch.from_numpy(weak), *seen, depth_range)
    true = first_voxels(torch.from_numpy(semantics < FREE), *seen, depth_range)
    same = known & (met == true)
    before = voxel_depths(met, *seen) < voxel_depths(true, *seen)
    nearer = known & ~same & ((true < 0) | before)
    return np.array([known.numel(), *(int(each.sum()) for each in (known, same, nearer))])


def depth_figures(counts: DepthCounts) -> dict[str, float | None]:
    """Percent of the pixels whose depth is known, and of those which of them are right."""
    pixels, known, same, nearer = map(int, counts)
    return {
        "depth_known": percent_of(known, pixels),
        "depth_right": percent_of(same, known),
        "depth_too_near": percent_of(nearer, known),
    }
