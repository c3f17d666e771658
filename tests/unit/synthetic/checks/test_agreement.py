"""LiDAR, labels, cameras and boxes tell one story, and the measures notice where they do not."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import Box
from pyquaternion import Quaternion

from minkocc.structures.taxonomy import CAMERAS, FREE, SKY_2D, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.categories import category_index
from minkocc.synthetic.checks.agreement import (
    Agreement,
    BoxRecord,
    ReadKeyframe,
    View,
    labels_in_images,
    measure,
    merge,
    points_in_boxes,
    points_in_voxels,
    read_keyframe,
    share,
)

CAR = category_index("vehicle.car")
ROAD = category_index("flat.driveable_surface")
EGO = category_index("vehicle.ego")
NOISE = category_index("noise")


@pytest.fixture(scope="module")
def keyframes(nusc: NuScenes) -> list[ReadKeyframe]:
    return [read_keyframe(nusc, sample["token"], with_views=True) for sample in nusc.sample]


@pytest.fixture(scope="module")
def figures(keyframes: list[ReadKeyframe]) -> Agreement:
    return merge(map(measure, keyframes))


@pytest.mark.parametrize(
    ("figure", "limit"),
    [
        ("points_in_boxes", 0.99),
        ("boxes_count_points/nearly", 0.99),
        ("static_in_voxels", 0.98),
        ("static_in_voxels/6", 0.98),
        ("static_in_voxels/exact", 0.9),
        ("moving_in_voxels", 0.98),
        ("moving_in_voxels/under_way", 0.98),
        ("moving_in_voxels/6", 0.98),
        ("moving_in_voxels/exact", 0.9),
        ("labels_in_images", 0.98),
        ("labels_in_images/near", 0.98),
        ("labels_in_images/far", 0.98),
        ("labels_in_images/exact", 0.7),
    ],
)
def test_the_written_world_agrees(figures: Agreement, figure: str, limit: float) -> None:
    assert figures[figure][:, 1].sum() > 100
    assert share(figures[figure]) > limit


def test_boxes_moved_by_a_metre_lose_their_points(
    keyframes: list[ReadKeyframe], figures: Agreement
) -> None:
    def moved(record: BoxRecord) -> BoxRecord:
        box = copy.deepcopy(record.box)
        box.translate(np.array([1.0, 0.0, 0.0]))
        return dataclasses.replace(record, box=box)

    off = merge(
        points_in_boxes(dataclasses.replace(k, boxes=tuple(map(moved, k.boxes)))) for k in keyframes
    )
    assert share(off["points_in_boxes"]) < 0.8
    assert share(off["boxes_count_points/nearly"]) < 0.5
    assert (off["points_in_boxes"][:, 1] == figures["points_in_boxes"][:, 1]).all()


@pytest.mark.parametrize("shift", [(2, 0, 0), (0, 2, 0), (0, 0, 2)])
def test_shifted_labels_agree_with_nothing(
    keyframes: list[ReadKeyframe], shift: tuple[int, int, int]
) -> None:
    def shifted(keyframe: ReadKeyframe) -> ReadKeyframe:
        arrays = (np.roll(a, shift, (0, 1, 2)) for a in (keyframe.semantics, keyframe.mask_camera))
        return dataclasses.replace(keyframe, **dict(zip(("semantics", "mask_camera"), arrays)))

    off = merge(measure(shifted(keyframe)) for keyframe in keyframes)
    assert share(off["static_in_voxels"]) < 0.97
    assert share(off["moving_in_voxels"]) < 0.95
    assert share(off["labels_in_images"]) < 0.96


def moved_camera(step: tuple[float, float, float]) -> Callable[[View], View]:
    shift = np.eye(4)
    shift[:3, 3] = step
    return lambda view: dataclasses.replace(view, ego2cam=view.ego2cam @ shift)


def turned_camera(degrees: float) -> Callable[[View], View]:
    turn = Quaternion(axis=[0, 0, 1], degrees=degrees).transformation_matrix
    return lambda view: dataclasses.replace(view, ego2cam=view.ego2cam @ turn)


@pytest.mark.parametrize(
    "spoil", [moved_camera((0.8, 0, 0)), moved_camera((0, 0, 0.8)), turned_camera(3)]
)
def test_a_wrong_camera_pose_shows_other_things(
    keyframes: list[ReadKeyframe], spoil: Callable[[View], View]
) -> None:
    off = merge(labels_in_images(k, spoil(view)) for k in keyframes for view in k.views)
    assert share(off["labels_in_images"]) < 0.96


def test_images_of_another_camera_show_other_things(keyframes: list[ReadKeyframe]) -> None:
    off = merge(
        labels_in_images(k, dataclasses.replace(view, ids=other.ids))
        for k in keyframes
        for view, other in zip(k.views, k.views[1:])
    )
    assert share(off["labels_in_images"]) < 0.6


def test_views_go_through_their_own_ego_pose(nusc: NuScenes, keyframes: list[ReadKeyframe]) -> None:
    gaps = []
    for sample, keyframe in zip(nusc.sample, keyframes):
        assert [view.channel for view in keyframe.views] == list(CAMERAS)
        for view in keyframe.views:
            data = nusc.get("sample_data", sample["data"][view.channel])
            mount = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])["translation"]
            gaps.append(np.linalg.norm(np.linalg.inv(view.ego2cam)[:3, 3] - mount))
    # The vehicle drives at up to 10 m/s and a camera triggers up to 50 ms from the LiDAR.
    assert 0.05 < max(gaps) < 0.5


# A world worked by hand: two points on a car in a box, one on the road.


def hand_made(**changes: object) -> ReadKeyframe:
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    points = np.array([[5.1, 0.1, 0.1], [5.5, 0.1, 0.1], [8.1, 0.1, -0.9], [2.0, 2.0, 0.0]])
    index = OCC3D_GRID.to_index(points)
    semantics[tuple(index[:2].T)] = class_id("car")
    semantics[tuple(index[2])] = class_id("driveable_surface")
    box = Box([5.3, 0.0, 0.2], [2.0, 1.0, 1.5], Quaternion(), name="vehicle.car")
    keyframe = ReadKeyframe(
        points,
        np.array([CAR, CAR, ROAD, EGO], np.uint8),
        np.eye(4),
        (BoxRecord(box, 2, True),),
        semantics,
        semantics != FREE,
        (),
    )
    return dataclasses.replace(keyframe, **changes)


def counts(figures: Agreement, name: str) -> tuple[int, int]:
    right, total = figures[name].sum(0)
    return int(right), int(total)


def test_hand_made_points_and_boxes() -> None:
    found = measure(hand_made())
    assert counts(found, "points_in_boxes") == (2, 2)
    assert counts(found, "boxes_count_points") == (1, 1)
    assert counts(found, "static_in_voxels") == (1, 1)
    assert counts(found, "moving_in_voxels") == (2, 2)
    assert counts(found, "moving_in_voxels/under_way") == (2, 2)
    assert found["moving_in_voxels"][class_id("car")].tolist() == [2, 2]
    assert not any(name.startswith("labels_in_images") for name in found)


def test_a_box_of_another_category_holds_nothing() -> None:
    keyframe = hand_made()
    keyframe.boxes[0].box.name = "vehicle.truck"
    found = points_in_boxes(keyframe)
    assert counts(found, "points_in_boxes") == (0, 2)
    assert counts(found, "boxes_count_points") == (0, 1)


def test_a_miscounted_box_is_noticed() -> None:
    keyframe = hand_made()
    three = tuple(dataclasses.replace(record, num_lidar_pts=3) for record in keyframe.boxes)
    found = points_in_boxes(dataclasses.replace(keyframe, boxes=three))
    assert counts(found, "boxes_count_points") == (0, 1)
    assert counts(found, "boxes_count_points/nearly") == (1, 1)


def test_points_of_a_parked_car_are_not_under_way() -> None:
    keyframe = hand_made()
    parked = tuple(dataclasses.replace(record, moves=False) for record in keyframe.boxes)
    found = points_in_voxels(dataclasses.replace(keyframe, boxes=parked))
    assert counts(found, "moving_in_voxels") == (2, 2)
    assert counts(found, "moving_in_voxels/under_way") == (0, 0)


@pytest.mark.parametrize(
    ("step", "right"),
    [
        ((0, 0, 0), (1, 1, 1)),
        ((0, 1, 0), (1, 1, 0)),
        ((1, 1, 0), (1, 0, 0)),
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 2), (0, 0, 0)),
    ],
)
def test_neighbours_of_a_voxel(step: tuple[int, ...], right: tuple[int, ...]) -> None:
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    road = OCC3D_GRID.to_index(np.array([8.1, 0.1, -0.9]))
    semantics[tuple(road + step)] = class_id("driveable_surface")
    found = points_in_voxels(hand_made(semantics=semantics))
    names = ("static_in_voxels", "static_in_voxels/6", "static_in_voxels/exact")
    assert [counts(found, name) for name in names] == [(n, 1) for n in right]


def test_grid_border_noise_and_ego_do_not_count() -> None:
    points = np.array([[39.9, 39.9, 5.3], [40.1, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    category = np.array([ROAD, ROAD, EGO, NOISE], np.uint8)
    found = points_in_voxels(hand_made(points=points, category=category))
    assert counts(found, "static_in_voxels") == (0, 1)
    assert counts(found, "moving_in_voxels") == (0, 0)
    assert share(found["moving_in_voxels"]) == 1.0


# One camera at the origin that looks along x, and a wall of one voxel 10 m ahead.


def looking_ahead(ids: np.ndarray) -> View:
    focal = 80.0
    cam2img = np.array([[focal, 0, ids.shape[1] / 2], [0, focal, ids.shape[0] / 2], [0, 0, 1]])
    ego2cam = np.eye(4)
    ego2cam[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    return View("CAM_FRONT", ids, cam2img, ego2cam)


def behind_wall(visible: bool = True) -> ReadKeyframe:
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    x, y, z = OCC3D_GRID.to_index(np.array([10.1, 0.0, 0.0]))
    semantics[x, y - 5 : y + 5, z - 2 : z + 3] = class_id("manmade")
    return hand_made(semantics=semantics, mask_camera=np.full(semantics.shape, visible))


def test_pixels_that_show_their_voxel() -> None:
    ids = np.full((64, 96), class_id("manmade") + 1, np.uint8)
    found = labels_in_images(behind_wall(), looking_ahead(ids))
    right, total = counts(found, "labels_in_images")
    # The wall is 4 m wide and 2 m high: 32 by 16 pixels, of which every eighth is asked.
    assert right == total == 8
    assert counts(found, "labels_in_images/near") == (8, 8)
    assert counts(found, "labels_in_images/far") == (0, 0)
    assert counts(found, "labels_in_images/exact") == (8, 8)


def test_rays_go_through_the_centres_of_pixels() -> None:
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    x, y, z = OCC3D_GRID.to_index(np.array([10.1, 0.1, -0.3]))
    semantics[x, y - 1 : y + 3, z] = class_id("manmade")
    keyframe = hand_made(semantics=semantics, mask_camera=semantics != FREE)
    found = labels_in_images(keyframe, looking_ahead(np.full((64, 96), SKY_2D, np.uint8)))
    # 38.4 to 51.2 across and 33.6 to 36.8 down: of every eighth pixel only (44.5, 36.5).
    assert counts(found, "labels_in_images") == (0, 1)


def test_pixels_that_show_something_else() -> None:
    view = looking_ahead(np.full((64, 96), SKY_2D, np.uint8))
    assert counts(labels_in_images(behind_wall(), view), "labels_in_images") == (0, 8)


def test_a_class_within_the_voxels_own_outline_is_enough() -> None:
    ids = np.full((64, 96), SKY_2D, np.uint8)
    pixels = labels_in_images(behind_wall(), looking_ahead(ids))["labels_in_images/exact"]
    assert pixels[:, 1].sum() == 8
    ids[:, ::3] = class_id("manmade") + 1  # a picket fence; a voxel covers more than 3 pixels
    found = labels_in_images(behind_wall(), looking_ahead(ids))
    assert counts(found, "labels_in_images") == (8, 8)
    assert counts(found, "labels_in_images/exact")[0] < 8


def test_unseen_voxels_and_unlabelled_pixels_do_not_count() -> None:
    sky = looking_ahead(np.full((64, 96), SKY_2D, np.uint8))
    nothing = looking_ahead(np.zeros((64, 96), np.uint8))
    assert counts(labels_in_images(behind_wall(False), sky), "labels_in_images") == (0, 0)
    assert counts(labels_in_images(behind_wall(), nothing), "labels_in_images") == (0, 0)
