"""Who is where when: actors, their paths, and a ledger that keeps them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.synthetic.mesh import FloatArray, Mesh, pose_matrix
from minkocc.synthetic.road import Ground

MIN_TIME = -0.1
"""Start of a scene in seconds from its first LiDAR keyframe; cameras trigger a little earlier."""


@dataclass(frozen=True)
class Motion:
    """Constant velocity in road coordinates.

    Args:
        s: position along the road at time 0, metres.
        d: position across, metres.
        vs: velocity along, metres per second.
        vd: velocity across, metres per second.
        yaw: direction the object faces, relative to the road, radians.
    """

    s: float
    d: float
    vs: float = 0.0
    vd: float = 0.0
    yaw: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether the position ever changes."""
        return self.vs != 0.0 or self.vd != 0.0


@dataclass(frozen=True)
class Actor:
    """An annotated object.

    Args:
        number: identifies it within the scene; its faces are owned by this number.
        category: nuScenes category name.
        mesh: in its own frame, foot on z = 0, centred on the z axis.
        motion: where it is when.
        attribute: nuScenes attribute name or "".
    """

    number: int
    category: str
    mesh: Mesh
    motion: Motion
    attribute: str

    @property
    def size(self) -> tuple[float, float, float]:
        """Width, length, height in metres, as nuScenes orders them."""
        low, high = self.mesh.bounds()
        length, width, height = high - low
        return float(width), float(length), float(height)

    def pose(self, ground: Ground, time: float) -> FloatArray:
        """4x4 matrix from the actor's frame to the global frame at ``time`` seconds."""
        motion = self.motion
        s, d = motion.s + motion.vs * time, motion.d + motion.vd * time
        x, y, heading = ground.road.frame(s, d)
        z = float(ground.elevation(s, d))
        return pose_matrix(float(x), float(y), z, float(heading) + motion.yaw)


@dataclass(frozen=True)
class EgoDrive:
    """The ego vehicle's path, tabulated.

    Args:
        time: ``(T,)`` seconds, rising.
        s: ``(T,)`` metres along the road.
        d: ``(T,)`` metres across.
    """

    time: FloatArray
    s: FloatArray
    d: FloatArray

    def at(self, time: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """``s`` and ``d`` in metres at ``time`` seconds."""
        when = np.asarray(time, np.float64)
        return np.interp(when, self.time, self.s), np.interp(when, self.time, self.d)

    def pose(self, ground: Ground, time: float) -> FloatArray:
        """4x4 matrix from the ego frame to the global frame at ``time`` seconds."""
        (s, d), step = self.at(time), 0.02
        (s0, d0), (s1, d1) = self.at(time - step), self.at(time + step)
        x, y, heading = ground.road.frame(s, d)
        turn = np.arctan2(d1 - d0, max(float(s1 - s0), 0.02))
        # The car's own ground, not the cell it is in: it must not jump at a cell's border.
        z = float(ground.road.land(x, y))
        return pose_matrix(float(x), float(y), z, float(heading + turn))


def drive(rng: np.random.Generator, duration: float, lane: float) -> EgoDrive:
    """A drive of 3 to 10 m/s that may brake, stop, pull away or change its place in the lane.

    Args:
        rng: draws it.
        duration: seconds.
        lane: centre of its lane, metres across.
    """
    time = np.arange(MIN_TIME - 0.4, duration + 0.5, 0.02)
    cruise = rng.uniform(4.0, 10.0)
    phase = (time - MIN_TIME) / max(duration, 1.0)
    kind = rng.choice(4, p=[0.55, 0.2, 0.15, 0.1])
    factor = (
        np.ones_like(time),
        1 - 0.7 * np.clip(phase, 0, 1),
        0.35 + 0.65 * np.clip(phase, 0, 1),
        np.clip(1 - 1.8 * phase, 0, 1),
    )[kind]
    s = np.concatenate([[0.0], np.cumsum(cruise * factor[:-1] * 0.02)])
    s -= np.interp(0.0, time, s)
    drift = rng.uniform(-0.4, 0.4)
    d = lane + drift * 0.5 * (1 - np.cos(np.pi * np.clip(phase, 0, 1)))
    return EgoDrive(time, s, d)


class Ledger:
    """Boxes in road coordinates over time; refuses what would overlap.

    Args:
        times: ``(T,)`` seconds at which overlap is tested.
    """

    def __init__(self, times: FloatArray) -> None:
        self.times = times
        self._centre: list[FloatArray] = []  # each (T, 2)
        self._half: list[FloatArray] = []  # each (2,)

    def book(self, path: FloatArray, half: tuple[float, float], margin: float = 0.3) -> bool:
        """Reserve a box along a path if it is free at all times.

        Args:
            path: ``(T, 2)`` s and d in metres.
            half: half extents along s and d, metres.
            margin: gap to keep, metres.

        Returns:
            Whether the place was free and is now taken.
        """
        extent = np.asarray(half, np.float64)
        if self._centre:
            gap = np.abs(np.stack(self._centre) - path)
            reach = np.stack(self._half)[:, None] + extent + margin
            if (gap < reach).all(-1).any():
                return False
        self._centre.append(path)
        self._half.append(extent)
        return True

    def path(self, motion: Motion) -> FloatArray:
        """``(T, 2)`` s and d of a motion at the ledger's times."""
        s = motion.s + motion.vs * self.times
        d = motion.d + motion.vd * self.times
        return np.stack([s, d], 1)
