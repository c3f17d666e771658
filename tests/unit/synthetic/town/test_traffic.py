"""Routes, tracks and the ledger, against figures worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minkocc.synthetic.meshes.mesh import Paint, box
from minkocc.synthetic.town.traffic import Actor, Ledger, Track, route

QUARTER = np.pi / 2


def test_a_route_rounds_its_corner_by_an_arc() -> None:
    line = route([(0, 0), (20, 0), (20, 30)], 6.0)
    assert line.end == pytest.approx(14 + 6 * QUARTER + 24, abs=0.01)
    middle = 14 + 6 * QUARTER / 2
    # Half-way round, the arc about (14, 6) is at 45 degrees.
    s = np.interp(middle, line.length, line.s)
    d = np.interp(middle, line.length, line.d)
    assert (s, d) == pytest.approx((14 + 6 * np.sqrt(0.5), 6 - 6 * np.sqrt(0.5)), abs=0.01)
    assert np.interp(middle, line.length, line.yaw) == pytest.approx(QUARTER / 2, abs=0.02)
    assert line.yaw[[0, -1]] == pytest.approx([0, QUARTER])


def test_a_right_turn_mirrors_a_left_turn() -> None:
    left, right = route([(0, 0), (9, 0), (9, 9)], 4.0), route([(0, 0), (9, 0), (9, -9)], 4.0)
    np.testing.assert_allclose(left.s, right.s)
    np.testing.assert_allclose(left.d, -right.d)
    np.testing.assert_allclose(left.yaw, -right.yaw)


def test_arcs_shrink_where_legs_are_short() -> None:
    line = route([(0, 0), (4, 0), (4, 50)], 30.0)
    assert line.s.max() == pytest.approx(4)
    assert (np.diff(line.length) > 0).all()
    assert np.abs(np.diff(line.yaw)).max() < 0.2


def test_a_straight_corner_changes_nothing() -> None:
    line = route([(0, 1), (5, 1), (12, 1)], 10.0)
    assert line.end == pytest.approx(12)
    assert not line.yaw.any()


def test_a_track_follows_its_route_and_goes_straight_on_beyond_it() -> None:
    line = route([(0, 0), (10, 0), (10, 10)], 2.0)
    time = np.array([0.0, 1.0, 2.0])
    track = Track.along(line, time, np.array([-5.0, 4.0, line.end + 5.0]))
    s, d, yaw = track.at(time)
    np.testing.assert_allclose(s, [-5, 4, 10], atol=1e-9)
    np.testing.assert_allclose(d, [0, 0, 15], atol=1e-9)
    np.testing.assert_allclose(yaw, [0, 0, QUARTER], atol=1e-9)
    assert track.moves
    assert track.at(0.5)[0] == pytest.approx(-0.5)


def test_what_stands_still_does_so_at_any_time() -> None:
    track = Track.still(3.0, -2.0, 1.0)
    assert not track.moves
    assert [float(v) for v in track.at(100.0)] == [3.0, -2.0, 1.0]


def test_a_vehicle_that_waits_is_stopped_and_moves_on_later() -> None:
    time = np.array([0.0, 2.0, 4.0])
    track = Track(time, np.array([0.0, 0.0, 10.0]), np.zeros(3), np.zeros(3))
    cube = box((0, 0, 1), (4, 2, 2), Paint("vehicle.car", (0.5, 0.5, 0.5)))
    actor = Actor(0, "vehicle.car", cube, track, "vehicle.moving")
    assert track.speed(3.0) == pytest.approx(5.0)
    assert [actor.attribute_at(t) for t in (0.5, 3.0)] == ["vehicle.stopped", "vehicle.moving"]
    walker = dataclasses.replace(actor, attribute="pedestrian.moving")
    assert walker.attribute_at(0.5) == "pedestrian.moving"


def driving(s: float, speed: float, d: float = 0.0) -> Track:
    time = np.linspace(0, 4, 41)
    return Track(time, s + speed * time, np.full(41, d), np.zeros(41))


def test_the_ledger_refuses_what_would_meet() -> None:
    ledger = Ledger(np.linspace(0, 4, 41))
    assert ledger.book(driving(0, 5), (2, 1))
    assert not ledger.book(driving(30, -5), (2, 1))  # head-on, at 3 s
    assert not ledger.book(Track.still(20, 0), (0.5, 0.5))
    assert ledger.book(driving(30, -5, d=2.5), (2, 1))
    assert ledger.book(driving(-5, 5), (2, 1))  # behind, at the same speed
    assert not ledger.book(driving(-10, 7), (2, 1))  # behind, and faster


def test_the_ledger_turns_boxes_with_their_tracks() -> None:
    ledger = Ledger(np.array([0.0]))
    assert ledger.book(Track.still(0, 0, QUARTER), (5, 1), 0.0)
    assert ledger.book(Track.still(2.1, 0, QUARTER), (5, 1), 0.0)
    assert not ledger.book(Track.still(0, 6.0, 0.0), (1, 1.1), 0.0)
    assert ledger.book(Track.still(0, 6.2, 0.0), (1, 1.1), 0.0)


def test_the_ledger_keeps_the_margin_and_grows() -> None:
    ledger = Ledger(np.array([0.0]))
    for i in range(200):
        assert ledger.book(Track.still(3.0 * i, 0), (1, 1), 0.9)
    assert not ledger.book(Track.still(1.5, 0), (0.2, 1), 0.4)
    assert ledger.book(Track.still(1.5, 0), (0.2, 1), 0.2)
