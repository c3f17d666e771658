"""What hides what, for a wall whose place is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.synthetic.meshes.mesh import Paint, box
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.traffic import Actor, Track
from minkocc.synthetic.town.world import World
from tests.unit.synthetic.walled import WALL, walled_world


@pytest.fixture(scope="module")
def walled() -> World:
    return walled_world()


def from_ego(world: World, points: list[tuple[float, float, float]]) -> np.ndarray:
    pose = world.ego_pose(0.0)
    return (np.array(points) @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)


def test_points_behind_the_wall_are_blocked(walled: World) -> None:
    tracer = Tracer(walled)
    (eye,) = from_ego(walled, [(0, 0, 1.8)])
    places = [(WALL - 1, 0, 1), (WALL, 0, 1), (WALL + 5, 0, 1), (WALL + 5, 0, 8), (-9, 3, 0.0)]
    points = from_ego(walled, places)
    # The wall's own face is not hidden by itself; above it one looks over it.
    expected = [False, False, True, False, False]
    assert tracer.blocked(eye, points, 0.0, 0.05).tolist() == expected


def test_hidden_looks_to_the_end(walled: World) -> None:
    tracer = Tracer(walled)
    points = from_ego(walled, [(0, 0, 1), (0, 0, 1), (WALL + 20, 0, 1)])
    ahead = walled.ego_pose(0.0)[:3, 0]
    ways = np.array([ahead, -ahead, ahead], np.float32)
    assert tracer.hidden(points, ways, 0.0).tolist() == [True, False, False]


def test_movers_hide_where_they_are_at_the_time(walled: World) -> None:
    s, d, _ = walled.ego.at(0.0)
    cube = box((0, 0, 1), (1, 1, 2), Paint("vehicle.car", (0.5, 0.5, 0.5)))
    time = np.array([0.0, 1.0])
    track = Track(time, np.full(2, s + 6.0), np.array([d, d + 8.0]), np.zeros(2))
    actor = Actor(0, "vehicle.car", cube, track, "vehicle.moving")
    tracer = Tracer(dataclasses.replace(walled, actors=(actor,)))
    (eye,), points = from_ego(walled, [(0, 0, 1)]), from_ego(walled, [(9, 0, 1)])
    assert tracer.blocked(eye, points, 0.0, 0.05).tolist() == [True]
    assert tracer.blocked(eye, points, 1.0, 0.05).tolist() == [False]
    way = (points - eye).astype(np.float32)
    hits = tracer.trace(eye, way / np.linalg.norm(way), 0.0)
    assert hits.distance[0] == pytest.approx(5.5, abs=0.1)
