"""Sequences of KITTI's odometry layout (SemanticKITTI's too) as manifests of sensor logs.

The vehicle's frame is that of the Velodyne: x forward, y left, z up, 1.73 m above the road.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.manifest import LogError, manifest

GROUND_Z = -1.73
"""Metres, of the road in the Velodyne's frame."""
VEHICLE_BOX = [[-2.8, -1.0, -1.73], [1.6, 1.0, 0.1]]
"""Corners of KITTI's estate car in that frame, by its drawing, metres."""

_IMAGES = (".png", ".jpg", ".jpeg")


def kitti_manifest(sequence: Path, folder: Path) -> dict[str, Any]:
    """The manifest of a sequence.

    Args:
        sequence: holds ``velodyne/*.bin``, ``image_0`` to ``image_3`` or some of them,
            ``calib.txt``, ``times.txt`` and ``poses.txt``.
        folder: where the manifest will be, which its paths are relative to.

    Raises:
        LogError: a file is missing or damaged, or they do not go together.
    """
    calibration = _calibration(sequence / "calib.txt")
    if "Tr" not in calibration:
        raise LogError(f"{sequence / 'calib.txt'} has no Tr, from the Velodyne to camera 0")
    to_camera = _homogeneous(calibration["Tr"])
    sweeps = sorted((sequence / "velodyne").glob("*.bin"))
    times = _numbers(sequence / "times.txt", (1,))[:, 0]
    poses = _numbers(sequence / "poses.txt", (3, 4))
    if not 0 < len(sweeps) <= min(len(times), len(poses)):
        raise LogError(
            f"{sequence} has {len(sweeps)} sweeps, {len(times)} times and {len(poses)} poses: "
            "expected a time and a pose for each sweep, and one at least"
        )
    images = {
        f"image_{number}": _camera(calibration[f"P{number}"], to_camera)
        for number in range(4)
        if f"P{number}" in calibration and (sequence / f"image_{number}").is_dir()
    }
    if not images:
        raise LogError(f"{sequence} has no folder image_0 to image_3 with a P of calib.txt")
    frames = [
        {
            "timestamp": float(time),
            # poses.txt is of camera 0 and starts at the identity.
            "ego2global": (np.linalg.inv(to_camera) @ _homogeneous(pose) @ to_camera).tolist(),
            "lidar": _relative(path, folder),
            "cameras": {
                name: _relative(_image(sequence / name, path.stem), folder) for name in images
            },
        }
        for path, time, pose in zip(sweeps, times, poses)
    ]
    return manifest(
        f"kitti-{sequence.resolve().name}",
        frames,
        vehicle={"ground_z": GROUND_Z, "box": VEHICLE_BOX},
        lidar={"lidar2ego": np.eye(4).tolist(), "intensity_max": 1.0},
        cameras=images,
    )


def _camera(projection: NDArray[np.float64], to_camera: NDArray[np.float64]) -> dict[str, Any]:
    """A camera by its P = K [I | t]: t leads from camera 0 to it."""
    matrix = projection[:, :3]
    step = np.eye(4)
    step[:3, 3] = np.linalg.solve(matrix, projection[:, 3])
    return {"cam2img": matrix.tolist(), "cam2ego": np.linalg.inv(step @ to_camera).tolist()}


def _image(folder: Path, stem: str) -> Path:
    for suffix in _IMAGES:
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    tried = ", ".join(_IMAGES)
    raise LogError(f"{folder} has no image {stem} ({tried}) for the sweep of that name")


def _calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    matrices = {}
    for line in _lines(path):
        name, _, values = line.partition(":")
        try:
            numbers = np.array(values.split(), np.float64)
        except ValueError:
            continue  # a date, in KITTI's raw files
        if numbers.size == 12:
            matrices[name.strip()] = numbers.reshape(3, 4)
    return matrices


def _numbers(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    lines = _lines(path)
    try:
        rows = np.array([line.split() for line in lines], np.float64)
        return rows.reshape(len(lines), *shape)
    except ValueError as error:
        count = int(np.prod(shape))
        raise LogError(f"{path} cannot be read ({error}): expected {count} numbers a line") from (
            error
        )


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{path} cannot be read ({error}): fetch it again") from error
    return [line for line in lines if line.strip()]


def _homogeneous(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
