"""Sensor logs of any vehicle: one JSON manifest a drive, read into the frames of an info file.

The manifest's format stands in ``docs/own_data.md``. Whatever the vehicle's frame is, that of the
infos has its origin on the ground, as the labels' grid has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from minkocc.datasets.infos import ray_origins
from minkocc.datasets.log_clouds import LogClouds
from minkocc.datasets.manifest import LogError, Node, read_manifest
from minkocc.files.images import UNREADABLE_IMAGE, open_image
from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.files.infos import write_infos
from minkocc.files.occupancy import made_classes
from minkocc.files.rig import NUSCENES_BOX
from minkocc.structures.taxonomy import OCC3D, Taxonomy


def log_frames(manifest: Path, root: Path, paths_leave_root: bool = False) -> list[dict[str, Any]]:
    """The frames of a log, as info files hold them.

    LiDAR files of other formats than nuScenes' are written anew, into ``root/lidar_bin``.

    Args:
        manifest: its JSON file; paths in it are relative to its folder.
        root: the data root, which paths in the infos are relative to.
        paths_leave_root: whether files may lie outside of it.

    Raises:
        LogError: the manifest is missing or damaged, or says what cannot be.
        PointCloudError: a LiDAR file cannot be used.
    """
    log = read_manifest(manifest)
    return _Log(log, root, paths_leave_root).frames()


_FRAME = "token timestamp ego2global lidar sweeps cameras lidarseg boxes".split()
"""What a frame may say; the last two are for ``log_scene``."""


def frame_token(frame: Node, log: str, number: int) -> str:
    """The token of a log's frame: its own, or the log's name and its number from 0."""
    return frame.name("token", f"{log}-{number:06d}")


Corners = tuple[tuple[float, float, float], tuple[float, float, float]]


def log_box(manifest: Path) -> Corners:
    """Corners of the recording vehicle in the frame of the infos, metres.

    Raises:
        LogError: the manifest cannot be used.
    """
    low, high = _Vehicle(read_manifest(manifest)).box.tolist()
    return tuple(low), tuple(high)


class _Vehicle:
    """What a manifest says of the vehicle: how high the ground is, and its box above that."""

    def __init__(self, log: Node) -> None:
        node = log.child("vehicle", {})
        node.only("box", "ground_z")
        self.ground = _moved(np.array([0.0, 0.0, node.number("ground_z", 0.0)]))
        box = node.matrix("box", (2, 3)) if "box" in node else NUSCENES_BOX
        self.box: NDArray[np.float64] = box - self.ground[:3, 3]


class _Log:
    """One manifest's frames in the making."""

    def __init__(self, log: Node, root: Path, paths_leave_root: bool) -> None:
        self.log = log
        self.name = log.name("name")
        self.vehicle = _Vehicle(log)
        self.ground = self.vehicle.ground
        """4x4, from the frame on the ground to that of the vehicle."""
        self.lidar, self.cameras = log.child("lidar", {}), log.child("cameras", {})
        self.lidar.only("lidar2ego", "origin", "columns", "intensity_max")
        self.origin = self.lidar.matrix("origin", (3,)) if "origin" in self.lidar else np.zeros(3)
        self.files = LogClouds(
            self.name,
            log.path.parent,
            root,
            self.lidar.names("columns"),
            self.lidar.number("intensity_max", 255.0),
            self.origin,
            paths_leave_root,
        )
        self.sizes: dict[str, tuple[int, int]] = {}

    def frames(self) -> list[dict[str, Any]]:
        """All of them, in order, linked."""
        nodes = self.log.children("frames")
        frames = [self._frame(node, number) for number, node in enumerate(nodes)]
        for before, after in pairwise(frames):
            before["next"], after["prev"] = after["token"], before["token"]
        for frame in frames:
            frame["ray_origins"] = ray_origins(frame, frames)
        return frames

    def _frame(self, node: Node, number: int) -> dict[str, Any]:
        node.only(*_FRAME)
        token = frame_token(node, self.name, number)
        time, pose = node.number("timestamp"), node.pose("ego2global") @ self.ground
        lidar = node.file_node("lidar")
        occ_path = Path("gts") / self.name / token / "labels.npz"
        sweeps = [self._sweep(sweep, pose) for sweep in node.children("sweeps", [])]
        return {
            "token": token,
            "prev": "",
            "next": "",
            "scene_name": self.name,
            "timestamp": time,
            "lidar_points": {
                "lidar_path": self.files.sweep(lidar),
                "num_pts_feats": 5,
                "lidar2ego": self._mount(lidar),
                "timestamp": lidar.number("timestamp", time),
            },
            "ego2global": pose,
            "lidar_sweeps": sweeps[:MAX_SWEEPS],
            "images": self._images(node, pose, time),
            "ego_box": self.vehicle.box,
            "occ_path": str(occ_path) if (self.files.root / occ_path).is_file() else None,
        }

    def _mount(self, node: Node) -> NDArray[np.float64]:
        said = node if "lidar2ego" in node else self.lidar
        return np.linalg.inv(self.ground) @ said.pose("lidar2ego") @ _moved(self.origin)

    def _sweep(self, node: Node, frame2global: NDArray[np.float64]) -> dict[str, Any]:
        node.only("file", "timestamp", "ego2global", "lidar2ego")
        pose = node.pose("ego2global") @ self.ground
        return {
            "lidar_path": self.files.sweep(node),
            "timestamp": node.number("timestamp"),
            "sweep2ego": np.linalg.inv(frame2global) @ pose @ self._mount(node),
        }

    def _images(
        self, frame: Node, frame2global: NDArray[np.float64], time: float
    ) -> dict[str, dict[str, Any]]:
        images = frame.child("cameras")
        given, expected = set(images.keys()), set(self.cameras.keys())
        if expected and given != expected:
            odd = {"lacks": expected - given, "also has": given - expected}
            told = " and ".join(f"{how} {', '.join(sorted(n))}" for how, n in odd.items() if n)
            raise images.error(
                f"{told}, expected those of the log's own cameras: {', '.join(sorted(expected))}"
            )
        # In the order of the log's own list, for all frames the same one.
        names = list(self.cameras.keys()) or list(images.keys())
        return {
            name: self._image(name, images.file_node(name), frame2global, time) for name in names
        }

    def _image(
        self, name: str, node: Node, frame2global: NDArray[np.float64], time: float
    ) -> dict[str, Any]:
        own = ("cam2img", "cam2ego", "width", "height")
        node.only("file", "timestamp", "ego2global", *own)
        camera = self.cameras.child(name, {})
        camera.only(*own)
        said = {key: node if key in node else camera for key in own}
        vehicle2cam = np.linalg.inv(said["cam2ego"].pose("cam2ego"))
        if "ego2global" in node:  # its own pose is passed through the global frame
            ego2cam = vehicle2cam @ np.linalg.inv(node.pose("ego2global")) @ frame2global
        else:
            ego2cam = vehicle2cam @ self.ground
        path = self.files.named(node.text("file"), node)
        width, height = self._size(name, said, self.files.root / path)
        return {
            "img_path": path,
            "cam2img": said["cam2img"].matrix("cam2img", (3, 3)),
            "ego2cam": ego2cam,
            "height": height,
            "width": width,
            "timestamp": node.number("timestamp", time),
        }

    def _size(self, name: str, said: Mapping[str, Node], path: Path) -> tuple[int, int]:
        """Width and height: those that are said, or else those of the camera's first image."""
        if "width" in said["width"] and "height" in said["height"]:
            return said["width"].whole("width"), said["height"].whole("height")
        if name not in self.sizes:
            try:
                with open_image(path) as file:
                    self.sizes[name] = file.size
            except (*UNREADABLE_IMAGE, Image.DecompressionBombError) as error:
                raise LogError(f"image {path} cannot be read ({error}): fetch it again") from error
        return self.sizes[name]


