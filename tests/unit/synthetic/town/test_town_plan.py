"""The ground of a plan: lanes, kerbs, junctions with rounded corners, mirrored for left traffic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.synthetic.town.drive import TURN_RADIUS, Drive, ego_route, plan_drive
from minkocc.synthetic.town.road import OTHER_FLAT, ROAD, SIDEWALK, TERRAIN, Ground, Road
from minkocc.synthetic.town.town_plan import LANE, SIDE_ROAD, TownPlan, Zone

MIDDLE = 30.0
PLAN = TownPlan(
    median=2.0,
    lanes={1: 1, -1: 2},
    parking={1: 0.0, -1: 2.8},
    verge={1: 1.5, -1: 0.0},
    verge_kind=TERRAIN,
    sidewalk={1: 2.0, -1: 3.0},
    zones=(
        Zone("park", 1, -90.0, 150.0),
        Zone("houses", -1, -90.0, MIDDLE - SIDE_ROAD / 2),
        Zone("side_road", -1, MIDDLE - SIDE_ROAD / 2, MIDDLE + SIDE_ROAD / 2),
        Zone("lot", -1, MIDDLE + SIDE_ROAD / 2, 150.0),
    ),
    junction=MIDDLE,
    start=-90.0,
    end=150.0,
    reach={1: 76.0, -1: 76.0},
)


def straight(left_traffic: bool = False) -> Road:
    still = np.array([[0.0, 1.0, 0.0]])
    return Road((200, 200), 0.0, 0.0, still, np.zeros((1, 4)), (-300, 400), left_traffic)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return PLAN.ground(straight())


def test_cross_section(ground: Ground) -> None:
    expected = {
        0.5: OTHER_FLAT, -0.5: OTHER_FLAT, 2.0: ROAD, 4.4: ROAD, 4.6: TERRAIN, 5.9: TERRAIN,
        6.1: SIDEWALK, 7.9: SIDEWALK, 8.1: TERRAIN, 60.0: TERRAIN, -7.9: ROAD, -10.7: ROAD,
        -10.9: SIDEWALK, -13.7: SIDEWALK, -40.0: TERRAIN,
    }  # fmt: skip
    for d, kind in expected.items():
        assert ground.category_at(-40.0, d) == kind, d
    assert PLAN.kerb(-1) == pytest.approx(1 + 2 * LANE + 2.8)


def test_side_road_has_sidewalks_and_opens_the_island(ground: Ground) -> None:
    assert (ground.category_at(MIDDLE + np.array([-3.9, 0, 3.9]), -40.0) == ROAD).all()
    assert (ground.category_at(MIDDLE + np.array([-4.5, -5.9, 5.0]), -40.0) == SIDEWALK).all()
    assert ground.category_at(MIDDLE, 0.5) == ROAD
    assert ground.category_at(MIDDLE + 10, 0.5) == OTHER_FLAT
    assert ground.category_at(MIDDLE + 10, -20.0) == OTHER_FLAT
    # Nothing opens where there is no side road.
    assert ground.category_at(MIDDLE, 7.0) == SIDEWALK


def test_corners_are_round(ground: Ground) -> None:
    kerb = PLAN.kerb(-1)
    # A quarter circle of 4.5 m: its middle is 4.5 (1 - sqrt(.5)) = 1.3 m from either straight kerb.
    for way in (1, -1):
        near = ground.category_at(MIDDLE + way * 4.6, -kerb - 0.6)
        inside = ground.category_at(MIDDLE + way * (4.0 + 2.2), -kerb - 2.2)
        assert near == ROAD
        assert inside == SIDEWALK


def test_kerbs_are_steps(ground: Ground) -> None:
    kerb = PLAN.kerb(-1)
    low, high = ground.elevation(-40.0, [-kerb + 0.1, -kerb - 0.1])
    assert high - low == pytest.approx(0.16)


def test_left_traffic_mirrors_the_town() -> None:
    right, left = straight(), straight(left_traffic=True)
    x, y, yaw = right.frame([0.0, 12.0], [3.0, -5.0])
    mirrored = left.frame([0.0, 12.0], [3.0, -5.0])
    np.testing.assert_allclose(mirrored[0], x)
    np.testing.assert_allclose(mirrored[1] - 200, -(y - 200))
    np.testing.assert_allclose(mirrored[2], yaw)


def test_winding_roads_keep_their_length() -> None:
    bends = np.array([[1 / 350, 2 * np.pi / 160, 0.4]])
    road = Road((0, 0), 0.3, 1 / 400, bends, np.zeros((1, 4)), (-100, 200))
    s = np.arange(-90, 190, 0.5)
    x, y, yaw = road.frame(s, 0.0)
    np.testing.assert_allclose(np.hypot(np.diff(x), np.diff(y)), 0.5, atol=1e-4)
    along = np.arctan2(np.diff(y), np.diff(x))
    np.testing.assert_allclose(along, (yaw[:-1] + yaw[1:]) / 2, atol=1e-3)
    # d is measured square to the centre line.
    left_x, left_y, _ = road.frame(s, 4.0)
    np.testing.assert_allclose(np.hypot(left_x - x, left_y - y), 4.0)
    with pytest.raises(ValueError, match="plan it longer"):
        road.frame(300.0, 0.0)


@pytest.mark.parametrize(("manoeuvre", "turn"), [("turn_left", 1), ("turn_right", -1)])
def test_ego_turns_into_the_lane_of_its_side(manoeuvre: str, turn: int) -> None:
    drive = Drive(manoeuvre, np.array([0.0, 9.0]), np.array([0.0, 45.0]), 45.0)
    plan = dataclasses.replace(PLAN, lanes={1: 2, -1: 2})
    line = ego_route(np.random.default_rng(0), plan, drive)
    assert line.yaw[-1] == pytest.approx(turn * np.pi / 2)
    # Out of the lane nearest to the turn, into the lane that keeps to the right of the side road.
    assert line.d[0] == plan.lane_centre(-1, 0 if turn > 0 else 1)
    assert line.s[-1] == MIDDLE + 2.0 * turn
    bend = np.gradient(line.yaw, line.length)
    assert np.abs(bend).max() == pytest.approx(1 / TURN_RADIUS[manoeuvre], rel=0.1)


def test_drives_change_speed_gently() -> None:
    for scene in range(12):
        drive = plan_drive(np.random.default_rng(scene), scene, 4.5)
        speed = np.gradient(drive.travelled, drive.time)
        assert speed.min() >= -1e-9
        assert np.abs(np.gradient(speed, drive.time)).max() < 3.0
        assert np.interp(0.0, drive.time, drive.travelled) == 0
