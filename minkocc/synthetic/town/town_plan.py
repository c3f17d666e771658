"""The plan of a scene's ground: lanes, kerbs, sidewalks, junctions, and what lies behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.synthetic.meshes.mesh import FloatArray, Mesh, Paint, concatenate
from minkocc.synthetic.town.road import (
    GROUND_STEP,
    OTHER_FLAT,
    ROAD,
    SIDEWALK,
    TERRAIN,
    Ground,
    Road,
    strip,
)

Span = tuple[float, float]
"""First and last of a range, metres."""

LANE = 3.5
PARKING = 2.8
REACH = 76.0
"""How far the modelled ground goes from the ego vehicle's path to either side, metres."""
MARGIN = 90.0
"""How far it goes before and behind the path, metres."""
SIDE_LANE = 2.0
"""Distance of a side road's lanes from its middle, metres."""
SIDE_ROAD = 12.0
"""Width of a side road with its sidewalks, metres."""
GIVE_WAY = 15.0
"""Distance from the middle of a junction at which the ego vehicle's rear axle waits, metres."""
_SIDE_HALF = 4.0  # half the width of a side road's asphalt, metres
_CORNER = 4.5  # radius of the kerb at a junction, metres
_FINE = 0.3  # cell size that draws that radius, metres
_LOT_DEPTH = 24.0
_HEIGHTS = {ROAD: 0.0, SIDEWALK: 0.16, OTHER_FLAT: 0.13, TERRAIN: 0.14}


