"""The nuScenes tables of a synthetic data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from minkocc.synthetic.categories import CATEGORIES
from minkocc.synthetic.meshes.mesh import FloatArray
from minkocc.synthetic.rig import AZIMUTH_STEPS, BEAM_ELEVATIONS, LIDAR, SENSORS, Rig
from minkocc.synthetic.town.traffic import Actor

Record = dict[str, Any]
Tables = dict[str, list[Record]]

VERSION = "v1.0-synthetic"
TABLE_NAMES: tuple[str, ...] = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
    "lidarseg",
)
_ATTRIBUTES = {
    "vehicle.moving": "Vehicle is moving.",
    "vehicle.stopped": "Vehicle stands and is about to move.",
    "vehicle.parked": "Vehicle stands for long.",
    "cycle.with_rider": "Somebody rides the bicycle or motorcycle.",
    "cycle.without_rider": "Nobody rides the bicycle or motorcycle.",
    "pedestrian.moving": "The human is walking.",
    "pedestrian.standing": "The human is standing.",
    "pedestrian.sitting_lying_down": "The human is sitting or lying.",
}
_BOX_MARGIN = 0.05  # metres between an object and each face of its box
_VISIBILITY = ("v0-40", "v40-60", "v60-80", "v80-100")
# Steradians per LiDAR ray.
_BEAM_AREA = (2 * np.pi / AZIMUTH_STEPS) * float(np.diff(BEAM_ELEVATIONS).mean())


def token(*parts: object) -> str:
    """A 32-digit token, the same for the same parts."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def constant_tables() -> Tables:
    """The tables that are the same for every data set."""
    return {
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": text}
            for name, text in _ATTRIBUTES.items()
        ],
        "category": [
            {"token": token("category", name), "name": name, "description": name, "index": index}
            for index, name in enumerate(CATEGORIES)
        ],
        "sensor": [
            {
                "token": token("sensor", channel),
                "channel": channel,
                "modality": "lidar" if channel == LIDAR else "camera",
            }
            for channel in SENSORS
        ],
        "visibility": [
            {"token": str(i + 1), "level": level, "description": f"visible share {level[1:]} %"}
            for i, level in enumerate(_VISIBILITY)
        ],
    }


def calibration(key: str, rig: Rig, size: tuple[int, int]) -> list[Record]:
    """Calibrated sensors of one scene.

    Args:
        key: identifies the scene in tokens.
        rig: of the ego vehicle.
        size: of the images, width and height.
    """
    return [
        {
            "token": token(key, "calibrated_sensor", channel),
            "sensor_token": token("sensor", channel),
            "translation": list(rig.mounts[channel].translation),
            "rotation": list(rig.mounts[channel].rotation),
            "camera_intrinsic": (
                [] if channel == LIDAR else rig.mounts[channel].intrinsics(size).tolist()
            ),
        }
        for channel in SENSORS
    ]


def yaw_quaternion(matrix: FloatArray) -> list[float]:
    """Quaternion (w, x, y, z) of a 4x4 matrix that turns about z only."""
    half = float(np.arctan2(matrix[1, 0], matrix[0, 0])) / 2
    return [float(np.cos(half)), 0.0, 0.0, float(np.sin(half))]


def ego_pose(key: str, name: str, timestamp: int, pose: FloatArray) -> Record:
    """An ego pose; its token is that of the sample data of the same name."""
    return {
        "token": token(key, "sample_data", name),
        "timestamp": timestamp,
        "rotation": yaw_quaternion(pose),
        "translation": pose[:3, 3].tolist(),
    }


def sample_data(
    key: str,
    channel: str,
    name: str,
    sample: str,
    timestamp: int,
    filename: str,
    keyframe: bool,
    size: tuple[int, int],
) -> Record:
    """One measurement; ``link`` fills in its neighbours."""
    own = token(key, "sample_data", name)
    return {
        "token": own,
        "sample_token": sample,
        "ego_pose_token": own,
        "calibrated_sensor_token": token(key, "calibrated_sensor", channel),
        "timestamp": timestamp,
        "fileformat": "pcd" if channel == LIDAR else "jpg",
        "is_key_frame": keyframe,
        "height": 0 if channel == LIDAR else size[1],
        "width": 0 if channel == LIDAR else size[0],
        "filename": filename,
        "prev": "",
        "next": "",
    }


def link(records: list[Record]) -> None:
    """Point the records of one chain at each other, in place."""
    for before, after in pairwise(records):
        before["next"], after["prev"] = after["token"], before["token"]


def annotation(
    key: str,
    sample: str,
    actor: Actor,
    attribute: str,
    pose: FloatArray,
    returns: int,
    distance: float,
) -> Record:
    """The box of one actor at one keyframe.

    Args:
        key: identifies the scene in tokens.
        sample: token of the keyframe.
        actor: to be annotated.
        attribute: its nuScenes attribute at the keyframe, or "".
        pose: 4x4 actor-to-global; the actor's origin is the middle of its foot.
        returns: number of LiDAR returns on it.
        distance: from the LiDAR, metres.
    """
    width, length, height = actor.size
    silhouette = height * max(width, 0.6 * length)
    share = returns * _BEAM_AREA * max(distance, 1.0) ** 2 / silhouette
    level = int(np.searchsorted([0.4, 0.6, 0.8], min(share, 1.0)))
    return {
        "token": token(key, "annotation", sample, actor.number),
        "sample_token": sample,
        "instance_token": token(key, "instance", actor.number),
        "visibility_token": str(level + 1),
        "attribute_tokens": [token("attribute", attribute)] if attribute else [],
        "translation": [*pose[:2, 3].tolist(), float(pose[2, 3]) + height / 2],
        # As wide as an annotator draws them: range noise stays inside.
        "size": [edge + 2 * _BOX_MARGIN for edge in (width, length, height)],
        "rotation": yaw_quaternion(pose),
        "prev": "",
        "next": "",
        "num_lidar_pts": returns,
        "num_radar_pts": 0,
    }


def instances(key: str, actors: Iterable[Actor], annotations: list[Record]) -> list[Record]:
    """Instances of the annotated actors; also links each actor's annotations."""
    records = []
    for actor in actors:
        own = token(key, "instance", actor.number)
        chain = [a for a in annotations if a["instance_token"] == own]
        if not chain:
            continue
        link(chain)
        records.append(
            {
                "token": own,
                "category_token": token("category", actor.category),
                "nbr_annotations": len(chain),
                "first_annotation_token": chain[0]["token"],
                "last_annotation_token": chain[-1]["token"],
            }
        )
    return records