def _moved(by: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, 3] = by
    return out


def _check_labels(folder: Path, taxonomy: Taxonomy) -> None:
    """Ids are numbers, and the same numbers are other classes in another taxonomy."""
    made = made_classes(folder)
    if made not in (None, taxonomy.classes):
        raise LogError(
            f"the labels in {folder} were made in the classes {', '.join(made or ())}, not in "
            f"{', '.join(taxonomy.classes)}: name their taxonomy with --taxonomy"
        )


def create_log_infos(
    manifests: Sequence[Path],
    root: Path,
    val_scenes: Sequence[str] | None = None,
    paths_leave_root: bool = False,
    taxonomy: Taxonomy = OCC3D,
) -> dict[str, Path]:
    """Write the info files of sensor logs, each a scene.

    Args:
        manifests: their JSON files.
        root: the data root, where the info files go.
        val_scenes: names of the logs that validate; all others train.
        paths_leave_root: whether files may lie outside of the root.
        taxonomy: the classes that their labels are of, or will be.

    Returns:
        The info file of each split that has frames.

    Raises:
        LogError: a manifest cannot be used, two are of one name, a name of ``val_scenes`` is of
            none, or the root's labels were made in other classes.
        PointCloudError: a LiDAR file cannot be used.
        InfoError: what the logs say together cannot be right.
    """
    logs = [
        log_frames(path, root, paths_leave_root)
        for path in tqdm(manifests, desc="logs", unit="log")
    ]
    frames = {log[0]["scene_name"]: log for log in logs}
    if len(frames) < len(logs):
        raise LogError(f"of {len(logs)} manifests some are of one name: name each drive its own")
    val = set(val_scenes or ())
    if unknown := sorted(val - frames.keys()):
        raise LogError(
            f"--val-scenes {', '.join(unknown)}: no manifest has that name, they are "
            f"{', '.join(frames)}"
        )
    splits = {
        "train": [frame for name, log in frames.items() if name not in val for frame in log],
        "val": [frame for name in frames if name in val for frame in frames[name]],
    }
    paths = {name: root / f"minkocc_infos_{name}.pkl" for name in splits if splits[name]}
    source = f"manifests {', '.join(map(str, manifests))}"
    files = {path: splits[name] for name, path in paths.items()}
    if any(frame["occ_path"] for log in logs for frame in log):
        _check_labels(root / "gts", taxonomy)
    remedy = "correct the manifest"
    write_infos(files, "log", paths_leave_root, source, remedy, taxonomy)
    return paths
