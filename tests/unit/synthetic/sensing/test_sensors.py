"""What LiDAR and cameras measure of a wall across a flat road."""

from __future__ import annotations

import numpy as np
import pytest

from minkocc.structures.taxonomy import SKY_2D, class_id
from minkocc.synthetic.categories import category_index
from minkocc.synthetic.rig import AZIMUTH_STEPS, LIDAR_RANGE, RANGE_NOISE
from minkocc.synthetic.sensing.sensors import LidarSweep, sweep_lidar, take_picture
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.world import World
from tests.unit.synthetic.walled import WALL, walled_world

NOISE, EGO, MANMADE = (category_index(n) for n in ("noise", "vehicle.ego", "static.manmade"))


@pytest.fixture(scope="module")
def walled() -> World:
    return walled_world()


@pytest.fixture(scope="module")
def sweep(walled: World) -> LidarSweep:
    return sweep_lidar(Tracer(walled), 0.0, np.random.default_rng(0))


def in_ego_frame(world: World, sweep: LidarSweep) -> np.ndarray:
    lidar2ego = world.rig.lidar.sensor2ego()
    return sweep.points[:, :3] @ lidar2ego[:3, :3].T + lidar2ego[:3, 3]


def test_lidar_measures_the_wall(walled: World, sweep: LidarSweep) -> None:
    points = in_ego_frame(walled, sweep)
    ahead = (points[:, 0] > 5) & (np.abs(points[:, 1]) < 10) & (points[:, 2] > 0.5)
    assert ahead.sum() > 500
    assert (sweep.category[ahead] == MANMADE).all()
    assert np.median(points[ahead, 0]) == pytest.approx(WALL, abs=0.02)
    straight = ahead & (np.abs(points[:, 1]) < 2)
    assert points[straight, 0].std() == pytest.approx(RANGE_NOISE, rel=0.2)
    assert np.linalg.norm(sweep.points[:, :3], axis=1).max() < LIDAR_RANGE + 0.2


def test_every_ray_leaves_a_point(sweep: LidarSweep) -> None:
    assert len(sweep.points) == 32 * AZIMUTH_STEPS == 34_688
    assert (np.bincount(sweep.points[:, 4].astype(int)) == AZIMUTH_STEPS).all()
    distance = np.linalg.norm(sweep.points[:, :3], axis=1)
    without_echo = sweep.category == NOISE
    assert 0.1 < without_echo.mean() < 0.6
    assert distance[without_echo].max() < 0.65
    assert distance[~without_echo].min() > 0.5
    assert np.isfinite(sweep.points).all()
    assert ((sweep.points[:, 3] >= 0) & (sweep.points[:, 3] <= 255)).all()


def test_the_own_roof_and_bonnet_echo_in_the_low_rings(walled: World, sweep: LidarSweep) -> None:
    own = sweep.category == EGO
    points = in_ego_frame(walled, sweep)[own]
    # A genuine sweep has some 3,600 of them, all in the nine lowest rings.
    assert 2500 < own.sum() < 5500
    assert sweep.points[own, 4].max() <= 10
    assert (sweep.owner[own] == -1).all()
    assert ((points > [-0.9, -1.0, 0.2]) & (points < [3.5, 1.0, 1.6])).all()


def test_intensity_tells_the_material_and_the_angle() -> None:
    def on_the_wall(reflectance: float) -> tuple[np.ndarray, np.ndarray]:
        world = walled_world(reflectance)
        sweep = sweep_lidar(Tracer(world), 0.0, np.random.default_rng(0))
        wall = sweep.category == MANMADE
        return in_ego_frame(world, sweep)[wall], sweep.points[wall, 3]

    points, dull = on_the_wall(0.2)
    _, bright = on_the_wall(0.4)
    _, retro = on_the_wall(0.8)
    assert np.median(bright) == pytest.approx(2 * np.median(dull), rel=0.2)
    assert np.median(retro) > 3 * np.median(bright)
    across = np.abs(points[:, 1])
    assert dull[across < 3].mean() > 1.1 * dull[across > 12].mean()


def test_camera_sees_wall_over_road_under_sky(walled: World) -> None:
    frame = take_picture(Tracer(walled), "CAM_FRONT", 0.0, (160, 90), np.random.default_rng(0))
    middle = frame.semantics[:, 80]
    assert middle[0] == SKY_2D
    assert middle[-1] == class_id("driveable_surface") + 1
    assert middle[50] == class_id("manmade") + 1
    mount = walled.rig.mounts["CAM_FRONT"].translation[0]
    assert frame.distance[50, 80] == pytest.approx(WALL - mount, abs=0.1)
    assert np.isinf(frame.distance[frame.semantics == SKY_2D]).all()
