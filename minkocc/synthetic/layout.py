"""Puts actors and scenery into a planned town."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkocc.synthetic import scenery, street_objects, vehicles
from minkocc.synthetic.categories import CATEGORIES
from minkocc.synthetic.mesh import Mesh, pose_matrix
from minkocc.synthetic.road import ROAD, Ground
from minkocc.synthetic.town_plan import REACH, TownPlan
from minkocc.synthetic.traffic import Actor, EgoDrive, Ledger, Motion

RARE: tuple[str, ...] = (
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "motorcycle",
    "bicycle",
    "barrier",
    "traffic_cone",
    "others",
    "other_flat",
)
"""Classes that not every scene holds."""

_ATTEMPTS = 60
_LANE_MIX = {"car": 0.72, "truck": 0.13, "bus": 0.06, "motorcycle": 0.09}


def rare_classes(scene_index: int) -> tuple[str, ...]:
    """The rare classes a scene must hold: each is in two of any three consecutive scenes."""
    return tuple(name for i, name in enumerate(RARE) if (scene_index + i) % 3)


class Layout:
    """Collects the objects of one scene.

    Args:
        plan: of the ground.
        ground: that the objects stand on.
        ego: whose path stays free.
        duration: of the scene, seconds.
        rng: draws everything.
    """

    def __init__(
        self,
        plan: TownPlan,
        ground: Ground,
        ego: EgoDrive,
        duration: float,
        rng: np.random.Generator,
    ) -> None:
        self.plan, self.ground, self.ego, self.rng = plan, ground, ego, rng
        self.actors: list[Actor] = []
        self.scenery: list[Mesh] = []
        self._count = 0
        self._ledger = Ledger(np.linspace(-0.2, duration + 0.2, 2 + int(4 * (duration + 0.4))))
        self._ledger.book(np.stack(ego.at(self._ledger.times), 1), (2.5, 1.1))
        self._ego_end = float(ego.at(duration)[0])
        self._near = (-15.0, self._ego_end + 25.0)

    def furnish(self, rare: tuple[str, ...]) -> None:
        """Place everything, the classes in ``rare`` first and close to the ego's path."""
        self._buildings()
        for name in rare:
            if name != "other_flat":
                self._place_rare(name)
        self._lanes()
        self._parked()
        self._pedestrians()
        self._furniture()
        self._plants()

    # -- placing one thing -------------------------------------------------------------------

    def _take(self) -> int:
        self._count += 1
        return self._count - 1

    def _half(self, mesh: Mesh, yaw: float) -> tuple[float, float]:
        low, high = mesh.bounds()
        half = np.maximum(-low[:2], high[:2])
        cos, sin = abs(np.cos(yaw)), abs(np.sin(yaw))
        return cos * half[0] + sin * half[1], sin * half[0] + cos * half[1]

    def _actor(self, mesh: Mesh, motion: Motion, attribute: str = "", margin: float = 0.3) -> bool:
        """Add an actor if its path is free."""
        half = self._half(mesh, motion.yaw)
        if not self._ledger.book(self._ledger.path(motion), half, margin):
            return False
        number = self._take()
        category = CATEGORIES[int(mesh.category[0])]
        self.actors.append(Actor(number, category, mesh.owned_by(number), motion, attribute))
        return True

    def _static(
        self, mesh: Mesh, s: float, d: float, yaw: float = 0.0, margin: float = 0.2
    ) -> bool:
        """Add scenery if its place is free."""
        motion = Motion(s, d, yaw=yaw)
        if not self._ledger.book(self._ledger.path(motion), self._half(mesh, yaw), margin):
            return False
        x, y, heading = self.ground.road.frame(s, d)
        # A little below the lowest nearby ground, so that nothing hovers over a slope.
        z = float(self.ground.elevation(s, d)) - 0.03
        pose = pose_matrix(float(x), float(y), z, float(heading) + yaw)
        self.scenery.append(mesh.transformed(pose).owned_by(self._take()))
        return True

    def _some_s(self, low: float = -55.0, beyond: float = 65.0) -> float:
        return float(self.rng.uniform(low, self._ego_end + beyond))

    def _near_s(self) -> float:
        return float(self.rng.uniform(*self._near))

    def _side(self) -> int:
        return int(self.rng.choice([1, -1]))

    def _retry(self, attempt: Callable[[], bool], wanted: int, attempts: int = _ATTEMPTS) -> int:
        """Call ``attempt`` until it has succeeded ``wanted`` times; how often it has."""
        done = 0
        for _ in range(attempts):
            if done == wanted:
                break
            done += attempt()
        return done

    # -- actors ------------------------------------------------------------------------------

    def _place_rare(self, name: str) -> None:
        """At least one object of a rare class near the ego's path."""
        rng = self.rng
        if name == "barrier":
            self._retry(self._barrier_row, int(rng.integers(1, 3)))
        elif name == "traffic_cone":
            self._retry(self._cone_row, int(rng.integers(1, 3)))
        elif name == "others":
            self._retry(lambda: self._clutter(self._near_s()), int(rng.integers(3, 6)))
        elif name in ("motorcycle", "bicycle"):
            self._retry(lambda: self._two_wheeler(name, self._near_s()), int(rng.integers(2, 4)))
        else:
            mesh = vehicles.VEHICLES[name](rng)
            places = [self._park, self._drive_by]
            if name in ("truck", "bus") and rng.random() < 0.5:
                places.reverse()
            for place in places:
                if self._retry(lambda: place(mesh, self._near_s()), 1, 30):  # noqa: B023
                    break

    def _drive_by(self, mesh: Mesh, s: float) -> bool:
        """A vehicle on a random lane; one lane has one speed."""
        side = self._side()
        lane = int(self.rng.integers(self.plan.lanes[side]))
        speed = self._lane_speed(side, lane)
        d = self.plan.lane_centre(side, lane) + self.rng.uniform(-0.2, 0.2)
        motion = Motion(s, d, -side * speed, 0.0, np.pi if side > 0 else 0.0)
        return self._actor(mesh, motion, "vehicle.moving" if speed else "vehicle.stopped", 1.2)

    def _lane_speed(self, side: int, lane: int) -> float:
        ego_speed = float(np.ptp(self.ego.at(self._ledger.times)[0]) / np.ptp(self._ledger.times))
        base = ego_speed if side < 0 else 0.8 * ego_speed + 1.0
        return round(base + 1.5 * lane, 2) if base > 1.5 else 0.0

    def _park(self, mesh: Mesh, s: float) -> bool:
        """A vehicle in a parking strip, on a lot or in a side road."""
        side = self._side()
        places = [z for z in self.plan.zones if z.side == side and z.kind in ("lot", "side_road")]
        turned = bool(places) and self.rng.random() < 0.35
        if turned:
            zone = places[self.rng.integers(len(places))]
            lot = zone.kind == "lot"
            s = (
                float(self.rng.uniform(zone.start, zone.end))
                if lot
                else (zone.start + zone.end) / 2
            )
            d = side * (self.plan.walk(side)[1] + self.rng.uniform(3.5, 20.0))
            yaw = float(self.rng.choice([1, -1]) * np.pi / 2)
            if not zone.start + 1.3 <= s <= zone.end - 1.3:
                return False
        elif self.plan.parking[side]:
            d, yaw = side * (self.plan.kerb(side) - 1.4), np.pi if side > 0 else 0.0
        else:
            return False
        return self._actor(mesh, Motion(s, d, yaw=yaw), "vehicle.parked")

    def _two_wheeler(self, name: str, s: float) -> bool:
        """Ridden along the lane's edge or, without a rider, parked on the sidewalk."""
        side = self._side()
        build = vehicles.motorcycle if name == "motorcycle" else vehicles.bicycle
        if self.rng.random() < 0.6:
            d = side * (self.plan.lanes_edge(side) - 0.55)
            speed = -side * round(self.rng.uniform(2.5, 6.0), 2)
            motion = Motion(s, d, speed, 0.0, np.pi if side > 0 else 0.0)
            return self._actor(build(self.rng), motion, "cycle.with_rider")
        inner = self.plan.walk(side)[0]
        yaw = float(self.rng.uniform(0, 2 * np.pi))
        motion = Motion(s, side * (inner + self.rng.uniform(0.5, 1.2)), yaw=yaw)
        return self._actor(build(self.rng, False), motion, "cycle.without_rider", 0.1)

    def _row(self, build: Callable[[], Mesh], count: int, step: float, inset: float) -> bool:
        """Static objects in a line beside the lanes, some metres of it slanting."""
        side, s = self._side(), self._near_s()
        d = side * (self.plan.lanes_edge(side) + inset)
        slant = -side * self.rng.uniform(0.0, 0.12)
        yaw = np.pi / 2 + np.arctan(slant)
        placed = 0
        for i in range(count):
            motion = Motion(s + i * step, d + slant * i * step, yaw=yaw)
            placed += self._actor(build(), motion, margin=-0.15)
        return placed > 1

    def _barrier_row(self) -> bool:
        striped = bool(self.rng.random() < 0.5)
        count = int(self.rng.integers(4, 9))
        inset = float(self.rng.uniform(0.2, 0.5))
        return self._row(lambda: street_objects.barrier(self.rng, striped), count, 2.15, inset)

    def _cone_row(self) -> bool:
        count, step = int(self.rng.integers(5, 10)), float(self.rng.uniform(1.5, 3.0))
        return self._row(lambda: street_objects.traffic_cone(self.rng), count, step, 0.1)

    def _clutter(self, s: float) -> bool:
        side = self._side()
        d = side * (self.plan.kerb(side) + self.rng.uniform(0.5, 2.0))
        yaw = float(self.rng.uniform(0, 2 * np.pi))
        return self._actor(street_objects.clutter(self.rng), Motion(s, d, yaw=yaw))

    def _lanes(self) -> None:
        names, weights = list(_LANE_MIX), list(_LANE_MIX.values())

        def one() -> bool:
            name = str(self.rng.choice(names, p=weights))
            return self._drive_by(vehicles.VEHICLES[name](self.rng), self._some_s(-60, 70))

        self._retry(one, int(self.rng.integers(6, 14)))

    def _parked(self) -> None:
        def one() -> bool:
            name = "car" if self.rng.random() < 0.93 else "truck"
            return self._park(vehicles.VEHICLES[name](self.rng), self._some_s())

        self._retry(one, int(self.rng.integers(8, 20)), 80)

    def _pedestrians(self) -> None:
        def walking() -> bool:
            side = self._side()
            inner, outer = self.plan.walk(side)
            d = side * self.rng.uniform(inner + 0.3, outer - 0.3)
            speed = float(self.rng.choice([0.0, 1.0], p=[0.3, 0.7]) * self.rng.uniform(0.8, 1.7))
            way = self._side()
            yaw = (0.0 if way > 0 else np.pi) if speed else float(self.rng.uniform(0, 6.28))
            attribute = "pedestrian.moving" if speed else "pedestrian.standing"
            mesh = street_objects.pedestrian(self.rng)
            return self._actor(
                mesh, Motion(self._some_s(-35, 45), d, way * speed, yaw=yaw), attribute
            )

        def crossing() -> bool:
            way = self._side()
            motion = Motion(
                self._near_s(), -way * self.rng.uniform(0.0, 8.0), 0.0, way * 1.3, way * np.pi / 2
            )
            return self._actor(
                street_objects.pedestrian(self.rng), motion, "pedestrian.moving", 0.6
            )

        self._retry(crossing, int(self.rng.integers(0, 3)))
        self._retry(walking, int(self.rng.integers(8, 18)))

    # -- scenery -----------------------------------------------------------------------------

    def _facing(self, side: int) -> float:
        """The yaw that turns a mesh's -y towards the road."""
        return 0.0 if side > 0 else np.pi

    def _buildings(self) -> None:
        for zone in self.plan.zones:
            if zone.kind not in ("houses", "lot"):
                continue
            at = zone.start + 0.5
            yard = 25.0 if zone.kind == "lot" else float(self.rng.uniform(1.0, 7.0))
            while at + 6 < zone.end:
                length = float(min(self.rng.uniform(8, 18), zone.end - at - 0.5))
                depth = float(self.rng.uniform(8, 14))
                d = zone.side * (self.plan.walk(zone.side)[1] + yard + depth / 2 + 1)
                mesh = scenery.building(self.rng, length, depth)
                self._static(mesh, at + length / 2, d, self._facing(zone.side), 0.05)
                at += length + float(self.rng.choice([0.3, self.rng.uniform(1.5, 5.0)]))

    def _furniture(self) -> None:
        rng, plan = self.rng, self.plan
        for side in (1, -1):
            edge = plan.kerb(side) + 0.45
            for s in np.arange(plan.start + rng.uniform(2, 20), plan.end, rng.uniform(18, 32)):
                self._static(scenery.lamp(rng), s, side * edge, self._facing(side), -0.2)
            for _ in range(int(rng.integers(4, 9))):
                mesh = scenery.sign(rng)
                self._static(mesh, self._some_s(), side * edge, self._facing(-side), 0.0)
            outer = plan.walk(side)[1] + 0.35
            for _ in range(int(rng.integers(8, 18))):
                length = float(rng.uniform(4, 16))
                build = scenery.fence if rng.random() < 0.45 else scenery.hedge
                self._static(build(rng, length), self._some_s(-70, 70), side * outer, 0.0, 0.0)
            if rng.random() < 0.4:
                place = side * (plan.walk(side)[1] + 0.9)
                self._static(scenery.shelter(rng), self._near_s(), place, self._facing(side), 0.0)

    def _plants(self) -> None:
        rng, plan = self.rng, self.plan

        def plant(s: float, d: float) -> bool:
            if self.ground.category_at(s, d) == ROAD:
                return False
            build = scenery.tree if rng.random() < 0.6 else scenery.bush
            return self._static(build(rng), s, d, float(rng.uniform(0, 6.28)), -1.0)

        for zone in plan.zones:
            if zone.kind == "side_road":
                continue
            walk = plan.walk(zone.side)[1]
            dense = 0.07 if zone.kind == "park" else 0.03
            depth = min(REACH, 50.0) - walk
            for _ in range(int(dense * depth * (zone.end - zone.start))):
                s = float(rng.uniform(zone.start, zone.end))
                plant(s, zone.side * (walk + 1.0 + depth * rng.random() ** 1.5))
        for side in (1, -1):
            if plan.verge[side] > 1.0:
                d = side * (plan.kerb(side) + plan.verge[side] / 2)
                for s in np.arange(plan.start + 5, plan.end, rng.uniform(7, 14)):
                    plant(float(s), d)
