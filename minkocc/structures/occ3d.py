"""The classes of Occ3D-nuScenes, as a recipe's ``taxonomy`` says them.

The tables of nuScenes and the synthetic town speak of these classes; that is why they stand in the
code too. ``configs/_base_/taxonomies/occ3d_nuscenes.py`` is what recipes and taxonomies of one's
own begin with.
"""

from __future__ import annotations

from typing import Any

OCC3D_NUSCENES: dict[str, Any] = {
    "classes": [
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
    ],
    "colours": {
        "others": "#141414",
        "barrier": "#ff823c",
        "bicycle": "#ffb6c1",
        "bus": "#ffe600",
        "car": "#008cff",
        "construction_vehicle": "#00e6e6",
        "motorcycle": "#be8200",
        "pedestrian": "#eb0014",
        "traffic_cone": "#ffeb96",
        "trailer": "#874100",
        "truck": "#a02df0",
        "driveable_surface": "#eb46eb",
        "other_flat": "#8c8989",
        "sidewalk": "#550a55",
        "terrain": "#96e655",
        "manmade": "#d7d7eb",
        "vegetation": "#0aa514",
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
