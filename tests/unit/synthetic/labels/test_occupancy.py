"""Labels of worlds small enough to work out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.structures.occupancy_label import OccupancyLabel
from minkocc.structures.taxonomy import CAMERAS, FREE, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.labels.occupancy import (
    _apart,
    label_keyframe,
    look_around,
    sample_world,
)
from minkocc.synthetic.meshes.mesh import Paint, box
from minkocc.synthetic.sensing.sensors import sweep_lidar, take_picture
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.traffic import Actor, Track
from minkocc.synthetic.town.world import World
from tests.unit.synthetic.walled import WALL, walled_world


@pytest.fixture(scope="module")
def walled() -> World:
    return walled_world()


def test_label_of_the_wall(walled: World) -> None:
    tracer, pose = Tracer(walled), walled.ego_pose(0.0)
    rng = np.random.default_rng(0)
    sweep = sweep_lidar(tracer, 0.0, rng)
    samples = sample_world(walled, pose[None, :3, 3], rng)
    sight = look_around(tracer, samples, [0.0], [sweep])
    depths = {c: take_picture(tracer, c, 0.0, (160, 90), rng).distance for c in CAMERAS}
    label = label_keyframe(walled, samples, sight, 0.0, dict.fromkeys(CAMERAS, 0.0), depths)

    def at(x: float, y: float, z: float) -> tuple[int, ...]:
        return tuple(OCC3D_GRID.to_index(np.array([x, y, z])))

    assert label.semantics[at(WALL + 0.1, 0.1, 2.1)] == class_id("manmade")
    assert label.semantics[at(8.0, 0.1, 0.0)] == class_id("driveable_surface")
    assert label.semantics[at(8.0, 0.1, 1.0)] == FREE
    assert label.mask_lidar[at(8.0, 0.1, 1.0)]
    # Nothing behind the wall is observed, and it hides the road.
    behind = (slice(at(WALL + 2, 0, 0)[0], None), slice(75, 125), slice(0, 8))
    assert (label.semantics[behind] == FREE).all()
    assert not label.mask_lidar[behind].any()
    assert label.mask_camera[at(WALL + 0.1, 0.1, 2.1)]
    # Left of the car, close to its wheels, no camera looks.
    assert not label.mask_camera[at(0.9, 1.0, 0.0)]


def labels_at(world: World, times: list[float]) -> list[OccupancyLabel]:
    tracer, rng = Tracer(world), np.random.default_rng(0)
    sweeps = [sweep_lidar(tracer, time, rng) for time in times]
    places = np.stack([world.ego_pose(time)[:3, 3] for time in times])
    samples = sample_world(world, places, rng)
    sight = look_around(tracer, samples, times, sweeps)
    out = []
    for time in times:
        depths = {c: take_picture(tracer, c, time, (160, 90), rng).distance for c in CAMERAS}
        at = dict.fromkeys(CAMERAS, time)
        out.append(label_keyframe(world, samples, sight, time, at, depths))
    return out


def test_a_mover_is_where_it_is_at_each_keyframe_and_whole(walled: World) -> None:
    s, d, _ = walled.ego.at(0.0)
    cube = box((0, 0, 1), (3.2, 1.6, 2), Paint("vehicle.car", (0.5, 0.5, 0.5)))
    time = np.array([-1.0, 1.0])
    # It drives 4 m a second ahead of the standing ego vehicle, 4 m to its side.
    track = Track(time, s + 2.0 + 4.0 * time, np.full(2, d + 4.0), np.zeros(2))
    actor = Actor(0, "vehicle.car", cube, track, "vehicle.moving")
    still = Track.still(float(s), float(d))
    world = dataclasses.replace(walled, actors=(actor,), ego=still)
    for time_, label in zip((0.0, 0.5), labels_at(world, [0.0, 0.5])):
        found = OCC3D_GRID.to_centre(np.argwhere(label.semantics == class_id("car")))
        # Its own frame knows no left or right traffic.
        to_actor = np.linalg.inv(actor.pose(world.ground, time_)) @ world.ego_pose(time_)
        local = found @ to_actor[:3, :3].T + to_actor[:3, 3]
        assert (np.abs(local) < [1.6 + 0.45, 0.8 + 0.45, 2.5]).all()
        # Every side of it is there, though the LiDAR sees two.
        assert local[:, 0].min() < -1.2 < 1.2 < local[:, 0].max()
        assert local[:, 1].min() < -0.4 < 0.4 < local[:, 1].max()


def test_surfaces_are_sampled_around_the_whole_of_a_long_drive() -> None:
    positions = np.zeros((41, 3))
    positions[:, 0] = np.concatenate([np.zeros(5), np.linspace(0, 150, 36)])
    chosen = positions[_apart(positions), 0]
    assert chosen[0] == 0
    assert chosen[-1] == 150
    assert np.diff(chosen).max() <= 150 / 35 + 4.0
    assert _apart(np.zeros((3, 3))) == [0, 2]
