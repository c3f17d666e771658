"""Class names, colours and the maps between Occ3D's 3D ids, 2D pseudo-label ids and nuScenes.

3D ids are Occ3D-nuScenes': 0..16 are the nuScenes-lidarseg classes and 17 is free. 2D ids are
0 = unlabelled, 1..17 = 3D id + 1, 18 = sky.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = (
    "others",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
)
"""The 17 semantic classes, by 3D id."""

NUM_CLASSES = len(CLASSES)
FREE = NUM_CLASSES
"""The 3D id of free space."""

UNLABELLED_2D = 0
SKY_2D = NUM_CLASSES + 1
NUM_IDS_2D = NUM_CLASSES + 2

NAMES_2D: tuple[str, ...] = ("unlabelled", *CLASSES, "sky")
"""What the 2D ids are called."""

DYNAMIC_IDS: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 9, 10)
"""Vehicles, riders and pedestrians: the classes of mIoU_D."""

WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN, WEAK_IGNORED, WEAK_DROPPED = 0, 1, 255, 254, 253
"""The values of an occupancy target. *Unknown* was never seen, and ``unknown`` says what is taught
there; *ignored* is in no loss whatever is chosen: rotated in from outside the grid; *dropped* is in
no loss either, nor is any coarse voxel that would be free without it."""

IGNORED, DROPPED = 255, 254
"""What a dense label holds in training beside Occ3D's ids: rotated in from outside; dropped."""
UNVOTED = 255
"""A voxel of the voted labels of which nothing is known, or nothing agreed on."""

OUTSIDE = ("label", "free", "ignore")
"""What the occupancy branch is taught of a dense label's voxels that no camera sees."""

UNKNOWN = ("free", "ignore")
"""What it is taught where a weak target knows nothing."""

PALETTE = np.array(
    [
        (20, 20, 20),  # others
        (255, 130, 60),  # barrier
        (255, 182, 193),  # bicycle
        (255, 230, 0),  # bus
        (0, 140, 255),  # car
        (0, 230, 230),  # construction_vehicle
        (190, 130, 0),  # motorcycle
        (235, 0, 20),  # pedestrian
        (255, 235, 150),  # traffic_cone
        (135, 65, 0),  # trailer
        (160, 45, 240),  # truck
        (235, 70, 235),  # driveable_surface
        (140, 137, 137),  # other_flat
        (85, 10, 85),  # sidewalk
        (150, 230, 85),  # terrain
        (215, 215, 235),  # manmade
        (10, 165, 20),  # vegetation
        (255, 255, 255),  # free
    ],
    dtype=np.uint8,
)
"""RGB colours by 3D id, free included."""

PALETTE_2D = np.concatenate([[(0, 0, 0)], PALETTE[:NUM_CLASSES], [(135, 206, 250)]]).astype(
    np.uint8
)
"""RGB colours by 2D id."""

# nuScenes category names (lidarseg's 32 classes) to the 3D ids of the occupancy challenge.
CATEGORY_TO_ID: dict[str, int] = {
    "noise": 0,
    "animal": 0,
    "human.pedestrian.adult": 7,
    "human.pedestrian.child": 7,
    "human.pedestrian.construction_worker": 7,
    "human.pedestrian.personal_mobility": 0,
    "human.pedestrian.police_officer": 7,
    "human.pedestrian.stroller": 0,
    "human.pedestrian.wheelchair": 0,
    "movable_object.barrier": 1,
    "movable_object.debris": 0,
    "movable_object.pushable_pullable": 0,
    "movable_object.trafficcone": 8,
    "static_object.bicycle_rack": 0,
    "vehicle.bicycle": 2,
    "vehicle.bus.bendy": 3,
    "vehicle.bus.rigid": 3,
    "vehicle.car": 4,
    "vehicle.construction": 5,
    "vehicle.emergency.ambulance": 0,
    "vehicle.emergency.police": 0,
    "vehicle.motorcycle": 6,
    "vehicle.trailer": 9,
    "vehicle.truck": 10,
    "flat.driveable_surface": 11,
    "flat.other": 12,
    "flat.sidewalk": 13,
    "flat.terrain": 14,
    "static.manmade": 15,
    "static.other": 0,
    "static.vegetation": 16,
    "vehicle.ego": 0,
}

CAMERAS: tuple[str, ...] = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
"""The order of the six views in every stacked array."""


def class_id(name: str) -> int:
    """The 3D id of a class name.

    Raises:
        ValueError: the name is not one of ``CLASSES``.
    """
    if name not in CLASSES:
        raise ValueError(f"unknown class {name!r}: expected one of {', '.join(CLASSES)}")
    return CLASSES.index(name)


def to_2d(semantics: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """2D ids of 3D ids, shape kept, uint8; free becomes unlabelled."""
    return np.where(semantics < NUM_CLASSES, semantics + 1, UNLABELLED_2D).astype(np.uint8)


def has_class_2d(labels: Any) -> Any:
    """Which 2D ids, an array or a tensor, are one of the 17 classes: neither unlabelled nor sky."""
    return (labels != UNLABELLED_2D) & (labels <= NUM_CLASSES)
