"""Who is where when: routes, tracks along them, actors, and a ledger that keeps them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.synthetic.meshes.mesh import FloatArray, Mesh, pose_matrix
from minkocc.synthetic.town.road import Ground

MIN_TIME = -0.1
"""Start of a scene in seconds from its first LiDAR keyframe; cameras trigger a little earlier."""
_STEP = 0.05  # seconds between the rows of a track
_ARC_STEPS = 24
_WAITS = 0.2  # metres per second under which a vehicle counts as stopped
_BEFORE, _AFTER = 0.4, 2.0  # seconds by which tracks outlast the scene


def track_times(duration: float) -> FloatArray:
    """The moments at which tracks are tabulated, seconds."""
    count = round((duration - MIN_TIME + _BEFORE + _AFTER) / _STEP)
    return MIN_TIME - _BEFORE + _STEP * np.arange(count + 1)


@dataclass(frozen=True)
class Route:
    """A line in road coordinates.

    Args:
        length: ``(N,)`` metres from its start, rising.
        s: ``(N,)`` metres along the road.
        d: ``(N,)`` metres across.
        yaw: ``(N,)`` its direction relative to the road, radians, without jumps.
    """

    length: FloatArray
    s: FloatArray
    d: FloatArray
    yaw: FloatArray

    @property
    def end(self) -> float:
        """Its length, metres."""
        return float(self.length[-1])


def route(points: npt.ArrayLike, radius: float) -> Route:
    """A line through corner points, each rounded by an arc.

    Args:
        points: ``(P, 2)`` s and d, metres; at least two.
        radius: of the arcs, metres; smaller where the legs are too short for it.
    """
    corners = np.asarray(points, np.float64)
    ways = np.diff(corners, axis=0)
    legs = np.linalg.norm(ways, axis=1)
    ways /= legs[:, None]
    facing = np.unwrap(np.arctan2(ways[:, 1], ways[:, 0]))
    pieces, yaws = [corners[:1]], [facing[:1]]
    for i, corner in enumerate(corners[1:-1]):
        turn = facing[i + 1] - facing[i]
        half = np.tan(abs(turn) / 2)
        cut = min(radius * half, 0.48 * legs[i], 0.48 * legs[i + 1])
        if cut < 1e-6:
            continue
        arc, into = cut / half, ways[i]
        inwards = np.sign(turn) * np.array([-into[1], into[0]])
        angle = np.linspace(0, abs(turn), _ARC_STEPS)[:, None]
        start = corner - cut * into
        pieces.append(start + arc * (np.sin(angle) * into + (1 - np.cos(angle)) * inwards))
        yaws.append(facing[i] + np.sign(turn) * angle[:, 0])
    line = np.concatenate([*pieces, corners[-1:]])
    size = np.linalg.norm(np.diff(line, axis=0), axis=1)
    yaw = np.concatenate([*yaws, facing[-1:]])
    return Route(np.concatenate([[0.0], np.cumsum(size)]), line[:, 0], line[:, 1], yaw)


@dataclass(frozen=True)
class Track:
    """Where something is when, in road coordinates; between rows it moves evenly.

    Args:
        time: ``(T,)`` seconds, rising.
        s: ``(T,)`` metres along the road.
        d: ``(T,)`` metres across.
        yaw: ``(T,)`` direction it faces relative to the road, radians, without jumps.
    """

    time: FloatArray
    s: FloatArray
    d: FloatArray
    yaw: FloatArray

    @classmethod
    def still(cls, s: float, d: float, yaw: float = 0.0) -> Track:
        """Something that never moves."""
        return cls(*(np.array([value], np.float64) for value in (0.0, s, d, yaw)))

    @classmethod
    def along(cls, line: Route, time: FloatArray, travelled: FloatArray) -> Track:
        """Something that follows a route.

        Args:
            line: the route.
            time: ``(T,)`` seconds.
            travelled: ``(T,)`` metres from the route's start; beyond its ends it goes straight on.
        """
        inside = np.clip(travelled, 0.0, line.end)
        beyond = travelled - inside
        yaw = np.interp(inside, line.length, line.yaw)
        s = np.interp(inside, line.length, line.s) + beyond * np.cos(yaw)
        d = np.interp(inside, line.length, line.d) + beyond * np.sin(yaw)
        return cls(time, s, d, yaw)

    @property
    def moves(self) -> bool:
        """Whether the position ever changes."""
        return bool(np.ptp(self.s) > 0 or np.ptp(self.d) > 0)

    def speed(self, time: float) -> float:
        """Metres per second at ``time`` seconds, over a quarter of a second to either side."""
        s, d, _ = self.at([time - 0.25, time + 0.25])
        return float(np.hypot(s[1] - s[0], d[1] - d[0]) / 0.5)

    def at(self, time: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``s`` and ``d`` in metres and yaw in radians at ``time`` seconds."""
        when = np.asarray(time, np.float64)
        s, d, yaw = (np.interp(when, self.time, row) for row in (self.s, self.d, self.yaw))
        return s, d, yaw

    def pose(self, ground: Ground, time: float, z: float | None = None) -> FloatArray:
        """4x4 matrix to the global frame at ``time`` seconds.

        Args:
            ground: under it.
            time: seconds.
            z: global height in metres; None stands on the ground.
        """
        s, d, yaw = self.at(time)
        x, y, heading = ground.road.frame(s, d)
        height = float(ground.elevation(s, d)) if z is None else z
        turned = float(heading) + ground.road.sign * float(yaw)
        return pose_matrix(float(x), float(y), height, turned)


