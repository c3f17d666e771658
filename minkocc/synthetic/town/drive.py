"""How the ego vehicle drives: its manoeuvre, speed and route."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minkocc.synthetic.meshes.mesh import FloatArray
from minkocc.synthetic.town.town_plan import GIVE_WAY, SIDE_LANE, TownPlan
from minkocc.synthetic.town.traffic import Route, Track, route, track_times

MANOEUVRES: tuple[str, ...] = ("cruise", "turn_right", "stop", "turn_left", "start", "bend")
"""What the ego vehicle does; each of any six consecutive scenes takes another."""

TURN_RADIUS = {"turn_right": 5.6, "turn_left": 8.5}
"""Radius of the ego vehicle's path at a junction, metres."""

RUN_UP = 20.0
"""Metres of the ego vehicle's route before its place at time 0."""

_LATERAL = 3.0  # metres per second squared that a turn may push to the side
_APPROACH = 0.35  # share of a turning drive before the arc
_AFTER = 32.0  # metres at most that it goes on into the side road


@dataclass(frozen=True)
class Drive:
    """A manoeuvre and how far it has come when.

    Args:
        manoeuvre: one of ``MANOEUVRES``; left and right are those of right-hand traffic.
        time: ``(T,)`` seconds, rising.
        travelled: ``(T,)`` metres since time 0, negative before it.
        length: metres from time 0 to the last keyframe.
    """

    manoeuvre: str
    time: FloatArray
    travelled: FloatArray
    length: float

    @property
    def turn(self) -> int:
        """The side it turns to at a junction, +1 across oncoming traffic, -1, or 0 for none."""
        return {"turn_left": 1, "turn_right": -1}.get(self.manoeuvre, 0)

    @property
    def approach(self) -> float:
        """Metres from its place at time 0 to where its arc begins, for a turning drive."""
        arc = TURN_RADIUS[self.manoeuvre] * np.pi / 2
        return max(3.0, _APPROACH * (self.length - arc), self.length - arc - _AFTER)


def plan_drive(rng: np.random.Generator, scene: int, duration: float) -> Drive:
    """Draw how the ego vehicle drives.

    Args:
        rng: draws the speed.
        scene: index of the scene, 0-based.
        duration: seconds to the last keyframe.
    """
    manoeuvre = MANOEUVRES[scene % len(MANOEUVRES)]
    time = track_times(duration)
    speed = _speed(rng, manoeuvre, time, duration)
    middle = (speed[:-1] + speed[1:]) / 2
    travelled = np.concatenate([[0.0], np.cumsum(middle * np.diff(time))])
    travelled -= np.interp(0.0, time, travelled)
    return Drive(manoeuvre, time, travelled, float(np.interp(duration, time, travelled)))


def _speed(
    rng: np.random.Generator, manoeuvre: str, time: FloatArray, duration: float
) -> FloatArray:
    """Metres per second at every moment; it changes by less than 3 m/s in a second."""
    if manoeuvre.startswith("turn"):
        fastest = np.sqrt(_LATERAL * TURN_RADIUS[manoeuvre])
        return np.full_like(time, rng.uniform(0.82, 1.0) * fastest)
    if manoeuvre == "stop":
        first, brake = rng.uniform(0.1, 0.2) * duration, rng.uniform(1.8, 2.8)
        fastest = min(rng.uniform(5.0, 9.0), max(2.0, 0.6 * duration * brake))
        return np.clip(fastest - brake * np.maximum(time - first, 0.0), 0.0, None)
    if manoeuvre == "start":
        wait = rng.uniform(0.15, 0.3) * duration
        return np.clip(rng.uniform(1.6, 2.4) * (time - wait), 0.0, rng.uniform(6.0, 10.0))
    cruise = rng.uniform(6.0, 10.0) if manoeuvre == "cruise" else rng.uniform(5.0, 8.0)
    swing = 0.08 * np.sin(2 * np.pi * time / 5.0 + rng.uniform(0, 2 * np.pi))
    return np.asarray(cruise * (1 + swing))


def junction_centre(drive: Drive) -> float | None:
    """Where along the road a drive needs a junction, metres; None where it may be anywhere."""
    if drive.turn:
        nearer = SIDE_LANE if drive.turn < 0 else -SIDE_LANE
        return drive.approach + TURN_RADIUS[drive.manoeuvre] + nearer
    if drive.manoeuvre == "stop":
        return drive.length + GIVE_WAY
    return GIVE_WAY if drive.manoeuvre == "start" else None


def along_road(drive: Drive) -> float:
    """How far along the main road a drive goes at most, metres."""
    if not drive.turn:
        return drive.length
    return min(drive.length, drive.approach + TURN_RADIUS[drive.manoeuvre])


def ego_route(rng: np.random.Generator, plan: TownPlan, drive: Drive) -> Route:
    """The route of a drive through a planned town, which begins ``RUN_UP`` before time 0.

    A turning vehicle keeps to the lane nearest to where it turns; others shift a little in theirs.
    """
    lanes = plan.lanes[-1]
    lane = {1: 0, -1: lanes - 1}.get(drive.turn, int(rng.integers(lanes)))
    d = plan.lane_centre(-1, lane)
    if drive.turn:
        leave = plan.junction + drive.turn * SIDE_LANE
        corners = [(-RUN_UP, d), (leave, d), (leave, d + drive.turn * 90.0)]
        return route(corners, TURN_RADIUS[drive.manoeuvre])
    aside, middle = d + float(rng.uniform(-0.35, 0.35)), 0.5 * drive.length
    shift = [(middle - 5.0, d), (middle + 5.0, aside)]
    return route([(-RUN_UP, d), *shift, (drive.length + 60.0, aside)], 40.0)


def follow(line: Route, drive: Drive, gap: float = 0.0) -> Track:
    """Where a vehicle is when that takes a drive's route ``gap`` metres behind it."""
    return Track.along(line, drive.time, drive.travelled + RUN_UP - gap)
