"""Classes of single LiDAR returns, where a root holds nuScenes-lidarseg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nuscenes.nuscenes import NuScenes

from minkocc.datasets.transforms.loading import InputError
from minkocc.structures.taxonomy import CATEGORY_TO_ID


def point_classes(
    nusc: NuScenes, sample: dict[str, Any], root: Path, num_points: int
) -> NDArray[np.uint8] | None:
    """The class of each return of a keyframe, ``(P,)`` 3D ids; None without lidarseg.

    Args:
        nusc: the tables of ``root``.
        sample: the keyframe's record.
        root: the nuScenes root.
        num_points: how many returns the keyframe's sweep has.

    Raises:
        InputError: the file is missing, does not fit the sweep, or names an unknown category.
    """
    if not getattr(nusc, "lidarseg", None):
        return None
    path = root / nusc.get("lidarseg", sample["data"]["LIDAR_TOP"])["filename"]
    try:
        index = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"lidarseg {path} cannot be read: {error.strerror or error}") from error
    if len(index) != num_points:
        raise InputError(
            f"lidarseg {path} has {len(index)} classes, its sweep {num_points} points: "
            "fetch both again"
        )
    names = nusc.lidarseg_idx2name_mapping
    unknown = sorted({int(i) for i in np.unique(index) if names.get(i) not in CATEGORY_TO_ID})
    if unknown:
        raise InputError(
            f"lidarseg {path} holds category {unknown[0]}, which is none of nuScenes': fetch it "
            "and category.json again"
        )
    to_id = np.zeros(256, np.uint8)
    for i in np.unique(index):
        to_id[i] = CATEGORY_TO_ID[names[i]]
    return to_id[index]
