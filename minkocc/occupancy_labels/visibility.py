"""What LiDAR and cameras could see of a labelled grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minkocc.occupancy_labels.accumulate import Rays
from minkocc.occupancy_labels.scene import Camera, Matrix, moved
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.ops.line_of_sight import Surfaces
from minkocc.ops.ray_cast import ray_hits_and_passes, visible_voxels
from minkocc.structures.voxel_grid import OCC3D_GRID

_IN_FRONT = 0.3
_SHARE, _NEAR = 0.05, 0.2
"""What lies so close behind what hides it still counts as in sight, a share of the distance and
metres: so far apart are neighbouring rows of pixels on a road far away, and so much do the points
of one surface scatter. The synthetic world's exact labels allow the same."""

_SIGHT = 60.0
"""Metres; beyond the grid's farthest corner from its middle."""


def observed_by_lidar(rays: Rays, scene2ego: Matrix, settings: LabelSettings) -> NDArray[np.bool_]:
    """Voxels that enough rays cross or end in, ``(200, 200, 16)``.

    Args:
        rays: of the scene.
        scene2ego: 4x4.
        settings: ``rays_per_crossing`` says what is enough.
    """
    origins, ends = (moved(part, scene2ego) for part in rays)
    hits, passes = ray_hits_and_passes(OCC3D_GRID, origins, ends)
    return hits + passes >= max(1, len(ends) // settings.rays_per_crossing)


def seen_by_cameras(
    occupied: NDArray[np.bool_],
    surfaces: Surfaces,
    cameras: Sequence[Camera],
    world2ego: Matrix,
    settings: LabelSettings,
) -> NDArray[np.bool_]:
    """Voxels that cameras see, ``(200, 200, 16)``.

    They are those that rays reach before or at the first occupied one, as in Occ3D, and those
    whose surface is in sight: rays through voxels end at the nearest bump of a road.

    Args:
        occupied: ``(200, 200, 16)``.
        surfaces: what occupies them.
        cameras: of the keyframe.
        world2ego: 4x4.
        settings: ``camera_stride`` says how dense the rays are.
    """
    seen = np.zeros_like(occupied)
    for camera in cameras:
        cam2ego = world2ego @ camera.cam2world
        rays = _directions(camera, settings.camera_stride) @ cam2ego[:3, :3].T
        seen |= visible_voxels(OCC3D_GRID, occupied, cam2ego[None, :3, 3], rays, _SIGHT)
        index = _in_image(surfaces.middles, camera, cam2ego)
        index = index[occupied.reshape(-1)[surfaces.voxels[index]]]
        index = index[surfaces.in_sight(cam2ego[:3, 3], index, _SHARE, _NEAR)]
        seen.reshape(-1)[surfaces.voxels[index]] = True
    return seen


def _in_image(points: NDArray[np.float64], camera: Camera, cam2ego: Matrix) -> NDArray[np.intp]:
    """Which of the ``(N, 3)`` ego-frame points a camera's image holds."""
    local = moved(points, np.linalg.inv(cam2ego))
    depth = np.maximum(local[:, 2], 1e-3)
    u, v, _ = (local @ camera.cam2img.T).T / depth
    width, height = camera.size
    inside = (local[:, 2] > _IN_FRONT) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return np.flatnonzero(inside)


def _directions(camera: Camera, stride: int) -> NDArray[np.float64]:
    """Rays through the middles of squares of pixels, camera frame, ``(N, 3)``."""
    width, height = camera.size
    u, v = np.meshgrid(np.arange(0, width, stride), np.arange(0, height, stride))
    middle = stride / 2
    pixels = np.stack([u + middle, v + middle, np.ones(u.shape)], -1).reshape(-1, 3)
    return np.asarray(pixels @ np.linalg.inv(camera.cam2img).T)