@dataclass(frozen=True)
class Zone:
    """A stretch beside the road.

    Args:
        kind: "houses", "park", "lot" or "side_road".
        side: +1 beyond oncoming traffic, -1 the other.
        start: along the road, metres.
        end: along the road, metres.
        paved: whether there is sidewalk instead of terrain before houses.
    """

    kind: str
    side: int
    start: float
    end: float
    paved: bool = False

    @property
    def middle(self) -> float:
        """Its middle along the road, metres."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class TownPlan:
    """The cross-section and the zones of a scene.

    Args:
        median: width of the island between the directions, metres, 0 for none.
        lanes: number of lanes by side (+1, -1).
        parking: width of the parking strip by side, metres.
        verge: width of the strip between kerb and sidewalk by side, metres.
        verge_kind: ground category of the verges.
        sidewalk: width by side, metres.
        zones: of both sides.
        junction: middle of the main junction along the road, metres.
        start: where the ground begins along the road, metres.
        end: where it ends.
        reach: ``|d|`` where it ends by side, metres.
        tone: how light the walls of this town are, 1 as usual.
        towers: whether its houses are those of a shifted town.
    """

    median: float
    lanes: dict[int, int]
    parking: dict[int, float]
    verge: dict[int, float]
    verge_kind: int
    sidewalk: dict[int, float]
    zones: tuple[Zone, ...]
    junction: float
    start: float
    end: float
    reach: dict[int, float]
    tone: float = 1.0
    towers: bool = False

    @property
    def side_roads(self) -> tuple[Zone, ...]:
        """The zones that are roads."""
        return tuple(zone for zone in self.zones if zone.kind == "side_road")

    def lane_centre(self, side: int, lane: int) -> float:
        """``d`` of a lane, 0 being the innermost, metres."""
        return side * (self.median / 2 + (lane + 0.5) * LANE)

    def lanes_edge(self, side: int) -> float:
        """``|d|`` where the lanes end, metres."""
        return self.median / 2 + self.lanes[side] * LANE

    def kerb(self, side: int) -> float:
        """``|d|`` where the road ends, metres."""
        return self.lanes_edge(side) + self.parking[side]

    def walk(self, side: int) -> tuple[float, float]:
        """``|d|`` where the sidewalk begins and ends, metres."""
        inner = self.kerb(side) + self.verge[side]
        return inner, inner + self.sidewalk[side]

    def near_side_road(self, s: float, gap: float = 0.0, side: int | None = None) -> bool:
        """Whether ``s`` is within ``gap`` metres of a side road, of one side if one is given."""
        return any(
            zone.start - gap < s < zone.end + gap
            for zone in self.side_roads
            if side in (None, zone.side)
        )

    def ground(self, road: Road) -> Ground:
        """The cells of this plan."""
        s_edges, d_edges = self._edges()
        s, d = np.meshgrid(
            (s_edges[:-1] + s_edges[1:]) / 2, (d_edges[:-1] + d_edges[1:]) / 2, indexing="ij"
        )
        category = np.where(d > 0, self._across(d, 1), self._across(d, -1)).astype(np.uint8)
        rise = np.zeros(category.shape)
        for zone in self.zones:
            self._lay_zone(zone, s, d, category, rise)
        for zone in self.side_roads:
            self._lay_side_road(zone, s, d, category)
        height = np.select([category == kind for kind in _HEIGHTS], list(_HEIGHTS.values()))
        return Ground(road, s_edges, d_edges, category, height, rise)

    def _edges(self) -> tuple[FloatArray, FloatArray]:
        """Cell borders along and across: fine around the corners of junctions."""
        s_edges = set(np.round(np.arange(self.start, self.end + GROUND_STEP / 2, GROUND_STEP), 3))
        d_edges = {0.0}
        bow = np.arange(0.0, _CORNER + _FINE, _FINE)
        for side in (1, -1):
            borders = [self.median / 2, self.lanes_edge(side), self.kerb(side), *self.walk(side)]
            reach = self.reach[side]
            outside = np.linspace(borders[-1], reach, int((reach - borders[-1]) / 4.0) + 1)
            lot = [self.walk(side)[1] + 4.0, self.walk(side)[1] + _LOT_DEPTH]
            if any(zone.side == side for zone in self.side_roads):
                borders += list(self.kerb(side) + bow)
            d_edges |= {side * round(float(b), 3) for b in [*borders, *outside, *lot]}
        for zone in self.side_roads:
            near, far = zone.middle - _SIDE_HALF, zone.middle + _SIDE_HALF
            s_edges |= {round(float(b), 3) for b in [*(near - bow), *(far + bow)]}
        inside = [b for b in sorted(s_edges) if self.start <= b <= self.end]
        return np.array(inside), np.array(sorted(d_edges))

    def _across(self, d: FloatArray, side: int) -> npt.NDArray[np.int64]:
        """Ground category by distance from the middle where no zone says otherwise."""
        inner, outer = self.walk(side)
        limits = [self.median / 2, self.kerb(side), inner, outer]
        kinds = np.array([OTHER_FLAT, ROAD, self.verge_kind, SIDEWALK, TERRAIN])
        return np.asarray(kinds[np.searchsorted(limits, np.abs(d), "right")])

    def _lay_zone(
        self,
        zone: Zone,
        s: FloatArray,
        d: FloatArray,
        category: npt.NDArray[np.uint8],
        rise: FloatArray,
    ) -> None:
        """Write what lies behind the sidewalk, in place."""
        away = d * zone.side - self.walk(zone.side)[1]
        within = (s >= zone.start) & (s < zone.end) & (away > 0)
        if zone.kind == "lot":
            category[within & (away < _LOT_DEPTH)] = OTHER_FLAT
        elif zone.kind == "houses":
            category[within & (away < 4)] = SIDEWALK if zone.paved else TERRAIN
        elif zone.kind == "park":
            rise[within] = 0.05

    def _lay_side_road(
        self, zone: Zone, s: FloatArray, d: FloatArray, category: npt.NDArray[np.uint8]
    ) -> None:
        """Write a side road, its sidewalks and its rounded corners, in place."""
        kerb, walk = self.kerb(zone.side), self.walk(zone.side)[1]
        away, beside = d * zone.side - kerb, np.abs(s - zone.middle) - _SIDE_HALF
        category[(away > walk - kerb) & (beside < SIDE_ROAD / 2 - _SIDE_HALF)] = SIDEWALK
        # A corner is a square of kerb whose inside lies beyond a quarter circle.
        square = (away > 0) & (away < _CORNER) & (beside > 0) & (beside < _CORNER)
        outside = np.hypot(away - _CORNER, beside - _CORNER) > _CORNER
        category[square & ~outside & (category == self.verge_kind) & (away < 1.0)] = SIDEWALK
        category[((away > 0) & (beside < 0)) | (square & outside)] = ROAD
        # Islands open for those who turn.
        category[(np.abs(d) < self.median / 2) & (beside < 2.0)] = ROAD

    def markings(self, road: Road, shade: float) -> Mesh:
        """Lane lines, edge lines, stop lines and crossings, a hair above the asphalt."""
        paint = Paint("flat.driveable_surface", (shade, shade, shade * 0.97), reflectance=0.8)
        lines: list[Mesh] = []

        def line(s: Span, d: Span, height: float = 0.012) -> None:
            lines.append(strip(road, s, d, height, paint))

        for s, stop in self._between_junctions():
            if not self.median:
                line((s, stop), (-0.06, 0.06))
            for side in (1, -1):
                for lane in range(1, self.lanes[side] + 1):
                    d = side * (self.median / 2 + lane * LANE)
                    if lane == self.lanes[side]:
                        line((s, stop), (d - 0.06, d + 0.06))
                        continue
                    for dash in np.arange(s, stop - 3.0, 9.0):
                        line((dash, dash + 3.0), (d - 0.06, d + 0.06))
        for zone in self.side_roads:
            self._mark_junction(zone, line)
        return concatenate(lines)

    def _between_junctions(self) -> list[tuple[float, float]]:
        """Stretches of the road on which lane lines are drawn."""
        breaks = sorted({zone.middle for zone in self.side_roads})
        starts = [self.start, *(b + _SIDE_HALF + 5.5 for b in breaks)]
        stops = [*(b - _SIDE_HALF - 5.5 for b in breaks), self.end]
        return [(s, stop) for s, stop in zip(starts, stops) if stop - s > 1.0]

    def _mark_junction(self, zone: Zone, line: Callable[[Span, Span, float], None]) -> None:
        """Crossings over the main road and the mouth of a side road, and its middle line."""
        middle, side = zone.middle, zone.side
        bars = np.arange(-self.kerb(-1) + 0.5, self.kerb(1) - 0.8, 1.0)
        for d in bars[np.abs(bars + 0.25) > self.median / 2 + 0.3]:
            line((middle - _SIDE_HALF - 4.5, middle - _SIDE_HALF - 1.5), (d, d + 0.5), 0.014)
        far = self.walk(side)[1]
        for s in np.arange(middle - _SIDE_HALF + 0.5, middle + _SIDE_HALF - 0.8, 1.0):
            line((s, s + 0.5), _ordered(side * (far + 0.3), side * (far + 2.8)), 0.014)
        stop_line = _ordered(side * (far + 3.6), side * (far + 4.0))
        for s in (middle - _SIDE_HALF + 0.2, middle + 0.2):
            if (s < middle) == (side > 0):  # the lane of those who come out
                line((s, s + _SIDE_HALF - 0.4), stop_line, 0.014)
        ends = _ordered(side * (far + 4.0), side * (self.reach[side] - 1.0))
        line((middle - 0.06, middle + 0.06), ends, 0.012)
        own = (-1) * (self.lanes_edge(-1)), -self.median / 2 - 0.1
        line((middle - _SIDE_HALF - 5.5, middle - _SIDE_HALF - 5.1), own, 0.014)


def _ordered(first: float, second: float) -> Span:
    return min(first, second), max(first, second)


def plan_town(
    rng: np.random.Generator,
    ego_end: float,
    islands: bool,
    turn: int,
    junction: float | None,
    towers: bool = False,
) -> TownPlan:
    """Draw the plan of a scene.

    Args:
        rng: draws it.
        ego_end: how far the ego vehicle drives along the road, metres.
        islands: whether there must be ground of class other_flat beside the lanes.
        turn: side that the ego vehicle turns to, 0 if it goes straight on.
        junction: where it needs a junction, metres; None leaves that to the dice.
        towers: whether its houses are those of a shifted town.
    """
    start = -MARGIN
    end = start + GROUND_STEP * np.ceil((ego_end + 2 * MARGIN) / GROUND_STEP)
    one_sided = int(rng.choice([1, -1]))
    wanted = float(rng.uniform(12.0, ego_end + 28.0)) if junction is None else junction
    middle = GROUND_STEP * round(wanted / GROUND_STEP)
    crossing = bool(rng.random() < 0.6)
    arms = {side: turn in (0, side) or crossing for side in (1, -1)}
    if not turn and not crossing:
        arms[one_sided] = False
    return TownPlan(
        median=float(rng.uniform(1.6, 3.0)) if islands and rng.random() < 0.6 else 0.0,
        lanes={1: int(rng.integers(1, 3)), -1: int(rng.integers(1, 3))},
        parking={one_sided: PARKING, -one_sided: PARKING * float(rng.random() < 0.5)},
        verge={side: float(rng.choice([0.0, rng.uniform(1.2, 2.2)])) for side in (1, -1)},
        verge_kind=OTHER_FLAT if islands and rng.random() < 0.2 else TERRAIN,
        sidewalk={side: float(rng.uniform(1.8, 4.0)) for side in (1, -1)},
        zones=tuple(
            zone
            for side in (1, -1)
            for zone in _zones(
                rng, side, (start, float(end)), ego_end, islands, middle if arms[side] else None
            )
        ),
        junction=middle,
        start=start,
        end=float(end),
        reach={side: REACH + (34.0 if turn == side else 0.0) for side in (1, -1)},
        tone=float(rng.uniform(0.6, 1.5)),
        towers=towers,
    )


def _zones(
    rng: np.random.Generator,
    side: int,
    span: tuple[float, float],
    ego_end: float,
    lot: bool,
    junction: float | None,
) -> list[Zone]:
    """Cut one side into zones; with ``lot``, one of them lies beside the ego's path."""
    zones: list[Zone] = []
    at, end = span
    weights = {"houses": rng.uniform(0.5, 0.8), "park": rng.uniform(0.2, 0.55), "side_road": 0.06}
    lot_at = rng.uniform(-5.0, ego_end + 15.0)
    mouth = np.inf if junction is None else junction - SIDE_ROAD / 2
    while at < end:
        if at == mouth:
            zones.append(Zone("side_road", side, at, at + SIDE_ROAD))
            at += SIDE_ROAD
            continue
        length = GROUND_STEP * float(rng.integers(8, 20))
        kinds, p = list(weights), np.array(list(weights.values()))
        kind = str(rng.choice(kinds, p=p / p.sum()))
        if kind == "side_road":
            near = bool(zones) and zones[-1].kind == kind
            room = abs(at + SIDE_ROAD / 2 - (mouth + SIDE_ROAD / 2)) > 3 * SIDE_ROAD
            kind, length = (kind, SIDE_ROAD) if room and not near else ("houses", length)
        if lot and side == 1 and at <= lot_at < at + length:
            kind, length = "lot", max(length, 16.0)
        stop = min(at + length, end, mouth if at < mouth else end)
        zones.append(Zone(kind, side, at, stop, bool(rng.random() < 0.4)))
        at = stop
    return zones
