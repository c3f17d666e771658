"""What a frame of an info file says, as ``minkocc.occupancy_labels`` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.transforms.loading import read_lidar
from minkocc.occupancy_labels.scene import Box, Camera, Keyframe, Sweep


def frame_keyframe(
    frame: dict[str, Any], root: Path, own: Sweep, boxes: Sequence[Box], since: float
) -> Keyframe:
    """A frame with all sweeps, boxes and cameras.

    Args:
        frame: what an info file says of it.
        root: that its paths are relative to.
        own: its own sweep, with what is known of its returns.
        boxes: what is annotated at this moment.
        since: time of the keyframe before it: sweeps are taken from then on.

    Raises:
        InputError: a sweep is missing, truncated or not finite.
    """
    sweeps = [own, *_earlier_sweeps(frame, root, since)]
    cameras = [_camera(frame, view) for view in frame["images"].values()]
    return Keyframe(frame["token"], own.time, frame["ego2global"], sweeps, boxes, cameras)


def own_sweep(
    frame: dict[str, Any], points: NDArray[np.floating[Any]], classes: NDArray[np.uint8] | None
) -> Sweep:
    """The sweep of a frame's own LiDAR.

    Args:
        frame: what an info file says of it.
        points: ``(N, 3)``, in the sensor's frame.
        classes: ``(N,)`` as of ``Sweep``.
    """
    lidar = frame["lidar_points"]
    return Sweep(points, lidar["lidar2ego"], frame["ego2global"], lidar["timestamp"], classes)


def _earlier_sweeps(frame: dict[str, Any], root: Path, since: float) -> list[Sweep]:
    """The sweeps between the keyframe before and this one, which have no classes."""
    lidar2ego = frame["lidar_points"]["lidar2ego"]
    out = []
    for sweep in frame["lidar_sweeps"]:
        if sweep["timestamp"] <= since:
            break
        points = read_lidar(root / sweep["lidar_path"])[:, :3]
        # The mount is the same for the whole of a scene.
        own2global = frame["ego2global"] @ sweep["sweep2ego"] @ np.linalg.inv(lidar2ego)
        out.append(Sweep(points, lidar2ego, own2global, sweep["timestamp"]))
    return out


def _camera(frame: dict[str, Any], view: dict[str, Any]) -> Camera:
    cam2world = frame["ego2global"] @ np.linalg.inv(view["ego2cam"])
    return Camera(view["cam2img"][:3, :3], cam2world, (view["width"], view["height"]))
