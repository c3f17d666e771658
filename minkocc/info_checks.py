"""What every frame of an info file must be, and what its frames must be to each other.

Each check yields what is wrong in words; who calls says where and what helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from minkocc.structures.files import is_plain_name
from minkocc.structures.taxonomy import CAMERAS

# Each key of a frame with the shape of its matrix; None where the value is no matrix.
_FRAME = {
    **dict.fromkeys(
        "token prev next scene_name timestamp lidar_points lidar_sweeps images occ_path "
        "ray_origins".split()
    ),
    "ego2global": (4, 4),
}
_LIDAR = {"lidar_path": None, "timestamp": None, "lidar2ego": (4, 4)}
_SWEEP = {"lidar_path": None, "timestamp": None, "sweep2ego": (4, 4)}
_IMAGE = {
    "img_path": None,
    "height": None,
    "width": None,
    "timestamp": None,
    "cam2img": (3, 3),
    "ego2cam": (4, 4),
}


def frame_problems(frame: Any, paths_leave_root: bool = False) -> Iterator[str]:
    """What is wrong with a frame; later checks take for granted what earlier ones found right.

    Args:
        frame: one entry of ``data_list``.
        paths_leave_root: whether its files may lie outside the data root.
    """
    yield from _structure_problems(frame)
    yield from _name_problems(frame)
    if not paths_leave_root:
        yield from _path_problems(frame)


def _structure_problems(frame: Any) -> Iterator[str]:
    yield from _problems(frame, _FRAME, "")
    yield from _problems(frame["lidar_points"], _LIDAR, "lidar_points.")
    if not isinstance(frame["lidar_sweeps"], list):
        yield "lidar_sweeps is no list"
    for number, sweep in enumerate(frame["lidar_sweeps"]):
        yield from _problems(sweep, _SWEEP, f"lidar_sweeps.{number}.")
    yield from _problems(frame["images"], dict.fromkeys(CAMERAS), "images.")
    for camera in CAMERAS:
        yield from _problems(frame["images"][camera], _IMAGE, f"images.{camera}.")


def _problems(
    node: Any, expected: Mapping[str, tuple[int, int] | None], place: str
) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{place.rstrip('.') or 'it'} is a {type(node).__name__}, expected a dict"
        return
    missing = sorted(place + key for key in expected.keys() - node.keys())
    if missing:
        yield f"missing {', '.join(missing)}"
    for key, shape in expected.items():
        if shape is not None and key in node:
            yield from _matrix_problem(node[key], shape, f"{place}{key}")


def _matrix_problem(value: Any, shape: tuple[int, int], place: str) -> Iterator[str]:
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        yield f"{place} is no matrix of numbers"
        return
    if matrix.shape != shape:
        yield f"{place} has shape {matrix.shape}, expected {shape}"
    elif not np.isfinite(matrix).all():
        yield f"{place} holds NaN or infinity"


def _name_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """Files are named after tokens and scenes, so neither may lead to another folder."""
    for key in ("token", "scene_name"):
        if not is_plain_name(frame[key]):
            yield f"{key} {frame[key]!r} is no plain file name"
    for key in ("prev", "next"):
        if not isinstance(frame[key], str):
            yield f"{key} {frame[key]!r} is no token"


def _path_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """Links inside the root may point where they like: whoever owns the root has set them."""
    for place, path in paths_of(frame):
        if not _stays(path):
            yield (
                f"{place} {path!r} leaves the data root, expected a path relative to it (where "
                "that is meant, set paths_leave_root=True)"
            )


def paths_of(frame: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every file that a frame names, with the place where it does."""
    yield "lidar_points.lidar_path", frame["lidar_points"]["lidar_path"]
    for number, sweep in enumerate(frame["lidar_sweeps"]):
        yield f"lidar_sweeps.{number}.lidar_path", sweep["lidar_path"]
    for camera in CAMERAS:
        yield f"images.{camera}.img_path", frame["images"][camera]["img_path"]
    if frame["occ_path"] is not None:
        yield "occ_path", frame["occ_path"]


def _stays(path: Any) -> bool:
    if not isinstance(path, str) or not path or not path.isprintable():
        return False
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts


def list_problems(frames: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What is wrong between frames that are right by themselves: a token, and the problem."""
    known: set[str] = set()
    for frame in frames:
        if frame["token"] in known:
            yield frame["token"], "it is listed twice"
        known.add(frame["token"])
