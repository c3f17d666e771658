"""Scenes in the Dense Depth for Autonomous Driving (DGP) format as manifests of sensor logs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.manifest import LogError, manifest
from minkocc.files.poses import pose_matrix
from minkocc.files.reading import read_json
from minkocc.structures.errors import short

CLASS_NAMES = {
    "Person": "pedestrian",
    "Truck": "truck",
    "Car": "car",
    "Bus/RV/Caravan": "bus",
    "Motorcycle": "motorcycle",
    "Wheeled Slow": "bicycle",
    "Bicycle": "bicycle",
    "Towed Object": "trailer",
    "Trailer": "trailer",
}
"""Occ3D's classes of DGP's boxes; what is not listed is ``others``."""

_BOXES_3D = "1"  # DGP's number for this kind of annotation
_MEND = "fetch the scene again"


def dgp_manifest(
    scene: Path, folder: Path, vehicle: Mapping[str, Any], lidar: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a DGP scene: its LiDAR and all of its cameras.

    Args:
        scene: its ``scene_*.json``.
        folder: where the manifest will be, which its paths are relative to.
        vehicle: what the scene does not say of it, as the manifest has it.
        lidar: what the scene does not say of it, as the manifest has it.

    Raises:
        LogError: a file is missing or damaged, or the scene has no LiDAR or no camera.
    """
    try:
        return _manifest(scene, folder, vehicle, lidar)
    except LogError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {short(str(error))}"
        raise LogError(f"DGP scene {scene} cannot be read ({reason}): {_MEND}") from error


def _manifest(
    scene: Path, folder: Path, vehicle: Mapping[str, Any], lidar: Mapping[str, Any]
) -> dict[str, Any]:
    content = read_json(scene)
    data = {entry["key"]: entry for entry in content["data"]}
    names = _names(scene.parent, content.get("ontologies", {}))
    frames: list[dict[str, Any]] = []
    rigs: dict[str, _Rig] = {}
    for sample in content["samples"]:
        key = sample["calibration_key"]
        rig = rigs.setdefault(key, _Rig(read_json(scene.parent / "calibration" / f"{key}.json")))
        entries = [data[each] for each in sample["datum_keys"]]
        frames.append(_frame(scene.parent, folder, rig, entries, names))
    if not frames:
        raise LogError(f"DGP scene {scene} has no sample: {_MEND}")
    name = content.get("name") or scene.stem
    return manifest(name, frames, vehicle=dict(vehicle), lidar=dict(lidar))


class _Rig:
    """A calibration: sensors by name."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.to_vehicle = dict(zip(content["names"], map(_pose, content["extrinsics"])))
        self.intrinsics = dict(zip(content["names"], map(_camera_matrix, content["intrinsics"])))


def _frame(
    root: Path,
    folder: Path,
    rig: _Rig,
    entries: list[dict[str, Any]],
    names: Mapping[int, str],
) -> dict[str, Any]:
    lidars: list[dict[str, Any]] = []
    cameras, boxes = {}, []
    for entry in entries:
        name = entry["id"]["name"]
        kind, datum = next(iter(entry["datum"].items()))
        to_vehicle = rig.to_vehicle[name]
        record = {
            "file": Path(os.path.relpath(root / datum["filename"], folder)).as_posix(),
            "timestamp": datetime.fromisoformat(entry["id"]["timestamp"]).timestamp(),
            # The pose of a datum is that of its sensor.
            "ego2global": (_pose(datum["pose"]) @ np.linalg.inv(to_vehicle)).tolist(),
        }
        if kind == "point_cloud":
            lidars.append({**record, "lidar2ego": to_vehicle.tolist()})
            boxes += _boxes(root, datum["annotations"], names, to_vehicle)
        elif kind == "image":
            cameras[name] = {
                **record,
                "cam2ego": to_vehicle.tolist(),
                "cam2img": rig.intrinsics[name].tolist(),
                "width": datum["width"],
                "height": datum["height"],
            }
    if len(lidars) != 1 or not cameras:
        raise LogError(
            f"a sample of DGP scene {root} has {len(lidars)} LiDARs and {len(cameras)} cameras, "
            "expected one and at least one"
        )
    (lidar,) = lidars
    pose, time = lidar.pop("ego2global"), lidar["timestamp"]
    frame = {"timestamp": time, "ego2global": pose, "lidar": lidar, "cameras": cameras}
    return {**frame, "boxes": boxes} if boxes else frame


def _names(root: Path, ontologies: Mapping[str, str]) -> dict[int, str]:
    """What the classes of 3D boxes are called, by id."""
    key = ontologies.get(_BOXES_3D)
    if key is None:
        return {}
    items = read_json(root / "ontology" / f"{key}.json")["items"]
    return {item["id"]: item["name"] for item in items}


def _boxes(
    root: Path,
    annotations: Mapping[str, str],
    names: Mapping[int, str],
    to_vehicle: NDArray[np.float64],
) -> list[dict[str, Any]]:
    if _BOXES_3D not in annotations:
        return []
    found = read_json(root / annotations[_BOXES_3D])["annotations"]
    return [
        {
            "track": str(each["instance_id"]),
            "class": CLASS_NAMES.get(names.get(each["class_id"], ""), "others"),
            "box2ego": (to_vehicle @ _pose(each["box"]["pose"])).tolist(),
            "size": [each["box"][edge] for edge in ("length", "width", "height")],
        }
        for each in found
    ]


def _pose(record: Mapping[str, Any]) -> NDArray[np.float64]:
    turn, move = record["rotation"], record["translation"]
    rotation = [turn[key] for key in ("qw", "qx", "qy", "qz")]
    return pose_matrix(rotation, [move[key] for key in ("x", "y", "z")])


def _camera_matrix(record: Mapping[str, float]) -> NDArray[np.float64]:
    fx, fy, cx, cy = (record[key] for key in ("fx", "fy", "cx", "cy"))
    return np.array([[fx, record["skew"], cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
