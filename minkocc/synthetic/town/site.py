"""A planned town while it is being furnished: what stands where, and what place is free."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkocc.synthetic.categories import CATEGORIES
from minkocc.synthetic.meshes.mesh import Mesh
from minkocc.synthetic.town.drive import Drive, follow
from minkocc.synthetic.town.road import ROAD, Ground
from minkocc.synthetic.town.town_plan import TownPlan
from minkocc.synthetic.town.traffic import Actor, Ledger, Route, Track

EGO_HALF = (2.5, 1.1)
"""Half the length and half the width that the ego vehicle needs, metres."""
EGO_MIDDLE = 1.4
"""The ego vehicle's middle lies so far ahead of its rear axle, metres."""
_BEYOND = 1.6  # seconds after the scene for which places are compared
_CHECKS = 10  # moments a second at which places are compared


class Site:
    """Collects the objects of one scene and keeps them apart.

    Args:
        plan: of the ground.
        ground: that the objects stand on.
        drive: what the ego vehicle does.
        line: its route; the place it takes on it stays free.
        duration: of the scene, seconds.
        rng: draws everything.
    """

    def __init__(
        self,
        plan: TownPlan,
        ground: Ground,
        drive: Drive,
        line: Route,
        duration: float,
        rng: np.random.Generator,
    ) -> None:
        self.plan, self.ground, self.drive, self.line, self.rng = plan, ground, drive, line, rng
        self.actors: list[Actor] = []
        self.scenery: list[Mesh] = []
        self._count = 0
        last = duration + _BEYOND  # nobody is about to drive into anything when the scene ends
        self._ledger = Ledger(np.linspace(-0.2, last, 2 + int(_CHECKS * last)))
        s, d, yaw = follow(line, drive).at(self._ledger.times)
        middle = (s + EGO_MIDDLE * np.cos(yaw), d + EGO_MIDDLE * np.sin(yaw))
        self._ledger.book(Track(self._ledger.times, *middle, yaw), EGO_HALF)
        self.ego_end = float(s.max())

    def _take_number(self) -> int:
        self._count += 1
        return self._count - 1

    def add_actor(self, mesh: Mesh, track: Track, attribute: str = "", margin: float = 0.3) -> bool:
        """Add an annotated object if its path is free; whether it was.

        Args:
            mesh: of the object, in its own frame.
            track: where it is when.
            attribute: nuScenes attribute name or "".
            margin: gap to keep to everything else, metres.
        """
        if not self._ledger.book(track, _half(mesh), margin):
            return False
        number = self._take_number()
        category = CATEGORIES[int(mesh.category[0])]
        self.actors.append(Actor(number, category, mesh.owned_by(number), track, attribute))
        return True

    def add_scenery(
        self, mesh: Mesh, s: float, d: float, yaw: float = 0.0, margin: float = 0.2
    ) -> bool:
        """Add something that never moves if its place is free and no road; whether it was.

        Args:
            mesh: in its own frame.
            s: along the road, metres.
            d: across, metres.
            yaw: direction its x axis faces, radians.
            margin: gap to keep to everything else, metres; negative lets neighbours touch.
        """
        half = _half(mesh)
        reach = abs(np.cos(yaw)) * half[0] * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        if (self.ground.category_at(s + reach, d) == ROAD).any():
            return False
        track = Track.still(s, d, yaw)
        if not self._ledger.book(track, half, margin):
            return False
        # A little below the lowest nearby ground, so that nothing hovers over a slope.
        z = float(self.ground.elevation(s, d)) - 0.03
        pose = track.pose(self.ground, 0.0, z)
        self.scenery.append(mesh.transformed(pose).owned_by(self._take_number()))
        return True

    def some_s(self, low: float = -55.0, beyond: float = 65.0) -> float:
        """A place along the road from ``low`` to ``beyond`` the ego vehicle's path, metres."""
        return float(self.rng.uniform(low, self.ego_end + beyond))

    def near_s(self) -> float:
        """A place along the road beside the ego vehicle's path, metres."""
        return self.some_s(-15.0, 25.0)

    def some_side(self) -> int:
        """+1 or -1."""
        return int(self.rng.choice([1, -1]))

    def facing(self, side: int) -> float:
        """The yaw that turns a mesh's -y towards the road from one side of it, radians."""
        return 0.0 if side * self.ground.road.sign > 0 else np.pi

    @staticmethod
    def along(side: int) -> float:
        """The yaw of traffic on one side of the road, radians."""
        return np.pi if side > 0 else 0.0

    @staticmethod
    def retry(attempt: Callable[[], bool], wanted: int, attempts: int = 60) -> int:
        """Call ``attempt`` until it has succeeded ``wanted`` times; how often it has."""
        done = 0
        for _ in range(attempts):
            if done == wanted:
                break
            done += attempt()
        return done


def _half(mesh: Mesh) -> tuple[float, float]:
    """Half the length and half the width of what a mesh covers around its origin, metres."""
    low, high = mesh.bounds()
    half = np.maximum(-low[:2], high[:2])
    return float(half[0]), float(half[1])
