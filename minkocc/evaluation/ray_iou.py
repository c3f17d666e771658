"""RayIoU: what LiDAR-like rays hit first in prediction and label, and how far away.

After SparseOcc (Liu et al., "Fully Sparse 3D Occupancy Prediction", 2023).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray

from minkocc.evaluation.voxel_iou import ratio
from minkocc.ops.first_hit import VoxelRays, first_hits, first_hits_torch, voxel_rays
from minkocc.structures.taxonomy import FREE, NUM_CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID

THRESHOLDS = (1, 2, 4)
"""Depth differences in metres, each strict."""

MAX_ORIGINS = 8
ORIGIN_REACH = 39.0  # metres ahead and aside

_FAR = 1e6  # metres; no scene is that long, and float32 voxel units stay finite
_HIGHEST_PITCH = 0.21  # radians, the upper edge of nuScenes' LiDAR


@dataclass(frozen=True)
class RayHits:
    """What rays hit first."""

    classes: NDArray[np.uint8]
    """``(N,)`` Occ3D ids, 17 where a ray hits nothing."""
    depth: NDArray[np.float32]
    """``(N,)`` metres to where the ray leaves the voxel it hit, or the grid."""
    voxels: NDArray[np.int64]
    """``(N,)`` numbers of the voxels in the flat grid."""


@functools.cache
def ray_directions() -> NDArray[np.float32]:
    """The 14,040 directions of RayIoU, ``(14040, 3)`` unit vectors: 39 pitches x 360 azimuths.

    Ten pitches look at the ground 1 to 10 sensor heights away, then ever further up by the step of
    the last two.
    """
    pitch = [np.arctan(k) - np.pi / 2 for k in range(1, 11)]
    while pitch[-1] < _HIGHEST_PITCH:
        pitch.append(pitch[-1] + (pitch[-1] - pitch[-2]))
    up, around = np.meshgrid(pitch, np.deg2rad(np.arange(360.0)), indexing="ij")
    rays = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], -1)
    rays = rays.reshape(-1, 3).astype(np.float32)
    rays.flags.writeable = False  # one array serves every caller
    return rays


def select_origins(origins: npt.ArrayLike) -> NDArray[np.float64]:
    """The origins of a frame's rays: those near the vehicle, at most 8 spread over the scene.

    Args:
        origins: ``(T, 3)``: where the LiDAR was at all keyframes of the scene, in this frame's ego
            frame, in metres and in order of time.

    Raises:
        ValueError: not ``(T, 3)`` finite numbers, or none is near.
    """
    points = np.asarray(origins, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not (np.abs(points) < _FAR).all():
        raise ValueError(
            f"ray origins of shape {points.shape}: expected (T, 3) metres, finite and under "
            f"{_FAR:.0f} m"
        )
    near = points[(np.abs(points[:, :2]) < ORIGIN_REACH).all(1)]
    if not len(near):
        raise ValueError(
            f"none of {len(points)} ray origins lies within {ORIGIN_REACH} m ahead and aside: they "
            "belong in the ego frame of their own keyframe"
        )
    if len(near) > MAX_ORIGINS:
        near = near[np.linspace(0, len(near) - 1, MAX_ORIGINS).round().astype(np.int64)]
    return near


def cast_rays(
    semantics: NDArray[np.uint8], rays: VoxelRays, device: torch.device | None = None
) -> RayHits:
    """What rays hit first in a volume of the Occ3D grid.

    Args:
        semantics: ``(200, 200, 16)`` Occ3D ids; everything below 17 stops a ray, mask or not.
        rays: what ``voxel_rays`` gave.
        device: a CUDA device casts them there, with the same result.
    """
    if device is not None and device.type == "cuda":
        solid = torch.from_numpy(semantics).to(device) < FREE
        index, distance = (values.cpu().numpy() for values in first_hits_torch(rays, solid))
    else:
        index, distance = first_hits(rays, semantics < FREE)
    depth = distance * np.float32(OCC3D_GRID.voxel_size)
    return RayHits(semantics.reshape(-1)[index], depth, index)


def hits_of_frame(
    pred: NDArray[np.uint8],
    target: NDArray[np.uint8],
    origins: npt.ArrayLike,
    device: torch.device | None = None,
) -> tuple[RayHits, RayHits]:
    """What a frame's rays hit in prediction and label, without those that the label lets through.

    Args:
        pred: uint8 ``(200, 200, 16)`` Occ3D ids.
        target: the label, alike.
        origins: all of the scene's, see ``select_origins``.
        device: of ``cast_rays``.
    """
    for name, array in (("pred", pred), ("target", target)):
        if array.shape != OCC3D_GRID.shape or array.dtype != np.uint8 or array.max() > FREE:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape} with ids up to {array.max()}: expected "
                f"uint8 {OCC3D_GRID.shape} with ids 0..{FREE}"
            )
    rays = voxel_rays(OCC3D_GRID, select_origins(origins), ray_directions())
    truth = cast_rays(target, rays, device)
    used = truth.classes < FREE
    truth = RayHits(truth.classes[used], truth.depth[used], truth.voxels[used])
    return cast_rays(pred, rays.where(used), device), truth


def count_rays(pred: RayHits, target: RayHits) -> NDArray[np.int64]:
    """Rays by class, ``(5, 17)``: of the label, of the prediction, and right within 1, 2, 4 m."""
    error = np.abs(pred.depth - target.depth)
    same = pred.classes == target.classes
    right = [target.classes[same & (error < limit)] for limit in THRESHOLDS]
    return np.stack([_per_class(ids) for ids in (target.classes, pred.classes, *right)])


def ray_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU at each threshold, ``(3, 17)``; NaN for a class that no ray hits on either side."""
    truth, predicted, right = counts[0], counts[1], counts[2:]
    return ratio(right, truth + predicted - right)


def _per_class(ids: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(ids, minlength=FREE + 1)[:NUM_CLASSES].astype(np.int64)
