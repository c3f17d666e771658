"""Puts buildings, street furniture, plants and works beside the roads of a site."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkocc.synthetic.meshes import scenery, street_objects
from minkocc.synthetic.meshes.mesh import Mesh
from minkocc.synthetic.town.site import Site
from minkocc.synthetic.town.town_plan import SIDE_ROAD, Zone
from minkocc.synthetic.town.traffic import Track

_SLANT = 0.8  # metres by which a row of barriers or cones closes in on the lanes at most
_TREE_LINE = 50.0  # metres from the road beyond which nothing is planted


def add_buildings(site: Site) -> None:
    """Rows of houses along the main road, behind its lots and along its side roads."""
    for zone in site.plan.zones:
        if zone.kind in ("houses", "lot"):
            yard = 25.0 if zone.kind == "lot" else float(site.rng.uniform(1.5, 8.0))
            _row_of_houses(site, zone, yard)
        elif zone.kind == "side_road":
            for way in (1, -1):
                _side_street(site, zone, way)


def _row_of_houses(site: Site, zone: Zone, yard: float) -> None:
    """Houses along one zone, some of them wall to wall."""
    rng, at = site.rng, zone.start + 0.5
    while at + 6 < zone.end:
        length = float(min(rng.uniform(8, 22), zone.end - at - 0.5))
        depth = float(rng.uniform(8, 14))
        d = zone.side * (site.plan.walk(zone.side)[1] + yard + depth / 2 + 1)
        mesh = scenery.building(rng, length, depth, site.plan.tone, site.plan.towers)
        site.add_scenery(mesh, at + length / 2, d, site.facing(zone.side), 0.05)
        at += length + float(rng.choice([0.3, rng.uniform(1.5, 5.0)]))


def _side_street(site: Site, zone: Zone, way: int) -> None:
    """Houses along a side road, behind the main road's own."""
    rng, plan = site.rng, site.plan
    at = plan.walk(zone.side)[1] + rng.uniform(2.0, 10.0)
    while at + 6 < plan.reach[zone.side] - 2:
        length, depth = float(rng.uniform(8, 16)), float(rng.uniform(8, 12))
        s = zone.middle + way * (SIDE_ROAD / 2 + rng.uniform(0.5, 3.0) + depth / 2 + 1)
        # A house's front faces -y: turned by a quarter it looks along the road.
        yaw = site.ground.road.sign * way * -np.pi / 2
        if at + length < plan.reach[zone.side] - 2:
            mesh = scenery.building(rng, length, depth, site.plan.tone, site.plan.towers)
            site.add_scenery(mesh, s, zone.side * (at + length / 2), yaw, 0.3)
        at += length + float(rng.choice([0.4, rng.uniform(2.0, 12.0)]))


def add_furniture(site: Site) -> None:
    """Lamps, signs, traffic lights, fences, hedges and shelters."""
    rng, plan = site.rng, site.plan
    for zone in plan.side_roads:
        for way in (1, -1):
            s, d = zone.middle + way * 6.2, zone.side * (plan.kerb(zone.side) + 0.8)
            site.add_scenery(scenery.signal(rng), s, d, site.along(way), -0.2)
    for side in (1, -1):
        edge = plan.kerb(side) + 0.45
        for s in np.arange(plan.start + rng.uniform(2, 20), plan.end, rng.uniform(18, 32)):
            site.add_scenery(scenery.lamp(rng), s, side * edge, site.facing(side), -0.2)
        for _ in range(int(rng.integers(4, 9))):
            mesh = scenery.sign(rng)
            away = plan.kerb(side) + 0.25 + float(np.abs(mesh.vertices[:, 1]).max())
            site.add_scenery(mesh, site.some_s(), side * away, site.along(side), 0.0)
        outer = plan.walk(side)[1] + 0.35
        for _ in range(int(rng.integers(14, 26))):
            length = float(rng.uniform(4, 16))
            build = scenery.fence if rng.random() < 0.5 else scenery.hedge
            site.add_scenery(build(rng, length), site.some_s(-70, 70), side * outer, 0.0, 0.0)
        if rng.random() < 0.4:
            place = side * (plan.walk(side)[1] + 0.9)
            site.add_scenery(scenery.shelter(rng), site.near_s(), place, site.facing(side), 0.0)


