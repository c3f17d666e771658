"""Labels of worlds small enough to work out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.structures.taxonomy import CAMERAS, FREE, SKY_2D, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.mesh import Paint, box, concatenate
from minkocc.synthetic.occupancy import label_keyframe, look_around, sample_world
from minkocc.synthetic.rig import LIDAR_RANGE
from minkocc.synthetic.sensors import sweep_lidar, take_picture
from minkocc.synthetic.tracer import Tracer
from minkocc.synthetic.world import World, build_world

WALL = 12.2  # metres ahead of the ego vehicle, in the middle of a voxel


@pytest.fixture(scope="module")
def walled() -> World:
    """A flat world whose only objects are the ground and a wall across the road."""
    world = build_world(0, 0, 1)
    still = dataclasses.replace(world.ground.road, waves=np.zeros((1, 4)))
    ground = dataclasses.replace(world.ground, road=still)
    pose = dataclasses.replace(world, ground=ground).ego_pose(0.0)
    floor = box((0, 0, -0.05), (150, 150, 0.1), Paint("flat.driveable_surface", (0.3, 0.3, 0.3)))
    wall = box((WALL + 0.5, 0, 2), (1.0, 30, 4), Paint("static.manmade", (0.5, 0.5, 0.5)))
    static = concatenate([floor, wall]).transformed(pose)
    return dataclasses.replace(world, ground=ground, actors=(), static=static)


def test_lidar_measures_the_wall(walled: World) -> None:
    sweep = sweep_lidar(Tracer(walled), 0.0, np.random.default_rng(0))
    lidar2ego = walled.rig.lidar.sensor2ego()
    points = sweep.points[:, :3] @ lidar2ego[:3, :3].T + lidar2ego[:3, 3]
    ahead = (points[:, 0] > 5) & (np.abs(points[:, 1]) < 10) & (points[:, 2] > 0.5)
    assert ahead.sum() > 500
    assert np.median(points[ahead, 0]) == pytest.approx(WALL, abs=0.02)
    assert np.linalg.norm(sweep.points[:, :3], axis=1).max() < LIDAR_RANGE + 0.2
    assert set(np.unique(sweep.points[:, 4])) <= set(range(32))


def test_camera_sees_wall_over_road_under_sky(walled: World) -> None:
    frame = take_picture(Tracer(walled), "CAM_FRONT", 0.0, (160, 90), np.random.default_rng(0))
    middle = frame.semantics[:, 80]
    assert middle[0] == SKY_2D
    assert middle[-1] == class_id("driveable_surface") + 1
    assert middle[50] == class_id("manmade") + 1
    mount = walled.rig.mounts["CAM_FRONT"].translation[0]
    assert frame.distance[50, 80] == pytest.approx(WALL - mount, abs=0.1)


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
