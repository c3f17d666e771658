"""The 32 nuScenes-lidarseg categories in their official order, and their Occ3D classes."""

from __future__ import annotations

import numpy as np

from minkocc.structures.taxonomy import CATEGORY_TO_ID

CATEGORIES: tuple[str, ...] = (
    "noise",
    "animal",
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.barrier",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.other",
    "static.vegetation",
    "vehicle.ego",
)
"""Category names by nuScenes-lidarseg index."""

CATEGORY_CLASS = np.array([CATEGORY_TO_ID[name] for name in CATEGORIES], np.uint8)
"""Occ3D class by nuScenes-lidarseg index."""


def category_index(name: str) -> int:
    """The nuScenes-lidarseg index of a category name.

    Raises:
        ValueError: the name is not one of ``CATEGORIES``.
    """
    if name not in CATEGORIES:
        raise ValueError(f"unknown category {name!r}: expected one of {', '.join(CATEGORIES)}")
    return CATEGORIES.index(name)
