"""What is legal in a sensor log and hardly meant: units, axes and frames that were mixed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minkocc.datasets.transforms.loading import read_lidar
from minkocc.files.rig import camera_matrices, cameras_of, image_size
from minkocc.occupancy_labels.scene import moved
from minkocc.ops.point_sampling import project_points

_FAR_MOUNT = 10.0
"""Metres from the vehicle's origin to a sensor: longer than most vehicles."""
_FARTHEST, _NEAREST = 500.0, 1.0
"""Metres: no LiDAR sees farther, and the middle one of its returns is not as near."""
_AROUND, _OFF_ROAD, _FEW = 15.0, 0.5, 0.05
"""Within so many metres of a vehicle this share of the returns is the road's, give or take."""


def oddities(frame: Mapping[str, Any], root: Path) -> Iterator[str]:
    """What looks wrong in a frame of an info file, each in words with what to look at.

    Args:
        frame: with its sensors' mounts.
        root: that its paths are relative to.

    Raises:
        InputError: its LiDAR file cannot be read.
    """
    mounts = {"lidar": frame["lidar_points"]["lidar2ego"]}
    mounts |= {name: np.linalg.inv(view["ego2cam"]) for name, view in frame["images"].items()}
    for name, mount in mounts.items():
        away = float(np.linalg.norm(mount[:3, 3]))
        if away > _FAR_MOUNT:
            yield (f"{name} stands {away:.0f} m from the vehicle's origin: is its mount in metres?")
    points = read_lidar(root / frame["lidar_points"]["lidar_path"])[:, :3].astype(np.float64)
    distance = np.linalg.norm(points, axis=1)
    if distance.max() > _FARTHEST or np.median(distance) < _NEAREST:
        yield (
            f"its returns are {np.median(distance):.2g} m away, the farthest "
            f"{distance.max():.0f} m: are the LiDAR's units metres?"
        )
    ego = moved(points, mounts["lidar"])
    near = np.linalg.norm(ego[:, :2], axis=1) < _AROUND
    on_road = np.abs(ego[near, 2]) < _OFF_ROAD
    if near.any() and on_road.mean() < _FEW:
        yield (
            f"{on_road.mean():.0%} of the returns within {_AROUND:g} m lie on the road, less than "
            f"{_OFF_ROAD:g} m from z = 0: look at lidar2ego (rotation is w, x, y, z) and "
            "vehicle.ground_z"
        )
    cam2img, ego2cam = camera_matrices(frame)
    ego2img = torch.from_numpy(cam2img @ ego2cam)
    views = project_points(torch.from_numpy(ego), ego2img, image_size(frame)).valid
    for name, seen in zip(cameras_of(frame), views):
        if not seen.any():
            yield (
                f"no return falls into the image of {name}: look at cam2ego (rotation is w, x, y, "
                "z; the camera looks along its z) and cam2img"
            )
