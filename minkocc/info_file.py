"""Reading info files: the version, the keys and the shapes that every frame must have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minkocc.structures.errors import UserError
from minkocc.structures.files import UnsafeFileError, read_plain_pickle
from minkocc.structures.taxonomy import CAMERAS

INFO_VERSION = "minkocc-1"

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


class InfoError(UserError, ValueError):
    """A root or an info file that cannot be used; the text names it and the remedy."""


def read_infos(path: str | Path) -> dict[str, Any]:
    """Read an info file and check that this version of minkocc wrote it.

    Returns:
        ``metainfo`` and ``data_list``, one dict a frame.

    Raises:
        InfoError: the file is missing, damaged, of another version, or a frame lacks a key or has
            a matrix of a wrong shape, or a matrix or time that is not finite.
        UnsafeFileError: the file refers to code.
    """
    if not Path(path).is_file():
        raise InfoError(
            f"info file {path} does not exist: create it with "
            "tools/create_data.py --root DIR --version V"
        )
    try:
        content = read_plain_pickle(path)
    except UnsafeFileError:
        raise
    except ValueError as error:
        raise InfoError(f"info file {error} with tools/create_data.py") from error
    version = _version(content)
    if version != INFO_VERSION or not isinstance(content.get("data_list"), list):
        raise InfoError(
            f"info file {path} has version {version!r}, expected {INFO_VERSION!r}: create it "
            "again with tools/create_data.py"
        )
    for number, frame in enumerate(content["data_list"]):
        for problem in _frame_problems(frame):
            name = frame.get("token", f"number {number}") if isinstance(frame, dict) else number
            raise InfoError(
                f"info file {path}, frame {name}: {problem}; create it again with "
                "tools/create_data.py"
            )
    return dict(content)


def _version(content: Any) -> Any:
    metainfo = content.get("metainfo") if isinstance(content, dict) else None
    return metainfo.get("info_version") if isinstance(metainfo, dict) else None


def _frame_problems(frame: Any) -> Iterator[str]:
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
    if "timestamp" in expected and not _is_time(node.get("timestamp", 0.0)):
        yield f"{place}timestamp {node['timestamp']!r} is no time in seconds"
    for key, shape in expected.items():
        if shape is not None and key in node:
            yield from _matrix_problem(node[key], shape, f"{place}{key}")


def _is_time(value: Any) -> bool:
    """Lags between sweeps are an input of the network: one NaN spoils all of it."""
    number = isinstance(value, (int, float, np.integer, np.floating))
    return number and not isinstance(value, bool) and math.isfinite(value)


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
