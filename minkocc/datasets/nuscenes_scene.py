"""A scene of a nuScenes root as ``minkocc.occupancy_labels`` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from minkocc.datasets.frame_scene import frame_keyframe, own_sweep
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
from minkocc.occupancy_labels.scene import Box, Keyframe, Sweep
from minkocc.structures.errors import short
from minkocc.structures.taxonomy import CATEGORY_TO_ID


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
        boxes = [_box(nusc, token) for token in sample["anns"]]
        keyframes.append(frame_keyframe(frame, root, own, boxes, since))
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
    return own_sweep(frame, points, classes)


def _box(nusc: NuScenes, token: str) -> Box:
    record = nusc.get("sample_annotation", token)
    return annotation_box(record, record["category_name"])


def annotation_box(record: Mapping[str, Any], name: str) -> Box:
    """The box of an annotation's record and the name of its category, world frame.

    Raises:
        InfoError: nuScenes has no such category.
        SceneError: the box makes no sense.
    """
    if name not in CATEGORY_TO_ID:
        raise InfoError(
            f"annotation {short(record['token'])} is of category {short(name)}, which nuScenes "
            f"has not: {MEND}"
        )
    pose: NDArray[np.float64] = Quaternion(record["rotation"]).transformation_matrix
    pose[:3, 3] = record["translation"]
    width, length, height = record["size"]
    return Box(record["instance_token"], CATEGORY_TO_ID[name], pose, (length, width, height))
