"""Info files: everything a frame needs, read once from a nuScenes root by nuscenes-devkit."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.splits import create_splits_scenes
from pyquaternion import Quaternion
from tqdm import tqdm

from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.files.infos import INFO_VERSION, InfoError, check_frames
from minkocc.files.reading import is_plain_name, read_json, require_regular
from minkocc.files.writing import write_pickles
from minkocc.structures.errors import UserError, short
from minkocc.structures.taxonomy import CAMERAS, CLASSES

_UNIT_TOLERANCE = 1e-3
_MEND = "unpack or make the tables again"
_OFFICIAL_SPLITS = {"v1.0-trainval": ("train", "val"), "v1.0-mini": ("mini_train", "mini_val")}


class CreatedInfos(NamedTuple):
    """What ``create_infos`` wrote, and what it did not find."""

    paths: dict[str, Path]
    """The info file of each split."""
    missing_sweeps: list[str]
    """Sweeps that the tables name and the root does not hold, relative to it."""


def split_scenes(
    root: Path, version: str, scenes: Sequence[str], val_scenes: Sequence[str] | None
) -> dict[str, list[str]]:
    """Which of the root's scenes train and which validate.

    ``val_scenes`` decides when given; else the official lists of v1.0-trainval and v1.0-mini; else
    the ``splits.json`` that a synthetic world carries.

    Raises:
        InfoError: a named scene is not in the root, or nothing tells the split.
    """
    if val_scenes is not None:
        unknown = sorted(set(val_scenes) - set(scenes))
        if unknown:
            raise InfoError(f"--val-scenes {', '.join(unknown)}: not in {root / version}")
        return _partition(scenes, set(val_scenes))
    if (root / "splits.json").is_file():
        return _own_split(root / "splits.json", scenes)
    if version in _OFFICIAL_SPLITS:
        official = create_splits_scenes()
        train, val = (set(official[name]) for name in _OFFICIAL_SPLITS[version])
        if set(scenes) <= train | val:
            return _partition(scenes, val)
    raise InfoError(
        f"{root / version} holds scenes without an official split "
        f"({', '.join(list(scenes)[:3])}...): name the validation scenes with --val-scenes"
    )


def open_root(root: Path, version: str) -> NuScenes:
    """The tables of a nuScenes root.

    Raises:
        InfoError: the root has no such version, or its tables are broken.
    """
    if not (root / version / "scene.json").is_file():
        raise InfoError(f"{root / version} holds no nuScenes tables: check --root and --version")
    with _broken_tables(root, version):
        for path in sorted((root / version).glob("*.json")):
            require_regular(path)
        try:
            nusc = NuScenes(version=version, dataroot=str(root), verbose=False)
        except Exception as error:  # some of the devkit's own are of no type
            raise ValueError(f"{type(error).__name__}: {error}") from error
        _check_keyframes(nusc)
    return nusc


def _check_keyframes(nusc: NuScenes) -> None:
    """Of two records that claim to be a sensor's at a keyframe the devkit takes the latter.

    Raises:
        InfoError: there are two.
    """
    seen: set[tuple[str, str]] = set()
    for record in nusc.sample_data:
        key = (record["sample_token"], record["channel"])
        if record["is_key_frame"] and key in seen:
            raise InfoError(f"sample {short(key[0])} has two keyframes of {key[1]}: {_MEND}")
        if record["is_key_frame"]:
            seen.add(key)


@contextmanager
def _broken_tables(root: Path, version: str) -> Iterator[None]:
    """What tables lack, or have of a wrong kind, is the root's fault and said so in one line."""
    try:
        yield
    except InfoError as error:
        raise InfoError(f"{root / version}: {error}") from error
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the devkit takes for granted that tables are what they should be
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise InfoError(
            f"the nuScenes tables in {root / version} cannot be read ({reason}): {_MEND}"
        ) from error


def open_keyframes(root: Path, version: str) -> tuple[NuScenes, list[tuple[str, dict[str, Any]]]]:
    """The tables of a nuScenes root, and the scene's name and record of every keyframe in order.

    Raises:
        InfoError: there are no such tables, they are broken, or hold no keyframe.
    """
    nusc = open_root(root, version)
    with _broken_tables(root, version):
        keyframes = [
            (scene["name"], sample) for scene in nusc.scene for sample in scene_samples(nusc, scene)
        ]
    if not keyframes:
        raise InfoError(f"{root / version} holds no keyframe: check --root and --version")
    return nusc, keyframes


def spread_indices(total: int, count: int | None) -> list[int]:
    """``count`` of ``range(total)``, each in the middle of its share; all where there are fewer."""
    count = total if count is None else min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _own_split(path: Path, scenes: Sequence[str]) -> dict[str, list[str]]:
    """What a world says of its own scenes; it must name each of them, once, and no others.

    Raises:
        InfoError: it does not.
    """
    try:
        content = read_json(path)
        named = {split: list(content[split]) for split in ("train", "val")}
        if odd := [name for names in named.values() for name in names if not is_plain_name(name)]:
            raise ValueError(f"{short(odd[0])} is no scene's name")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InfoError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected "
            '{"train": [scenes], "val": [scenes]}, or name the validation scenes with --val-scenes'
        ) from error
    listed = Counter([*named["train"], *named["val"]])
    for what, names in (
        ("names scenes that the tables do not hold", listed.keys() - set(scenes)),
        ("does not name all scenes of the tables", set(scenes) - listed.keys()),
        ("names scenes twice", {name for name, count in listed.items() if count > 1}),
    ):
        if names:
            raise InfoError(
                f"{path} {what}: {', '.join(sorted(names)[:3])}; mend it, or name the validation "
                "scenes with --val-scenes"
            )
    return _partition(scenes, set(named["val"]))


