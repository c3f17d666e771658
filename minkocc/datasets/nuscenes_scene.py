"""A scene of a nuScenes root as ``minkocc.occupancy_labels`` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from minkocc.datasets.infos import sample_frame
from minkocc.datasets.lidarseg import (
    Categories,
    classes_of,
    lidarseg_files,
    on_a_surface,
    read_categories,
)
from minkocc.datasets.nuscenes_tables import MEND, scene_samples
from minkocc.datasets.transforms.loading import read_lidar
from minkocc.files.infos import InfoError
from minkocc.occupancy_labels.scene import Box, Camera, Keyframe, Sweep
from minkocc.structures.errors import short
from minkocc.structures.taxonomy import CAMERAS, CATEGORY_TO_ID


def read_scene(
    nusc: NuScenes, scene: dict[str, Any], root: Path, use_lidarseg: bool = True
) -> list[Keyframe]:
    """The keyframes of a scene with all sweeps, boxes and cameras.

    Args:
        nusc: the tables of ``root``.
        scene: the scene's record.
        root: the nuScenes root. Sweeps that it does not hold are left out.
        use_lidarseg: read the classes of the keyframes' returns where the root holds them.

    Raises:
        InfoError: the tables are broken, or name a category that nuScenes has not.
        InputError: a file is missing, truncated or not finite.
    """
    files = lidarseg_files(nusc, root) if use_lidarseg else {}
    categories: Categories = dict(getattr(nusc, "lidarseg_idx2name_mapping", {}))
    keyframes: list[Keyframe] = []
    for sample in scene_samples(nusc, scene):
        frame = sample_frame(nusc, sample, scene["name"], root)
        since = keyframes[-1].time if keyframes else -np.inf
        own = _own_sweep(frame, root, files.get(sample["data"]["LIDAR_TOP"]), categories)
        keyframes.append(
            Keyframe(
                sample["token"],
                own.time,
                frame["ego2global"],
                [own, *_earlier_sweeps(frame, root, since)],
                [_box(nusc, token) for token in sample["anns"]],
                [_camera(frame, name) for name in CAMERAS],
            )
        )
    return keyframes


def _own_sweep(
    frame: dict[str, Any], root: Path, lidarseg: Path | None, categories: Categories
) -> Sweep:
    lidar = frame["lidar_points"]
    points = read_lidar(root / lidar["lidar_path"])[:, :3]
    classes = None
    if lidarseg is not None:
        number = read_categories(lidarseg, categories, len(points))
        real = on_a_surface(number, categories)
        points, classes = points[real], classes_of(number[real], categories)
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


def _box(nusc: NuScenes, token: str) -> Box:
    record = nusc.get("sample_annotation", token)
    name = record["category_name"]
    if name not in CATEGORY_TO_ID:
        raise InfoError(
            f"annotation {short(token)} is of category {short(name)}, which nuScenes has not: "
            f"{MEND}"
        )
    pose: NDArray[np.float64] = Quaternion(record["rotation"]).transformation_matrix
    pose[:3, 3] = record["translation"]
    width, length, height = record["size"]
    return Box(record["instance_token"], CATEGORY_TO_ID[name], pose, (length, width, height))


def _camera(frame: dict[str, Any], name: str) -> Camera:
    view = frame["images"][name]
    cam2world = frame["ego2global"] @ np.linalg.inv(view["ego2cam"])
    return Camera(view["cam2img"][:3, :3], cam2world, (view["width"], view["height"]))