@dataclass(frozen=True)
class Actor:
    """An annotated object.

    Args:
        number: identifies it within the scene; its faces are owned by this number.
        category: nuScenes category name.
        mesh: in its own frame, foot on z = 0, centred on the z axis.
        track: where it is when.
        attribute: nuScenes attribute name or "", such as it is while it moves, if it ever does.
    """

    number: int
    category: str
    mesh: Mesh
    track: Track
    attribute: str

    def attribute_at(self, time: float) -> str:
        """Its nuScenes attribute at ``time`` seconds: a vehicle that moves may have to wait."""
        if self.attribute == "vehicle.moving" and self.track.speed(time) < _WAITS:
            return "vehicle.stopped"
        return self.attribute

    @property
    def size(self) -> tuple[float, float, float]:
        """Width, length, height in metres, as nuScenes orders them."""
        low, high = self.mesh.bounds()
        length, width, height = high - low
        return float(width), float(length), float(height)

    def pose(self, ground: Ground, time: float) -> FloatArray:
        """4x4 matrix from the actor's frame to the global frame at ``time`` seconds."""
        return self.track.pose(ground, time)


class Ledger:
    """Boxes in road coordinates over time; refuses what would overlap.

    Args:
        times: ``(T,)`` seconds at which overlap is tested.
    """

    def __init__(self, times: FloatArray) -> None:
        self.times = times
        self._centre, self._half = np.empty((2, 64, len(times), 2))  # 64: room, doubled when full
        self._count = 0

    def book(self, track: Track, half: tuple[float, float], margin: float = 0.3) -> bool:
        """Reserve the box around something on its track if it is free at all times.

        Args:
            track: where it is when.
            half: half its length and half its width, metres.
            margin: gap to keep, metres.

        Returns:
            Whether the place was free and is now taken.
        """
        s, d, yaw = track.at(self.times)
        cos, sin = np.abs(np.cos(yaw)), np.abs(np.sin(yaw))
        extent = np.stack([cos * half[0] + sin * half[1], sin * half[0] + cos * half[1]], 1)
        centre = np.stack([s, d], 1)
        used = slice(0, self._count)
        gap = np.abs(self._centre[used] - centre)
        if (gap < self._half[used] + extent + margin).all(-1).any():
            return False
        if self._count == len(self._centre):
            self._centre, self._half = (np.concatenate([a, a]) for a in (self._centre, self._half))
        self._centre[self._count], self._half[self._count] = centre, extent
        self._count += 1
        return True
