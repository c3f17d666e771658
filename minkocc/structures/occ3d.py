"""The classes of Occ3D-nuScenes, as a recipe's ``taxonomy`` says them.

The tables of nuScenes and the synthetic town speak of these classes; that is why they stand in the
code too. ``configs/_base_/taxonomies/occ3d_nuscenes.py`` is what recipes and taxonomies of one's
own begin with.
"""

from __future__ import annotations

from typing import Any

OCC3D_NUSCENES: dict[str, Any] = {
    "classes": {
        "others": [20, 20, 20],
        "barrier": [255, 130, 60],
        "bicycle": [255, 182, 193],
        "bus": [255, 230, 0],
        "car": [0, 140, 255],
        "construction_vehicle": [0, 230, 230],
        "motorcycle": [190, 130, 0],
        "pedestrian": [235, 0, 20],
        "traffic_cone": [255, 235, 150],
        "trailer": [135, 65, 0],
        "truck": [160, 45, 240],
        "driveable_surface": [235, 70, 235],
        "other_flat": [140, 137, 137],
        "sidewalk": [85, 10, 85],
        "terrain": [150, 230, 85],
        "manmade": [215, 215, 235],
        "vegetation": [10, 165, 20],
    },
    "moving": [
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    "things": [
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    "stuff": [
        *("driveable_surface", "other_flat", "sidewalk", "terrain"),
        *("manmade", "vegetation"),
    ],
    "ground": ["driveable_surface", "other_flat", "sidewalk", "terrain"],
    "bodies": ["bus", "car", "truck"],
    "rest": "others",
    # Nouns that others found to work on nuScenes. 'others' has none: nothing names what is left.
    "prompts": [
        {
            "car": ["car", "sedan"],
            "truck": ["truck"],
            "bus": ["bus"],
            "trailer": ["trailer"],
            "construction_vehicle": ["crane", "excavator"],
            "bicycle": ["bicycle", "bicyclist"],
            "motorcycle": ["motorcycle", "motorcyclist"],
        },
        {
            "pedestrian": ["pedestrian"],
            "traffic_cone": ["traffic cone"],
            "barrier": ["barrier", "barricade"],
        },
        {
            "driveable_surface": ["road", "highway"],
            "sidewalk": ["sidewalk"],
            "terrain": ["grass", "soil", "sand", "hill"],
            "other_flat": ["traffic island", "rail track", "water"],
        },
        {
            "manmade": [
                *("building", "wall", "fence", "pole", "bridge", "billboard"),
                *("traffic light", "street sign", "hydrant"),
            ],
            "vegetation": ["tree", "bush"],
        },
        {"sky": ["sky"]},
    ],
    # On a road, what a Cityscapes model takes for a train is a long bus.
    "class_maps": {
        "cityscapes": {
            "road": "driveable_surface",
            "sidewalk": "sidewalk",
            "building": "manmade",
            "wall": "manmade",
            "fence": "manmade",
            "pole": "manmade",
            "traffic light": "manmade",
            "traffic sign": "manmade",
            "vegetation": "vegetation",
            "terrain": "terrain",
            "sky": "sky",
            "person": "pedestrian",
            "rider": "pedestrian",
            "car": "car",
            "truck": "truck",
            "bus": "bus",
            "train": "bus",
            "motorcycle": "motorcycle",
            "bicycle": "bicycle",
        },
    },
}