def _partition(scenes: Iterable[str], val: set[str]) -> dict[str, list[str]]:
    return {
        "train": [name for name in scenes if name not in val],
        "val": [name for name in scenes if name in val],
    }


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
    with _broken_tables(root, version):
        names = [scene["name"] for scene in nusc.scene]
        if odd := [name for name in names if not is_plain_name(name)]:
            raise InfoError(f"a scene is called {short(odd[0])}, which is no plain file name")
    splits = split_scenes(root, version, names, val_scenes)
    frames: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    side = {name: split for split, members in splits.items() for name in members}
    missing: set[str] = set()
    with _broken_tables(root, version):
        for scene in tqdm(nusc.scene, desc="infos", unit="scene"):
            frames[side[scene["name"]]].extend(_scene_frames(nusc, scene, root, missing))
    # Infos that would be refused must not take the place of good ones.
    check_frames(
        [*frames["train"], *frames["val"]], f"tables {root / version}", paths_leave_root, _MEND
    )
    metainfo = {"info_version": INFO_VERSION, "version": version, "classes": list(CLASSES)}
    paths = {split: root / f"minkocc_infos_{split}.pkl" for split in frames}
    write_pickles(
        {
            paths[split]: {"metainfo": metainfo, "data_list": data_list}
            for split, data_list in frames.items()
        }
    )
    return CreatedInfos(paths, sorted(missing))


def _scene_frames(
    nusc: NuScenes, scene: dict[str, Any], root: Path, missing: set[str]
) -> list[dict[str, Any]]:
    samples = scene_samples(nusc, scene)
    frames = [sample_frame(nusc, sample, scene["name"], root, missing) for sample in samples]
    for frame in frames:
        frame["ray_origins"] = _ray_origins(frame, frames)
    return frames


def scene_samples(nusc: NuScenes, scene: dict[str, Any]) -> list[dict[str, Any]]:
    """The keyframes' records of a scene's record, in order.

    Raises:
        InfoError: the scene or a keyframe has a name that leads out of its folder, or the chain of
            keyframes turns back or into another scene, or lacks an end.
    """
    samples: list[dict[str, Any]] = []
    token, seen = scene["first_sample_token"], set()
    while token:
        if token in seen:
            raise InfoError(
                f"the keyframes of scene {scene['name']} in the nuScenes tables go in a circle: "
                f"sample {samples[-1]['token']} is followed by {token}, which came before: {_MEND}"
            )
        seen.add(token)
        samples.append(nusc.get("sample", token))
        if samples[-1]["scene_token"] != scene["token"]:
            raise InfoError(
                f"the keyframes of scene {scene['name']} in the nuScenes tables lead into another "
                f"scene at sample {token}: {_MEND}"
            )
        token = samples[-1]["next"]
    if not samples or samples[0]["prev"] or samples[-1]["token"] != scene["last_sample_token"]:
        raise InfoError(
            f"the keyframes of scene {scene['name']} in the nuScenes tables do not lead from its "
            f"first to its last: some are cut off: {_MEND}"
        )
    for name in (scene["name"], *(sample["token"] for sample in samples)):
        if not is_plain_name(name):
            raise InfoError(f"the nuScenes tables name {short(name)}, which is no plain file name")
    return samples


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
                f"to it: {_MEND}"
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
        InfoError: the rotation is no unit quaternion, whose matrix has no inverse, or the
            translation is not of three numbers.
    """
    if np.shape(record["translation"]) != (3,):  # numpy would take a single one for all three
        raise InfoError(
            f"the nuScenes tables hold a pose, {short(record['token'])}, of translation "
            f"{short(record['translation'])}, expected x, y, z: {_MEND}"
        )
    rotation = np.asarray(record["rotation"], np.float64)
    if rotation.shape != (4,) or not abs(np.linalg.norm(rotation) - 1) < _UNIT_TOLERANCE:
        raise InfoError(
            f"the nuScenes tables hold a pose, {short(record['token'])}, of rotation "
            f"{short(record['rotation'])}, which is no unit quaternion (w, x, y, z): {_MEND}"
        )
    matrix = Quaternion(record["rotation"]).transformation_matrix
    matrix[:3, 3] = record["translation"]
    return np.asarray(matrix, dtype=np.float64)


def _ray_origins(frame: dict[str, Any], scene: list[dict[str, Any]]) -> np.ndarray:
    """LiDAR positions of all the scene's keyframes in this frame's ego frame, ``(T, 3)``."""
    global2ego = np.linalg.inv(frame["ego2global"])
    origins = [
        (global2ego @ other["ego2global"] @ other["lidar_points"]["lidar2ego"])[:3, 3]
        for other in scene
    ]
    return np.stack(origins)
