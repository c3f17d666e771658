"""What a frame of an info file says of the vehicle that recorded it: cameras, LiDAR, own box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NUSCENES_BOX = np.array([[-1.2, -1.1, -0.2], [3.7, 1.1, 2.1]])
"""Corners of nuScenes' vehicle in its ego frame, metres (the rear axle is the origin): that of
frames which say nothing else."""


class Mount(NamedTuple):
    """Where a LiDAR stands on its vehicle."""

    lidar2ego: NDArray[np.float64]
    """(4, 4)."""
    ego_box: NDArray[np.float64]
    """(2, 3), corners of the vehicle in its ego frame, metres: what returns lie on it."""

    def identity(self) -> bytes:
        """What a target that is kept depends on; nuScenes' box is no part of it."""
        same = np.array_equal(self.ego_box, NUSCENES_BOX)
        box = b"" if same else np.round(self.ego_box, 6).tobytes()
        return np.round(self.lidar2ego, 6).tobytes() + box


def mount_of(frame: Mapping[str, Any]) -> Mount:
    """That of a frame's own LiDAR."""
    return Mount(frame["lidar_points"]["lidar2ego"], frame.get("ego_box", NUSCENES_BOX))


def on_vehicle(points: NDArray[Any], ego_box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie on the recording vehicle, ``(P,)``.

    Args:
        points: ``(P, 3)`` metres, in ego at their own time.
        ego_box: ``(2, 3)`` corners of it.
    """
    inside: NDArray[np.bool_] = ((points > ego_box[0]) & (points < ego_box[1])).all(1)
    return inside


def cameras_of(frame: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a frame's cameras, in the order of every stacked array of its views."""
    return tuple(frame["images"])


def image_size(frame: Mapping[str, Any]) -> tuple[int, int]:
    """``(height, width)`` that all of a frame's images are brought to: those of the largest."""
    views = frame["images"].values()
    return max(view["height"] for view in views), max(view["width"] for view in views)


def camera_matrices(frame: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``cam2img``, for ``image_size``, and ``ego2cam`` of a frame's views, ``(N, 4, 4)`` each."""
    height, width = image_size(frame)
    views = frame["images"].values()
    cam2img = np.tile(np.eye(4), (len(views), 1, 1))
    for matrix, view in zip(cam2img, views):
        stretch = np.diag([width / view["width"], height / view["height"], 1.0])
        matrix[:3, :3] = stretch @ view["cam2img"]
    return cam2img, np.stack([view["ego2cam"] for view in views])
