"""Shadows, the open sky and lamps, each alone in a world with one wall."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.synthetic.meshes.mesh import LAMP, Paint, box, concatenate
from minkocc.synthetic.sensing.sensors import take_picture
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.light import draw_light
from minkocc.synthetic.town.world import World
from tests.unit.synthetic.walled import WALL, walled_world

SIZE = (320, 180)
NONE = np.zeros(3)


@pytest.fixture(scope="module")
def walled() -> World:
    return walled_world()


def under(world: World, **light: object) -> World:
    """The world in still air under another light."""
    plain = {"haze": 1e6, "tint": np.ones(3), "lamps": 0.0, "sun_colour": NONE, "sky_light": NONE}
    return dataclasses.replace(world, light=dataclasses.replace(world.light, **plain | light))


def road_ahead(world: World, *distances: float) -> list[float]:
    """Mean brightness of a patch of road so many metres ahead of the ego vehicle's axle."""
    image = take_picture(Tracer(world), "CAM_FRONT", 0.0, SIZE, np.random.default_rng(0)).image
    mount = world.rig.mounts["CAM_FRONT"]
    out = []
    for x in distances:
        local = np.linalg.inv(mount.sensor2ego()) @ [x, 0.0, 0.0, 1.0]
        u, v, z = mount.intrinsics(SIZE) @ local[:3]
        row, column = int(v / z), int(u / z)
        out.append(float(image[row - 2 : row + 3, column - 12 : column + 13].mean()))
    return out


def test_the_wall_casts_its_shadow_towards_the_car(walled: World) -> None:
    slope = np.radians(45)
    sun = walled.ego_pose(0.0)[:3, :3] @ [np.cos(slope), 0.0, np.sin(slope)]
    world = under(walled, sun=sun, sun_colour=np.ones(3), sky_light=np.full(3, 0.1))
    edge = WALL - 4 / np.tan(slope)  # the wall is 4 m high
    lit, dark, deep = road_ahead(world, edge - 0.7, edge + 0.7, WALL - 1)
    assert lit > 1.5 * dark
    assert dark == pytest.approx(deep, rel=0.3)


def test_the_foot_of_a_wall_sees_less_sky(walled: World) -> None:
    world = under(walled, sky_light=np.ones(3))
    far, foot = road_ahead(world, 6.5, WALL - 0.35)
    assert foot < 0.93 * far


def test_lamps_shine_at_dusk_alone(walled: World) -> None:
    lamp = Paint("static.manmade", (0.9, 0.85, 0.7), LAMP)
    lit = box((8.0, 0.0, 0.01), (3.0, 3.0, 0.02), lamp).transformed(walled.ego_pose(0.0))
    world = dataclasses.replace(walled, static=concatenate([walled.static, lit]))
    dim = np.full(3, 0.05)
    by_day = road_ahead(under(world, sky_light=dim), 8.0)[0]
    at_dusk = road_ahead(under(world, sky_light=dim, lamps=0.9), 8.0)[0]
    assert at_dusk > 2 * by_day


def test_pictures_are_reproducible(walled: World) -> None:
    first, again = (
        take_picture(Tracer(walled), "CAM_BACK", 0.0, SIZE, np.random.default_rng(7)).image
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_dusk_is_low_dim_and_lit() -> None:
    for seed in range(10):
        day, dusk = (draw_light(np.random.default_rng(seed), late) for late in (False, True))
        for light in (day, dusk):
            assert np.linalg.norm(light.sun) == pytest.approx(1)
        assert dusk.sun[2] < 0.25 < day.sun[2]
        assert dusk.sky_light.sum() < day.sky_light.sum()
        assert day.lamps == 0 < dusk.lamps
