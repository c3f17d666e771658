"""Info files: everything a frame needs, read once from a nuScenes root by nuscenes-devkit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nuscenes.nuscenes import NuScenes
from tqdm import tqdm

from minkocc.datasets.nuscenes_tables import MEND, broken_tables, open_root, scene_samples
from minkocc.datasets.splits import split_scenes
from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.files.infos import InfoError, write_infos
from minkocc.files.poses import pose_matrix
from minkocc.files.reading import is_plain_name
from minkocc.structures.errors import short
from minkocc.structures.taxonomy import CAMERAS


class CreatedInfos(NamedTuple):
    """What ``create_infos`` wrote, and what it did not find."""

    paths: dict[str, Path]
    """The info file of each split."""
    missing_sweeps: list[str]
    """Sweeps that the tables name and the root does not hold, relative to it."""


def create_infos(
    root: str | Path,
    version: str,
    val_scenes: Sequence[str] | None = None,
    paths_leave_root: bool = False,
) -> CreatedInfos:
    """Write ``minkocc_infos_{train,val}.pkl`` into a nuScenes root.

    Args:
        root: the folder that holds ``version/``, ``samples/`` and perhaps ``sweeps/`` and ``gts/``.
        version: name of the tables' folder.
        val_scenes: scene names that validate; all others train.
        paths_leave_root: whether the tables may name files outside the root.

    Returns:
        The written files, and the sweeps that were left out because they are missing.

    Raises:
        InfoError: the root has no such version or broken tables, lacks a sensor, or the split is
            unknown; infos of before are left as they were.
    """
    root = Path(root)
    nusc = open_root(root, version)
    with broken_tables(root, version):
        names = [scene["name"] for scene in nusc.scene]
        if odd := [name for name in names if not is_plain_name(name)]:
            raise InfoError(f"a scene is called {short(odd[0])}, which is no plain file name")
    splits = split_scenes(root, version, names, val_scenes)
    frames: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    side = {name: split for split, members in splits.items() for name in members}
    missing: set[str] = set()
    with broken_tables(root, version):
        for scene in tqdm(nusc.scene, desc="infos", unit="scene"):
            frames[side[scene["name"]]].extend(_scene_frames(nusc, scene, root, missing))
    paths = {split: root / f"minkocc_infos_{split}.pkl" for split in frames}
    files = {paths[split]: data_list for split, data_list in frames.items()}
    write_infos(files, version, paths_leave_root, f"tables {root / version}", MEND)
    return CreatedInfos(paths, sorted(missing))


def _scene_frames(
    nusc: NuScenes, scene: dict[str, Any], root: Path, missing: set[str]
) -> list[dict[str, Any]]:
    samples = scene_samples(nusc, scene)
    frames = [sample_frame(nusc, sample, scene["name"], root, missing) for sample in samples]
    for frame in frames:
        frame["ray_origins"] = ray_origins(frame, frames)
    return frames


def sample_frame(
    nusc: NuScenes,
    sample: dict[str, Any],
    scene: str,
    root: Path,
    missing_sweeps: set[str] | None = None,
) -> dict[str, Any]:
    """What an info file says of a keyframe by itself: all but ``ray_origins``.

    Args:
        nusc: the tables of ``root``.
        sample: the keyframe's record.
        scene: its scene's name.
        root: the nuScenes root.
        missing_sweeps: takes the names of sweeps that the tables name and the root does not hold.

    Raises:
        InfoError: the keyframe lacks a sensor.
    """
    missing = sorted({"LIDAR_TOP", *CAMERAS} - sample["data"].keys())
    if missing:
        raise InfoError(f"sample {sample['token']} ({scene}) lacks {', '.join(missing)}")
    lidar = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    ego2global = _pose(nusc.get("ego_pose", lidar["ego_pose_token"]))
    occ_path = Path("gts") / scene / sample["token"] / "labels.npz"
    return {
        "token": sample["token"],
        "prev": sample["prev"],
        "next": sample["next"],
        "scene_name": scene,
        "timestamp": sample["timestamp"] / 1e6,
        "lidar_points": {
            "lidar_path": lidar["filename"],
            "num_pts_feats": 5,
            "lidar2ego": _pose(_calibration(nusc, lidar)),
            "timestamp": lidar["timestamp"] / 1e6,
        },
        "ego2global": ego2global,
        "lidar_sweeps": _sweeps(
            nusc, lidar, ego2global, root, set() if missing_sweeps is None else missing_sweeps
        ),
        "images": {
            camera: _image(nusc, nusc.get("sample_data", sample["data"][camera]), ego2global)
            for camera in CAMERAS
        },
        "occ_path": str(occ_path) if (root / occ_path).is_file() else None,
    }


def _sweeps(
    nusc: NuScenes,
    lidar: dict[str, Any],
    ego2global: np.ndarray,
    root: Path,
    missing: set[str],
) -> list[dict[str, Any]]:
    """The last ``MAX_SWEEPS`` sweeps before this one, newest first, each with its own pose.

    A root may hold keyframes alone though its tables name sweeps; what is missing is left out.
    """
    sweeps: list[dict[str, Any]] = []
    record = lidar
    for _ in range(MAX_SWEEPS):
        if not record["prev"]:
            break
        earlier = nusc.get("sample_data", record["prev"])
        if earlier["next"] != record["token"]:
            raise InfoError(
                f"sweep {short(record['token'])} follows {earlier['token']}, which does not lead "
                f"to it: {MEND}"
            )
        record = earlier
        if not (root / record["filename"]).is_file():
            missing.add(record["filename"])
            continue
        sweep_ego2global = _pose(nusc.get("ego_pose", record["ego_pose_token"]))
        lidar2ego = _pose(_calibration(nusc, record))
        sweeps.append(
            {
                "lidar_path": record["filename"],
                "timestamp": record["timestamp"] / 1e6,
                "sweep2ego": np.linalg.inv(ego2global) @ sweep_ego2global @ lidar2ego,
            }
        )
    return sweeps


def _image(nusc: NuScenes, record: dict[str, Any], ego2global: np.ndarray) -> dict[str, Any]:
    """A camera of the frame; its own ego pose is passed through the global frame."""
    calibration = _calibration(nusc, record)
    global2cam_ego = np.linalg.inv(_pose(nusc.get("ego_pose", record["ego_pose_token"])))
    cam_ego2cam = np.linalg.inv(_pose(calibration))
    return {
        "img_path": record["filename"],
        "cam2img": np.array(calibration["camera_intrinsic"], dtype=np.float64),
        "ego2cam": cam_ego2cam @ global2cam_ego @ ego2global,
        "height": record["height"],
        "width": record["width"],
        "timestamp": record["timestamp"] / 1e6,
    }


def _calibration(nusc: NuScenes, record: dict[str, Any]) -> dict[str, Any]:
    return dict(nusc.get("calibrated_sensor", record["calibrated_sensor_token"]))


def _pose(record: dict[str, Any]) -> np.ndarray:
    """4x4 matrix of a record's rotation and translation.

    Raises:
        InfoError: they are none.
    """
    try:
        return pose_matrix(record["rotation"], record["translation"])
    except ValueError as error:
        raise InfoError(
            f"the nuScenes tables hold a pose, {short(record['token'])}, of {error}: {MEND}"
        ) from error


def ray_origins(frame: dict[str, Any], scene: Sequence[dict[str, Any]]) -> np.ndarray:
    """LiDAR positions of all of a scene's keyframes in one frame's ego frame, ``(T, 3)``."""
    global2ego = np.linalg.inv(frame["ego2global"])
    origins = [
        (global2ego @ other["ego2global"] @ other["lidar_points"]["lidar2ego"])[:3, 3]
        for other in scene
    ]
    return np.stack(origins)
