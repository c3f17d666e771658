"""What every frame of an info file must be, and what its frames must be to each other.

Each check yields what is wrong in words; who calls says where and what helps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.files.reading import is_plain_name
from minkocc.structures.errors import short

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
_MADE_LATER = frozenset(
    "points imgs img_aug raw_size ego_aug lattice voxel_semantics mask_camera weak_occupancy "
    "img_semantics img_confidence lift_point lift_label lift_confidence".split()
)
"""What the steps of a pipeline add to a frame: from an info file it would be a target that no
budget knows of."""

MAX_SWEEPS = 10
"""How many earlier sweeps a frame holds, at most."""

_RIGID_TOLERANCE = 1e-3
_FARTHEST = 1e8
"""Metres: more than any map's origin is away, and few enough that float64 keeps the centimetres."""
_FARTHEST_OF_FRAME = 1e3
"""Metres from the vehicle to its sensors, now and some sweeps ago."""
_LARGEST_IMAGE = 1 << 16
_MOST_ZOOM = 1e3
"""Focal lengths and principal point, in image sizes."""
_LARGEST_VEHICLE = 30.0
"""Metres from the ego frame's origin: longer than any lorry."""
_LONGEST_FRAME = 60.0
"""Seconds between a frame and whatever belongs to it."""
_FARTHEST_TIME = 1e12
"""Seconds: more than any calendar has, and few enough that float64 keeps the milliseconds."""
_SAME_PLACE = 0.01
"""Metres by which two ways to the same place may differ."""


def frame_problems(frame: Any, paths_leave_root: bool = False) -> Iterator[str]:
    """What is wrong with a frame; later checks take for granted what earlier ones found right.

    Args:
        frame: one entry of ``data_list``.
        paths_leave_root: whether its files may lie outside the data root.
    """
    yield from _structure_problems(frame)
    yield from _name_problems(frame)
    yield from _path_problems(frame, paths_leave_root)
    yield from _label_problems(frame)
    yield from _camera_problems(frame)
    yield from _size_problems(frame)
    yield from _pose_problems(frame)
    yield from _intrinsic_problems(frame)
    yield from _time_problems(frame)
    yield from _origin_problems(frame)


def _structure_problems(frame: Any) -> Iterator[str]:
    yield from _problems(frame, _FRAME, "")
    if made := sorted(_MADE_LATER & frame.keys()):
        yield f"{', '.join(made)} is made when a frame is loaded, and no part of infos"
    yield from _problems(frame["lidar_points"], _LIDAR, "lidar_points.")
    if not isinstance(frame["lidar_sweeps"], list):
        yield "lidar_sweeps is no list"
    for number, sweep in enumerate(frame["lidar_sweeps"]):
        yield from _problems(sweep, _SWEEP, f"lidar_sweeps.{number}.")
    yield from _problems(frame["images"], {}, "images.")
    if not frame["images"]:
        yield "images is empty, expected at least one camera"
    for camera, image in frame["images"].items():
        if not is_plain_name(camera):
            yield f"images holds {short(camera)}, which is no plain file name"
        yield from _problems(image, _IMAGE, f"images.{camera}.")
    if "ego_box" in frame:
        yield from _box_problems(frame["ego_box"])


def _box_problems(box: Any) -> Iterator[str]:
    yield from _matrix_problem(box, (2, 3), "ego_box")
    if not (box[0] < box[1]).all() or np.abs(box).max() > _LARGEST_VEHICLE:
        yield (
            f"ego_box {short(box.tolist())} is no vehicle, expected its lower and upper corner, "
            f"metres, within {_LARGEST_VEHICLE:g}"
        )


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
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        yield f"{place} is {kind}, expected a matrix of float64"
    elif value.shape != shape:
        yield f"{place} has shape {value.shape}, expected {shape}"
    elif not np.isfinite(value).all():
        yield f"{place} holds NaN or infinity"


def _name_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """Files are named after tokens and scenes, so neither may lead to another folder."""
    for key in ("token", "scene_name"):
        if not is_plain_name(frame[key]):
            yield f"{key} {short(frame[key])} is no plain file name"
    for key in ("prev", "next"):
        if not isinstance(frame[key], str):
            yield f"{key} {short(frame[key])} is no token"


def _path_problems(frame: Mapping[str, Any], paths_leave_root: bool) -> Iterator[str]:
    """Links inside the root may point where they like: whoever owns the root has set them."""
    for place, path in paths_of(frame):
        if paths_leave_root:
            if not _is_path(path):
                yield f"{place} {short(path)} is no path"
        elif not _stays(path):
            yield (
                f"{place} {short(path)} leaves the data root, expected a path relative to it "
                "(where that is meant, set paths_leave_root=True)"
            )


