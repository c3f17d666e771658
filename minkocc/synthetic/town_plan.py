"""The plan of a scene's ground: lanes, kerbs, sidewalks, and what lies behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minkocc.synthetic.mesh import Mesh, Paint, concatenate
from minkocc.synthetic.road import (
    GROUND_STEP,
    OTHER_FLAT,
    ROAD,
    SIDEWALK,
    TERRAIN,
    Ground,
    Road,
    strip,
)

LANE = 3.5
PARKING = 2.8
REACH = 76.0
"""How far the modelled ground goes to either side, metres."""
MARGIN = 90.0
"""How far it goes before and behind the ego vehicle's path, metres."""
_HEIGHTS = {ROAD: 0.0, SIDEWALK: 0.16, OTHER_FLAT: 0.13, TERRAIN: 0.14}


@dataclass(frozen=True)
class Zone:
    """A stretch beside the road.

    Args:
        kind: "houses", "park", "lot" or "side_road".
        side: +1 left, -1 right.
        start: along the road, metres.
        end: along the road, metres.
    """

    kind: str
    side: int
    start: float
    end: float


@dataclass(frozen=True)
class TownPlan:
    """The cross-section and the zones of a scene.

    Args:
        median: width of the island between the directions, metres, 0 for none.
        lanes: number of lanes to the left and to the right, by side (+1, -1).
        parking: width of the parking strip by side, metres.
        verge: width of the strip between kerb and sidewalk by side, metres.
        verge_kind: ground category of the verges.
        sidewalk: width by side, metres.
        zones: of both sides.
        start: where the ground begins along the road, metres.
        end: where it ends.
    """

    median: float
    lanes: dict[int, int]
    parking: dict[int, float]
    verge: dict[int, float]
    verge_kind: int
    sidewalk: dict[int, float]
    zones: tuple[Zone, ...]
    start: float
    end: float

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

    def ground(self, road: Road) -> Ground:
        """The cells of this plan."""
        edges = {0.0}
        for side in (1, -1):
            borders = [self.median / 2, self.lanes_edge(side), self.kerb(side), *self.walk(side)]
            outside = np.linspace(borders[-1], REACH, int((REACH - borders[-1]) / 4.0) + 1)
            edges.update(side * round(float(b), 3) for b in [*borders, *outside])
        d_edges = np.array(sorted(edges))
        s_edges = np.arange(self.start, self.end + GROUND_STEP / 2, GROUND_STEP)
        s, d = (s_edges[:-1] + s_edges[1:]) / 2, (d_edges[:-1] + d_edges[1:]) / 2
        category = np.tile([self._across(float(x)) for x in d], (len(s), 1)).astype(np.uint8)
        rise = np.zeros(category.shape)
        for zone in self.zones:
            rows = (s >= zone.start) & (s < zone.end)
            walk = self.walk(zone.side)[1]
            if zone.kind == "side_road":
                category[np.ix_(rows, d * zone.side > self.kerb(zone.side))] = ROAD
            elif zone.kind == "lot":
                columns = (d * zone.side > walk) & (d * zone.side < walk + 24)
                category[np.ix_(rows, columns)] = OTHER_FLAT
            elif zone.kind == "houses":
                near = (d * zone.side > walk) & (d * zone.side < walk + 4)
                category[np.ix_(rows, near)] = SIDEWALK if zone.start % 2 < 1 else TERRAIN
            else:
                rise[np.ix_(rows, d * zone.side > walk)] = 0.05
        height = np.vectorize(_HEIGHTS.get)(category).astype(np.float64)
        return Ground(road, s_edges, d_edges, category, height, rise)

    def _across(self, d: float) -> int:
        """Ground category at ``d`` where no zone says otherwise."""
        side, distance = (1 if d > 0 else -1), abs(d)
        inner, outer = self.walk(side)
        if distance < self.median / 2:
            return OTHER_FLAT
        if distance < self.kerb(side):
            return ROAD
        if distance < inner:
            return self.verge_kind
        return SIDEWALK if distance < outer else TERRAIN

    def markings(self, road: Road, shade: float) -> Mesh:
        """Lane lines, edge lines and a crossing, a hair above the asphalt."""
        paint = Paint("flat.driveable_surface", (shade, shade, shade * 0.97), reflectance=0.8)
        lines = [strip(road, (self.start, self.end), (-0.06, 0.06), 0.012, paint)]
        if self.median:
            lines = []
        for side in (1, -1):
            for lane in range(1, self.lanes[side] + 1):
                d = side * (self.median / 2 + lane * LANE)
                last = lane == self.lanes[side]
                starts = [self.start] if last else np.arange(self.start, self.end - 4, 9.0)
                for s in starts:
                    stop = self.end if last else s + 3.0
                    lines.append(strip(road, (s, stop), (d - 0.06, d + 0.06), 0.012, paint))
        for zone in self.zones:
            if zone.kind == "side_road" and zone.side == 1:
                across = np.arange(-self.kerb(-1) + 0.5, self.kerb(1) - 0.8, 1.0)
                keep = np.abs(across + 0.25) > self.median / 2 + 0.3
                lines += [
                    strip(road, (zone.start - 4, zone.start - 1), (d, d + 0.5), 0.014, paint)
                    for d in across[keep]
                ]
        return concatenate(lines)


def plan_town(rng: np.random.Generator, ego_end: float, islands: bool) -> TownPlan:
    """Draw the plan of a scene.

    Args:
        rng: draws it.
        ego_end: how far the ego vehicle drives along the road, metres.
        islands: whether there must be ground of class other_flat beside the lanes.
    """
    start = -MARGIN
    end = start + GROUND_STEP * np.ceil((ego_end + 2 * MARGIN) / GROUND_STEP)
    one_sided = int(rng.choice([1, -1]))
    return TownPlan(
        median=float(rng.uniform(1.6, 3.0)) if islands and rng.random() < 0.6 else 0.0,
        lanes={1: int(rng.integers(1, 3)), -1: int(rng.integers(1, 3))},
        parking={one_sided: PARKING, -one_sided: PARKING * float(rng.random() < 0.5)},
        verge={side: float(rng.choice([0.0, rng.uniform(1.2, 2.2)])) for side in (1, -1)},
        verge_kind=OTHER_FLAT if islands and rng.random() < 0.3 else TERRAIN,
        sidewalk={side: float(rng.uniform(1.8, 4.0)) for side in (1, -1)},
        zones=tuple(
            zone for side in (1, -1) for zone in _zones(rng, side, start, end, ego_end, islands)
        ),
        start=start,
        end=float(end),
    )


def _zones(
    rng: np.random.Generator, side: int, start: float, end: float, ego_end: float, lot: bool
) -> list[Zone]:
    """Cut one side into zones; with ``lot``, one of them lies beside the ego's path."""
    zones: list[Zone] = []
    at = start
    weights = {"houses": rng.uniform(0.3, 0.7), "park": rng.uniform(0.15, 0.5), "side_road": 0.12}
    lot_at = rng.uniform(-5.0, ego_end + 15.0)
    while at < end:
        length = GROUND_STEP * float(rng.integers(8, 20))
        kinds, p = list(weights), np.array(list(weights.values()))
        kind = str(rng.choice(kinds, p=p / p.sum()))
        if zones and zones[-1].kind == kind == "side_road":
            kind = "houses"
        if kind == "side_road":
            length = 8.0
        if lot and side == 1 and at <= lot_at < at + length:
            kind, length = "lot", max(length, 16.0)
        # The parity of a zone's start, in whole metres, decides its front yard.
        zones.append(Zone(kind, side, at, min(at + length, end)))
        at += length
    return zones
