"""The classes of Occ3D-nuScenes: the recipes' taxonomy, and an example of one.

The tables of nuScenes and the synthetic town speak of these classes too, so they belong to the
package; ``configs/_base_/taxonomies/occ3d_nuscenes.py`` is a link to this file. Another taxonomy is
a file like it: ``docs/components.md``.
"""

taxonomy = {
    # By their ids, from 0; 17 at most, and 17 is free space whatever there is.
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
    # Can move: those of mIoU_D; made labels follow each object along its track.
    "moving": [
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    # Have instances (RayPQ).
    "things": [
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    # Never in a box.
    "stuff": [
        *("driveable_surface", "other_flat", "sidewalk", "terrain"),
        *("manmade", "vegetation"),
    ],
    # Lose a tie between the returns in a voxel.
    "ground": ["driveable_surface", "other_flat", "sidewalk", "terrain"],
    # Closed, and alike on both sides: made labels complete what was not seen of them.
    "bodies": ["bus", "car", "truck"],
    # Of what nothing names.
    "rest": "others",
    # What a detector is asked for, a caption each: nouns that others found to work on nuScenes.
    # 'others' has none: nothing names what is left.
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
    # From the classes of semantic segmentation models, by the name that --class-map takes. On a
    # road, what a Cityscapes model takes for a train is a long bus.
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