def paths_of(frame: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every file that a frame names, with the place where it does."""
    yield "lidar_points.lidar_path", frame["lidar_points"]["lidar_path"]
    for number, sweep in enumerate(frame["lidar_sweeps"]):
        yield f"lidar_sweeps.{number}.lidar_path", sweep["lidar_path"]
    for camera, image in frame["images"].items():
        yield f"images.{camera}.img_path", image["img_path"]
    if frame["occ_path"] is not None:
        yield "occ_path", frame["occ_path"]


def _is_path(path: Any) -> bool:
    return isinstance(path, str) and bool(path) and path.isprintable()


def _stays(path: Any) -> bool:
    return _is_path(path) and not path.startswith("/") and ".." not in path.split("/")


def _label_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """The label of another frame under this one's token would be learned, and measured against."""
    path = frame["occ_path"]
    if path is None:
        return
    expected = (frame["scene_name"], frame["token"], "labels.npz")
    if not isinstance(path, str) or PurePosixPath(path).parts[-3:] != expected:
        yield f"occ_path {short(path)} is of another frame, expected <folder>/{'/'.join(expected)}"


def _size_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    for camera, image in frame["images"].items():
        for key in ("height", "width"):
            size = image[key]
            number = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
            if not number or not 1 <= size <= _LARGEST_IMAGE:
                yield f"images.{camera}.{key} {short(size)} is no number of pixels"


def _pose_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    rigid = [("ego2global", frame["ego2global"])]
    rigid.append(("lidar_points.lidar2ego", frame["lidar_points"]["lidar2ego"]))
    for number, sweep in enumerate(frame["lidar_sweeps"]):
        rigid.append((f"lidar_sweeps.{number}.sweep2ego", sweep["sweep2ego"]))
    for camera, image in frame["images"].items():
        rigid.append((f"images.{camera}.ego2cam", image["ego2cam"]))
    matrices = np.array([matrix for _, matrix in rigid], np.float64)
    away = np.abs(matrices[:, :3, 3]).max(1)
    for (place, _), is_fine, metres in zip(rigid, _are_rigid(matrices), away):
        if not is_fine:
            yield f"{place} is no rotation and translation: it would bend what it moves"
        elif metres > _FARTHEST_OF_FRAME and place != "ego2global":
            yield (
                f"{place} moves by {metres:g} m, expected metres from a vehicle to its own sensor, "
                f"at most {_FARTHEST_OF_FRAME:g}"
            )


def _are_rigid(matrices: NDArray[Any]) -> NDArray[Any]:
    """Which of ``(M, 4, 4)`` are a rotation and a translation, ``(M,)``; all at once, for speed."""
    turns = matrices[:, :3, :3]
    skew = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    fine = (matrices[:, 3] == (0, 0, 0, 1)).all(1) & (skew < _RIGID_TOLERANCE)
    near = np.abs(matrices[:, :3, 3]).max(1) < _FARTHEST
    return fine & near & (np.linalg.det(turns) > 0)


def _intrinsic_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    matrices = np.array([image["cam2img"] for image in frame["images"].values()], np.float64)
    focal = (matrices[:, 0, 0] > 0) & (matrices[:, 1, 1] > 0)
    zeros = (matrices[:, 1, 0] == 0) & (matrices[:, 2] == (0, 0, 1)).all(1)
    for camera, is_fine in zip(frame["images"], focal & zeros & _are_bounded(frame, matrices)):
        if not is_fine:
            yield (
                f"images.{camera}.cam2img is no camera's: expected [[fx, skew, cx], [0, fy, cy], "
                "[0, 0, 1]] with focal lengths above 0"
            )


def _are_bounded(frame: Mapping[str, Any], cam2img: NDArray[Any]) -> NDArray[Any]:
    images = frame["images"].values()
    size = np.array([max(image["height"], image["width"]) for image in images], np.float64)
    return np.asarray(np.abs(cam2img[:, :2]).max((1, 2)) <= _MOST_ZOOM * size)


def _camera_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """In nuScenes' layout a folder has a camera's name; the image of another would be believed."""
    for camera, image in frame["images"].items():
        path = image["img_path"]
        others = set(PurePosixPath(path).parts) & frame["images"].keys() - {camera}
        if others:
            yield f"images.{camera}.img_path {short(path)} is of {', '.join(sorted(others))}"


def _time_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    """Sweeps go back in time, each before the one in front of it; the time is an input."""
    places = [("timestamp", frame), ("lidar_points.timestamp", frame["lidar_points"])]
    places += [(f"images.{camera}.timestamp", image) for camera, image in frame["images"].items()]
    sweeps = frame["lidar_sweeps"]
    places += [(f"lidar_sweeps.{n}.timestamp", sweep) for n, sweep in enumerate(sweeps)]
    for place, node in places:
        if not _is_time(node["timestamp"]):
            yield f"{place} {short(node['timestamp'])} is no time in seconds"
        elif not abs(node["timestamp"] - frame["timestamp"]) <= _LONGEST_FRAME:
            yield (
                f"{place} {node['timestamp']:.6f} is more than {_LONGEST_FRAME:g} seconds from the "
                f"frame's own timestamp, {frame['timestamp']:.6f}"
            )
    before = ("the keyframe's own sweep", frame["lidar_points"]["timestamp"])
    for number, sweep in enumerate(sweeps):
        name, time = f"lidar_sweeps.{number}", sweep["timestamp"]
        if not time < before[1]:
            yield (
                f"{name} is of {time:.6f}, not before {before[0]} at {before[1]:.6f}: sweeps are "
                "listed back in time"
            )
        before = (name, time)
    if len(sweeps) > MAX_SWEEPS:
        yield f"lidar_sweeps are {len(sweeps)}, expected at most {MAX_SWEEPS}"


def _origin_problems(frame: Mapping[str, Any]) -> Iterator[str]:
    origins = frame["ray_origins"]
    number = isinstance(origins, np.ndarray) and origins.dtype.kind in "fiu"
    if not number or origins.ndim != 2 or origins.shape[1] != 3 or not len(origins):
        yield "ray_origins is no array of places (T, 3)"
    elif not np.isfinite(origins).all():
        yield "ray_origins holds NaN or infinity"
    else:
        own = frame["lidar_points"]["lidar2ego"][:3, 3]
        if np.abs(origins - own).max(1).min() > _SAME_PLACE:
            yield "ray_origins lacks the place of the frame's own LiDAR"


def _is_time(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or isinstance(value, bool):
        return False
    return abs(value) < _FARTHEST_TIME and math.isfinite(value)


def list_problems(frames: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What is wrong between frames that are right by themselves: a token, and the problem."""
    known: dict[str, Mapping[str, Any]] = {}
    for frame in frames:
        if frame["token"] in known:
            yield frame["token"], "it is listed twice"
        known[frame["token"]] = frame
    for frame in frames:
        for link, sign in (("prev", -1), ("next", 1)):
            other = known.get(frame[link])
            if other is not None and (problem := _link_problem(frame, other, sign)):
                yield frame["token"], f"{link} {other['token']} {problem}"
    yield from _rig_problems(frames)
    yield from _file_problems(frames)
    yield from _scene_problems(frames)


def _rig_problems(frames: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Views are stacked, so that all frames need the same ones, in one order."""
    for frame in frames:
        own, first = list(frame["images"]), list(frames[0]["images"])
        if own != first:
            yield (
                frame["token"],
                f"its cameras are {', '.join(own)}, those of frame {frames[0]['token']} "
                f"{', '.join(first)}: expected the same, in one order",
            )


def _file_problems(frames: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Frames share sweeps, and each of these was recorded once; no two share an image."""
    times: dict[str, float] = {}
    images: set[str] = set()
    for frame in frames:
        for sweep in (frame["lidar_points"], *frame["lidar_sweeps"]):
            path, time = sweep["lidar_path"], sweep["timestamp"]
            if times.setdefault(path, time) != time:
                yield (
                    frame["token"],
                    f"LiDAR file {short(path)} is of {time:.6f} here, and elsewhere of "
                    f"{times[path]:.6f}",
                )
        for path in (image["img_path"] for image in frame["images"].values()):
            if path in images:
                yield frame["token"], f"image {short(path)} is listed twice"
            images.add(path)


def _scene_problems(frames: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The places of a scene's rays are the same ones, whichever frame tells them."""
    known: dict[str, NDArray[np.float64]] = {}
    for frame in frames:
        pose, origins = frame["ego2global"], frame["ray_origins"]
        places = origins @ pose[:3, :3].T + pose[:3, 3]
        others = known.setdefault(frame["scene_name"], places)
        if len(places) != len(others) or np.abs(places - others).max() > _SAME_PLACE:
            yield (
                frame["token"],
                "ego2global and ray_origins do not lead to the places that another frame of its "
                "scene leads to",
            )


def _link_problem(frame: Mapping[str, Any], other: Mapping[str, Any], sign: int) -> str | None:
    """A chain that leads on in time has no circles."""
    if other["scene_name"] != frame["scene_name"]:
        return f"is of another scene, {other['scene_name']}"
    if not sign * (other["timestamp"] - frame["timestamp"]) > 0:
        return f"is {'earlier' if sign > 0 else 'later'}, or at the same time"
    if other["prev" if sign > 0 else "next"] != frame["token"]:
        return "does not lead back"
    return None