def add_plants(site: Site) -> None:
    """Trees and bushes in parks, gardens and verges."""
    rng, plan = site.rng, site.plan

    def plant(s: float, d: float, border: float) -> None:
        mesh = scenery.tree(rng) if rng.random() < 0.6 else scenery.bush(rng)
        # No twig hangs over the sidewalk.
        if abs(d) - np.abs(mesh.vertices[:, :2]).max() > border:
            site.add_scenery(mesh, s, d, float(rng.uniform(0, 6.28)), -1.0)

    for zone in plan.zones:
        if zone.kind == "side_road":
            continue
        walk = plan.walk(zone.side)[1]
        dense = 0.085 if zone.kind == "park" else 0.045
        depth = _TREE_LINE - walk
        for _ in range(int(dense * depth * (zone.end - zone.start))):
            s = float(rng.uniform(zone.start, zone.end))
            plant(s, zone.side * (walk + 1.0 + depth * rng.random() ** 1.5), walk)
    for side in (1, -1):
        verge = plan.verge[side]
        away = plan.kerb(side) + verge / 2 if verge > 1.0 else plan.walk(side)[1] + 0.7
        if verge > 1.0 or rng.random() < 0.7:
            for s in np.arange(plan.start + 5, plan.end, rng.uniform(6, 12)):
                _plant_street_tree(site, float(s), side * away)


def _plant_street_tree(site: Site, s: float, d: float) -> None:
    """A tree whose crown hangs over whatever passes below: only its trunk takes a place."""
    mesh = scenery.street_tree(site.rng)
    reach = float(np.abs(mesh.vertices[:, :2]).max())
    site.add_scenery(mesh, s, d, margin=0.35 - reach)


def _row(site: Site, build: Callable[[], Mesh], count: int, step: float, inset: float) -> bool:
    """Static objects in a line beside the lanes, some metres of it slanting."""
    side, s = site.some_side(), site.near_s()
    d = side * (site.plan.lanes_edge(side) + inset)
    slant = -side * site.rng.uniform(0.0, _SLANT) / (count * step)
    yaw = np.pi / 2 + np.arctan(slant)
    placed = 0
    for i in range(count):
        at = s + i * step
        if not site.plan.near_side_road(at, 2.0):
            track = Track.still(at, d + slant * i * step, yaw)
            placed += site.add_actor(build(), track, margin=0.0)
    return placed > 1


def barrier_row(site: Site) -> bool:
    """Concrete or striped barriers along the edge of the lanes."""
    rng = site.rng
    striped = bool(rng.random() < 0.5)
    count, inset = int(rng.integers(5, 12)), float(rng.uniform(0.2, 0.5))
    return _row(site, lambda: street_objects.barrier(rng, striped), count, 2.15, inset)


def cone_row(site: Site) -> bool:
    """Cones along the edge of the lanes."""
    rng = site.rng
    count, step = int(rng.integers(5, 10)), float(rng.uniform(1.5, 3.0))
    return _row(site, lambda: street_objects.traffic_cone(rng), count, step, 0.1)


def clutter(site: Site, s: float) -> bool:
    """Something of class 'others' behind the kerb; ``s`` in metres."""
    side = site.some_side()
    d = side * (site.plan.kerb(side) + site.rng.uniform(0.5, 2.0))
    track = Track.still(s, d, float(site.rng.uniform(0, 2 * np.pi)))
    if site.plan.near_side_road(s, 1.0, side):
        return False
    return site.add_actor(street_objects.clutter(site.rng), track)
