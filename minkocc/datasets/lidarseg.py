"""Classes of single LiDAR returns, where a root holds nuScenes-lidarseg."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nuscenes.nuscenes import NuScenes

from minkocc.datasets.transforms.loading import InputError
from minkocc.files.reading import require_regular
from minkocc.structures.taxonomy import CATEGORY_TO_ID

NO_SURFACE = ("noise", "vehicle.ego")
"""Categories of returns that are on nothing in the scene; their 3D id is that of ``others``."""

Categories = Mapping[int, str]
"""Category names by the number that lidarseg files hold."""


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
    categories = nusc.lidarseg_idx2name_mapping
    return classes_of(read_categories(path, categories, num_points), categories)


def lidarseg_files(nusc: NuScenes, root: Path) -> dict[str, Path]:
    """The lidarseg files that are there, by the token of their sweep's ``sample_data``."""
    records = getattr(nusc, "lidarseg", None) or []
    files = {record["sample_data_token"]: root / record["filename"] for record in records}
    return {token: path for token, path in files.items() if path.is_file()}


def read_categories(path: Path, categories: Categories, num_points: int) -> NDArray[np.uint8]:
    """The category number of each return, ``(P,)``.

    Args:
        path: the lidarseg file.
        categories: of the root that holds it.
        num_points: how many returns the keyframe's sweep has.

    Raises:
        InputError: the file is missing, does not fit the sweep, or names an unknown category.
    """
    try:
        require_regular(path)
        number = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"lidarseg {path} cannot be read: {error.strerror or error}") from error
    if len(number) != num_points:
        raise InputError(
            f"lidarseg {path} has {len(number)} classes, its sweep {num_points} points: "
            "fetch both again"
        )
    unknown = [int(i) for i in np.unique(number) if categories.get(i) not in CATEGORY_TO_ID]
    if unknown:
        raise InputError(
            f"lidarseg {path} holds category {unknown[0]}, which is none of nuScenes': fetch it "
            "and category.json again"
        )
    return number


def classes_of(number: NDArray[np.uint8], categories: Categories) -> NDArray[np.uint8]:
    """The 3D ids of category numbers that were checked, shape kept."""
    to_id = np.zeros(256, np.uint8)
    for i in np.unique(number):
        to_id[i] = CATEGORY_TO_ID[categories[i]]
    return to_id[number]


def on_a_surface(number: NDArray[np.uint8], categories: Categories) -> NDArray[np.bool_]:
    """Which returns are on something in the scene: neither noise nor the recording vehicle."""
    others = [i for i, name in categories.items() if name in NO_SURFACE]
    return ~np.isin(number, others)
