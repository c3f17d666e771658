# The 17 classes of Occ3D-nuScenes, which every nuScenes root has. Another taxonomy is a file like
# this one: docs/components.md#another-taxonomy.
taxonomy = dict(
    classes=dict(  # by id, from 0, each with its colour; 17 at most. Free space is 17 always
        others=[20, 20, 20],
        barrier=[255, 130, 60],
        bicycle=[255, 182, 193],
        bus=[255, 230, 0],
        car=[0, 140, 255],
        construction_vehicle=[0, 230, 230],
        motorcycle=[190, 130, 0],
        pedestrian=[235, 0, 20],
        traffic_cone=[255, 235, 150],
        trailer=[135, 65, 0],
        truck=[160, 45, 240],
        driveable_surface=[235, 70, 235],
        other_flat=[140, 137, 137],
        sidewalk=[85, 10, 85],
        terrain=[150, 230, 85],
        manmade=[215, 215, 235],
        vegetation=[10, 165, 20],
    ),
    # Can move: those of mIoU_D; made labels follow each object along its track.
    moving=[
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    # Have instances (RayPQ).
    things=[
        *("bicycle", "bus", "car", "construction_vehicle"),
        *("motorcycle", "pedestrian", "trailer", "truck"),
    ],
    # Never in a box.
    stuff=[
        *("driveable_surface", "other_flat", "sidewalk", "terrain"),
        *("manmade", "vegetation"),
    ],
    # Lose a tie between the returns in a voxel.
    ground=["driveable_surface", "other_flat", "sidewalk", "terrain"],
    # Closed, and alike on both sides: made labels complete what was not seen of them.
    bodies=["bus", "car", "truck"],
    # Of what nothing names.
    rest="others",
    # What a detector is asked for, a caption each. 'others' has none: nothing names what is left.
    prompts=[
        dict(
            car=["car", "sedan"],
            truck=["truck"],
            bus=["bus"],
            trailer=["trailer"],
            construction_vehicle=["crane", "excavator"],
            bicycle=["bicycle", "bicyclist"],
            motorcycle=["motorcycle", "motorcyclist"],
        ),
        dict(
            pedestrian=["pedestrian"],
            traffic_cone=["traffic cone"],
            barrier=["barrier", "barricade"],
        ),
        dict(
            driveable_surface=["road", "highway"],
            sidewalk=["sidewalk"],
            terrain=["grass", "soil", "sand", "hill"],
            other_flat=["traffic island", "rail track", "water"],
        ),
        dict(
            manmade=[
                *("building", "wall", "fence", "pole", "bridge", "billboard"),
                *("traffic light", "street sign", "hydrant"),
            ],
            vegetation=["tree", "bush"],
        ),
        dict(sky=["sky"]),
    ],
    # From the classes of semantic segmentation models, by the name that --class-map takes.
    class_maps=dict(
        cityscapes={
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
            "train": "bus",  # on a road, what such a model takes for a train is a long bus
            "motorcycle": "motorcycle",
            "bicycle": "bicycle",
        },
    ),
)
