"""Labels of scenes that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from minkocc.occupancy_labels.label import label_scene
from minkocc.occupancy_labels.scene import Keyframe, SceneError, Sweep
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.structures.taxonomy import FREE
from tests.unit.occupancy_labels.scenes import (
    CAR,
    MANMADE,
    ROAD,
    ahead,
    at,
    car,
    keyframe,
    pose,
    seen,
    sheet,
)

AS_SEEN = LabelSettings(complete_vehicles=False, gap=0, rays_per_crossing=10**9)
WALL = sheet(10.1, (-6.0, 6.0), (0.0, 4.0))


def labels(keyframes, settings=AS_SEEN):
    return [label for _, label in label_scene(keyframes, settings)]


def occupied(label, kind):
    return {tuple(index) for index in np.argwhere(label.semantics == kind).tolist()}


def test_a_wall_is_where_it_stands_and_hides_what_is_behind_it():
    (label,) = labels([keyframe(0.0, [seen(WALL, pose(), 0.0, MANMADE)], cameras=[ahead(pose())])])
    assert occupied(label, MANMADE) == {
        (x, y, z)
        for x, y, z in np.ndindex(200, 200, 16)
        if x == 125 and 85 <= y < 115 and 2 <= z < 12
    } | {(125, y, z) for y in range(85, 115) for z in (12,)}
    assert label.semantics[at(5.0, 0.1, 1.5)] == FREE
    assert label.mask_lidar[at(5.0, 0.1, 1.5)]
    assert label.mask_camera[at(5.0, 0.1, 1.5)]
    assert label.mask_camera[at(10.1, 0.1, 1.5)]
    assert not label.mask_lidar[at(12.0, 0.1, 1.5)]
    assert not label.mask_camera[at(12.0, 0.1, 1.5)]
    assert not label.mask_lidar[at(-5.0, 0.1, 1.5)]  # no ray went there
    assert not (label.mask_camera & ~label.mask_lidar.astype(bool)).any()


def drive(speed, sweeps=5):
    """Two keyframes half a second apart; a car drives past the wall, 6 m ahead."""
    side = sheet((-1.9, 1.9), -0.9, (0.3, 1.5))
    out = []
    for k in range(3):
        own = []
        for s in range(sweeps if k else 1):
            time = 0.5 * k - 0.5 / sweeps * s
            points = np.concatenate([side + np.array([6.0, speed * time, 0.0]), WALL])
            kinds = np.repeat(np.uint8([CAR, MANMADE]), [len(side), len(WALL)])
            own.append(seen(points, pose(), time, None if s else kinds))
        out.append(keyframe(0.5 * k, own, [car("a", 6.0, speed * 0.5 * k)]))
    return out


@pytest.mark.parametrize("speed", [4.0, 12.0])
def test_a_car_that_drives_leaves_no_trace(speed):
    for k, label in enumerate(labels(drive(speed))):
        cars = np.array(sorted(occupied(label, CAR)))
        y = (cars[:, 1] + 0.5) * 0.4 - 40
        assert np.abs(y - (speed * 0.5 * k - 0.9)).max() < 0.45
        assert len(cars) == 1 * 10 * 4  # its side is 3.8 m long and 1.2 m high
        assert occupied(label, MANMADE) >= {(125, y, 5) for y in range(85, 115)}


def test_a_parked_car_is_whole_of_what_any_sweep_saw():
    """Two keyframes see one half each; both labels hold both."""
    front, back = sheet((4.1, 5.9), 2.1, (0.3, 1.5)), sheet((6.1, 7.9), 2.1, (0.3, 1.5))
    box = car("a", 6.0, 3.0)
    frames = [
        keyframe(t, [seen(part, pose(), t, CAR)], [box]) for t, part in ((0.0, front), (0.5, back))
    ]
    first, second = labels(frames)
    assert (first.semantics == second.semantics).all()
    assert {x for x, _, _ in occupied(first, CAR)} == set(range(110, 120))


def test_a_parked_car_stays_where_no_box_is_annotated():
    body = sheet((4.1, 7.9), 2.1, (0.3, 1.5))
    boxed = [keyframe(t, [seen(body, pose(), t, CAR)], [car("a", 6.0, 3.0)]) for t in (0.0, 0.5)]
    late = keyframe(5.0, [seen(WALL, pose(), 5.0, MANMADE)])
    assert occupied(labels([*boxed, late])[2], CAR) == occupied(labels(boxed)[0], CAR)


def test_a_completed_car_has_its_far_side_and_its_roof():
    body = sheet((4.1, 7.9), 2.1, (0.3, 1.5))
    frames = [keyframe(t, [seen(body, pose(), t, CAR)], [car("a", 6.0, 3.0)]) for t in (0.0, 0.5)]
    label = labels(frames, replace(AS_SEEN, complete_vehicles=True))[0]
    for y in (2.1, 3.0, 3.9):
        assert label.semantics[at(6.0, y, 1.49)] == CAR, y
    assert label.semantics[at(6.0, 3.0, 0.9)] == FREE  # it is hollow
    assert not label.mask_lidar[at(6.0, 3.0, 0.9)]


def test_sweeps_without_classes_take_those_of_the_nearest_labelled_points():
    whole = sheet(10.1, (-6.0, 6.0), (0.0, 4.0))
    sparse = keyframe(0.0, [seen(whole[::40], pose(), 0.0, MANMADE), seen(whole, pose(), 0.0)])
    (label,) = labels([sparse])
    assert len(occupied(label, MANMADE)) > 300
    assert set(np.unique(label.semantics)) == {MANMADE, FREE}


def test_without_any_class_the_boxes_alone_say_what_is_what():
    body = np.concatenate([sheet((4.1, 7.9), 2.1, (0.3, 1.5)), WALL])
    frames = [keyframe(t, [seen(body, pose(), t)], [car("a", 6.0, 3.0)]) for t in (0.0, 0.5)]
    label = labels(frames)[0]
    assert label.semantics[at(6.0, 2.1, 1.0)] == CAR
    assert label.semantics[at(10.1, 0.1, 1.0)] == 0


def test_the_recording_vehicle_is_in_no_label():
    bonnet = sheet((1.0, 3.0), 0.05, 0.9)
    settings = replace(AS_SEEN, ego_box=((-1.2, -1.1, -0.2), (3.7, 1.1, 2.1)))
    places = (pose(), pose(x=3.0))
    frames = [
        keyframe(
            float(i),
            [
                seen(bonnet + np.array([3.0 * i, 0, 0]), p, float(i), MANMADE),
                seen(WALL, p, float(i), MANMADE),
            ],
            ego2world=p,
        )
        for i, p in enumerate(places)
    ]
    for label in labels(frames, settings):
        assert label.semantics[at(2.0, 0.05, 0.9)] == FREE
        assert (label.semantics != FREE).any()


def test_a_label_lies_in_the_frame_of_its_keyframe():
    """The vehicle turns left by a right angle on the spot: the wall is then on its right."""
    turned = pose(yaw=np.pi / 2)
    frames = [
        keyframe(0.0, [seen(WALL, pose(), 0.0, MANMADE)]),
        keyframe(0.5, [seen(WALL, turned, 0.5, MANMADE)], ego2world=turned),
    ]
    first, second = labels(frames)
    assert first.semantics[at(10.1, 2.0, 1.0)] == MANMADE
    assert second.semantics[at(2.0, -10.1, 1.0)] == MANMADE
    assert second.semantics[at(10.1, 2.0, 1.0)] == FREE


def test_gaps_between_beams_are_closed_and_open_space_is_not():
    rows = np.concatenate([sheet(10.1, (-6.0, 6.0), z) for z in (0.3, 1.5, 2.7)])  # 3 voxels apart
    frame = keyframe(0.0, [seen(rows, pose(), 0.0, MANMADE)])
    (open_,), (closed,) = labels([frame]), labels([frame], replace(AS_SEEN, gap=2))
    assert len(occupied(open_, MANMADE)) == 3 * 30
    assert occupied(closed, MANMADE) == {(125, y, z) for y in range(85, 115) for z in range(3, 10)}
    # A second wall looks through the gaps of the first: they are windows.
    behind = sheet(14.1, (-8.0, 8.0), (0.0, 4.0), 0.05)
    frame = keyframe(0.0, [seen(np.concatenate([rows, behind]), pose(), 0.0, MANMADE)])
    (label,) = labels([frame], replace(AS_SEEN, gap=2))
    assert label.semantics[at(10.1, 0.1, 0.9)] == FREE


def test_nothing_is_filled_where_the_lidar_could_not_look():
    """The inside of two walls, 2.4 m apart, each of which was seen from its own side."""
    there = pose(x=24.0, yaw=np.pi)
    far = sheet(12.5, (-6.0, 6.0), (0.0, 4.0))
    frames = [
        keyframe(0.0, [seen(WALL, pose(), 0.0, MANMADE)]),
        keyframe(0.5, [seen(far, there, 0.5, MANMADE)], ego2world=there),
    ]
    label = labels(frames, replace(AS_SEEN, gap=5))[0]
    assert label.semantics[at(12.5, 0.1, 1.5)] == MANMADE
    assert (label.semantics[128, 90:110, 4:11] == FREE).all()
    assert not label.mask_lidar[128, 90:110, 4:11].any()


def test_a_road_far_away_is_seen_across_its_bumps():
    road = sheet((3.0, 38.0), (-3.0, 3.0), 0.2)
    road[:, 2] += 0.02 * np.sin(road[:, 0])  # it crosses a border of voxels again and again
    frame = keyframe(0.0, [seen(road, pose(), 0.0, ROAD)], cameras=[ahead(pose())])
    (label,) = labels([frame])
    ahead_ = (label.semantics == ROAD) & (np.arange(200) > 112)[:, None, None]
    assert label.mask_camera[ahead_].mean() > 0.95


def test_only_the_wanted_keyframes_are_labelled():
    frames = drive(4.0)
    (only,) = label_scene(frames, AS_SEEN, {"t0.5"})
    assert only[0].token == "t0.5"
    assert (only[1].semantics == labels(frames)[1].semantics).all()


def test_a_scene_of_nothing_is_refused():
    with pytest.raises(SceneError, match="no LiDAR return"):
        labels([Keyframe("a", 0.0, pose())])


def test_what_makes_no_sense_is_refused():
    points = np.zeros((3, 3))
    with pytest.raises(SceneError, match="one a point"):
        Sweep(points, pose(), pose(), 0.0, np.zeros(2, np.uint8))
    with pytest.raises(SceneError, match="class 18"):
        Sweep(points, pose(), pose(), 0.0, np.full(3, 18, np.uint8))
    with pytest.raises(SceneError, match="no rotation"):
        Sweep(points, 2 * pose(), pose(), 0.0)
    with pytest.raises(SceneError, match="expected \\(N, 3\\)"):
        Sweep(np.zeros((3, 4)), pose(), pose(), 0.0)
    with pytest.raises(SceneError, match="two boxes at one time"):
        labels([keyframe(0.0, [seen(WALL, pose(), 0.0)], [car("a", 1, 2), car("a", 3, 4)])])
    with pytest.raises(SceneError, match="length, width and height"):
        replace(car("a", 1, 2), size=(0.0, 1.0, 1.0))
    with pytest.raises(SceneError, match="class 17"):
        replace(car("a", 1, 2), class_id=17)
