"""The scene of a sensor log as ``minkocc.occupancy_labels`` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.frame_scene import frame_keyframe, own_sweep
from minkocc.datasets.manifest import Node, read_manifest
from minkocc.datasets.sensor_log import frame_token, log_frames
from minkocc.datasets.transforms.loading import read_lidar
from minkocc.occupancy_labels.scene import UNLABELLED, Box, Keyframe
from minkocc.structures.taxonomy import OCC3D, Taxonomy


def read_log_scene(
    manifest: Path, root: Path, use_lidarseg: bool = True, taxonomy: Taxonomy = OCC3D
) -> list[Keyframe]:
    """The keyframes of a log with all sweeps, boxes and cameras.

    Args:
        manifest: its JSON file.
        root: the data root.
        use_lidarseg: read the classes of the keyframes' returns where the manifest names them.
        taxonomy: the classes of boxes and returns.

    Raises:
        LogError: the manifest cannot be used.
        InputError: a LiDAR file is missing, truncated or not finite.
        SceneError: a box makes no sense.
    """
    nodes = read_manifest(manifest).children("frames")
    keyframes: list[Keyframe] = []
    for node, frame in zip(nodes, log_frames(manifest, root, paths_leave_root=True)):
        points = read_lidar(root / frame["lidar_points"]["lidar_path"])[:, :3]
        named = use_lidarseg and "lidarseg" in node
        classes = _classes(node, manifest.parent, len(points), taxonomy) if named else None
        boxes = _boxes(node, taxonomy)
        since = keyframes[-1].time if keyframes else -np.inf
        own = own_sweep(frame, points, classes)
        keyframes.append(frame_keyframe(frame, root, own, boxes, since))
    return keyframes


def log_boxes(manifest: Path, taxonomy: Taxonomy = OCC3D) -> dict[str, list[Box]]:
    """The boxes of every frame of a log, by token; no other file is opened.

    Args:
        manifest: its JSON file.
        taxonomy: the classes of the boxes.

    Raises:
        LogError: the manifest cannot be used.
        SceneError: a box makes no sense.
    """
    log = read_manifest(manifest)
    name = log.name("name")
    return {
        frame_token(node, name, number): _boxes(node, taxonomy)
        for number, node in enumerate(log.children("frames"))
    }


def manifest_files(manifest: Path) -> list[Path]:
    """The LiDAR and lidarseg files that a log names, relative to its folder.

    Raises:
        LogError: the manifest cannot be used.
    """
    files = []
    for node in read_manifest(manifest).children("frames"):
        sweeps = node.children("sweeps", [])
        files += [Path(n.text("file")) for n in (node.file_node("lidar"), *sweeps)]
        files += [Path(node.text("lidarseg"))] if "lidarseg" in node else []
    return files


def _classes(node: Node, folder: Path, points: int, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    path = folder / node.text("lidarseg")
    try:
        if path.suffix == ".npy":
            classes: NDArray[Any] = np.load(path, allow_pickle=False)
        else:
            classes = np.fromfile(path, np.uint8)
    except (OSError, ValueError) as error:
        raise node.error(f"is {path}, which cannot be read ({error})", "lidarseg") from error
    if classes.shape != (points,) or classes.dtype.kind not in "iu":
        raise node.error(
            f"is {path}, {classes.dtype} {classes.shape}, expected a class for each of the "
            f"{points} points of the LiDAR file",
            "lidarseg",
        )
    last = len(taxonomy.classes) - 1
    odd = (classes < 0) | ((classes > last) & (classes != UNLABELLED))
    if odd.any():
        raise node.error(
            f"is {path}, which holds class {classes[odd][0]}, expected 0 to {last}, or "
            f"{UNLABELLED} for unknown",
            "lidarseg",
        )
    return classes.astype(np.uint8)


def _boxes(frame: Node, taxonomy: Taxonomy) -> list[Box]:
    pose = frame.pose("ego2global")
    return [_box(box, pose, taxonomy) for box in frame.children("boxes", [])]


def _box(node: Node, ego2global: NDArray[np.float64], taxonomy: Taxonomy) -> Box:
    node.only("track", "class", "box2ego", "size")
    name = node.text("class")
    if name not in taxonomy.classes:
        raise node.error(f"is {name!r}, expected one of {', '.join(taxonomy.classes)}", "class")
    length, width, height = node.matrix("size", (3,))
    size = (float(length), float(width), float(height))
    return Box(node.text("track"), taxonomy.id_of(name), ego2global @ node.pose("box2ego"), size)
