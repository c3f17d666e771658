"""Puts vehicles, riders and pedestrians onto the roads and sidewalks of a site."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkocc.synthetic.meshes import street_objects, vehicles
from minkocc.synthetic.meshes.mesh import FloatArray, Mesh
from minkocc.synthetic.town.drive import Drive, follow
from minkocc.synthetic.town.site import Site
from minkocc.synthetic.town.town_plan import SIDE_LANE, Zone
from minkocc.synthetic.town.traffic import Route, Track, route

_LANE_MIX = {"car": 0.78, "truck": 0.16, "bus": 0.02, "motorcycle": 0.04}
_FAR = 130.0  # metres from the junction at which routes through it begin and end
_RIGHT_RADIUS, _LEFT_RADIUS = 6.0, 9.0


def add_road_users(site: Site) -> None:
    """Moving and parked vehicles, then pedestrians, in the number of a busy street."""
    rng = site.rng
    site.retry(lambda: _behind(site), int(rng.integers(0, 3)), 6)
    site.retry(lambda: _through_junction(site), int(rng.integers(2, 6)), 60)
    site.retry(lambda: drive_by(site, _some_vehicle(rng), site.some_s(-60, 70)), _count(rng, 5, 12))
    site.retry(lambda: _park_some(site), _count(rng, 10, 24), 90)
    site.retry(lambda: _cross(site), int(rng.integers(1, 4)), 12)
    site.retry(lambda: _stroll(site), _count(rng, 9, 20))


def _count(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high))


def _some_vehicle(rng: np.random.Generator) -> Mesh:
    name = str(rng.choice(list(_LANE_MIX), p=list(_LANE_MIX.values())))
    return vehicles.VEHICLES[name](rng)


def _attribute(track: Track) -> str:
    return "vehicle.moving" if track.moves else "vehicle.stopped"


def _cruise(drive: Drive, speed: float) -> FloatArray:
    """Metres travelled at constant speed."""
    return speed * drive.time


def drive_by(site: Site, mesh: Mesh, s: float) -> bool:
    """A vehicle on a lane of the main road, which stops and starts where the ego vehicle does.

    Args:
        site: that it drives through.
        mesh: of the vehicle.
        s: where it is at time 0, metres.
    """
    plan, drive, rng = site.plan, site.drive, site.rng
    side = site.some_side()
    lane = int(rng.integers(plan.lanes[side]))
    d = plan.lane_centre(side, lane) + rng.uniform(-0.2, 0.2)
    # One light rules both directions: who comes from the other side is the ego's mirror image.
    waits = s < 0.0 if side < 0 else s > 2 * plan.junction
    if drive.manoeuvre in ("stop", "start") and waits:
        travelled = drive.travelled
    else:
        travelled = _cruise(drive, _lane_speed(drive, side, lane))
    ways = np.array([s, s - side * 400.0]), np.array([d, d])
    line = route(np.stack(ways, 1), 1.0)
    track = Track.along(line, drive.time, travelled)
    return site.add_actor(mesh, track, _attribute(track), 1.2)


def _lane_speed(drive: Drive, side: int, lane: int) -> float:
    """Metres per second of a lane's traffic, the same for all in it."""
    seconds = float(np.ptp(drive.time))
    own = float(np.ptp(drive.travelled)) / seconds
    if drive.manoeuvre in ("stop", "start") or drive.turn:
        own = 7.5
    return round((own if side < 0 else 0.8 * own + 1.5) + 1.2 * lane, 2)


def _behind(site: Site) -> bool:
    """A vehicle that follows the ego vehicle on its own route, some metres behind."""
    track = follow(site.line, site.drive, site.rng.uniform(9.0, 17.0))
    return site.add_actor(vehicles.car(site.rng), track, _attribute(track), 1.0)


def _through_junction(site: Site) -> bool:
    """A vehicle that crosses the main road or turns at its junction."""
    rng, speed = site.rng, site.rng.uniform(3.4, 4.2)
    line = _junction_route(site)
    if line is None:
        return False
    middle = rng.uniform(-0.2, 1.2) * float(site.drive.time[-1])  # when it is in the junction
    travelled = line.end / 2 + speed * (site.drive.time - middle)
    track = Track.along(line, site.drive.time, travelled)
    mesh = _some_vehicle(rng) if rng.random() < 0.5 else vehicles.car(rng)
    return site.add_actor(mesh, track, "vehicle.moving", 0.8)


def _junction_route(site: Site) -> Route | None:
    """A way through the junction that uses a side road, None if there is none."""
    plan, rng = site.plan, site.rng
    arms = [z.side for z in plan.side_roads if z.middle == plan.junction]
    if not arms:
        return None
    side, middle = int(rng.choice(arms)), plan.junction
    leave, enter = middle + side * SIDE_LANE, middle - side * SIDE_LANE
    end = side * _FAR
    kind = str(rng.choice(["across", "in_right", "out_right", "in_left"]))
    if kind == "across" and len(arms) == 2:
        return route([(leave, -end), (leave, end)], 1.0)
    if kind == "in_right":
        # Who turns right comes from where the arm lies on the right-hand side.
        d = plan.lane_centre(side, plan.lanes[side] - 1)
        return route([(middle + side * _FAR, d), (leave, d), (leave, end)], _RIGHT_RADIUS)
    if kind == "in_left":
        d = plan.lane_centre(-side, 0)
        return route([(middle - side * _FAR, d), (leave, d), (leave, end)], _LEFT_RADIUS)
    d = plan.lane_centre(side, plan.lanes[side] - 1)
    return route([(enter, end), (enter, d), (middle - side * _FAR, d)], _RIGHT_RADIUS)


def _park_some(site: Site) -> bool:
    name = "car" if site.rng.random() < 0.9 else "truck"
    return park(site, vehicles.VEHICLES[name](site.rng))


def park(site: Site, mesh: Mesh) -> bool:
    """A vehicle on a lot, at the edge of a side road or in a parking strip."""
    plan, rng, side = site.plan, site.rng, site.some_side()
    lots = [z for z in plan.zones if z.side == side and z.kind == "lot"]
    roads = [z for z in plan.side_roads if z.side == side]
    draw = rng.random()
    if lots and draw < 0.35:
        return _park_on_lot(site, mesh, lots[rng.integers(len(lots))])
    if roads and draw < 0.6:
        return _park_in_side_road(site, mesh, roads[rng.integers(len(roads))])
    return park_at_kerb(site, mesh, site.some_s())


def _park_on_lot(site: Site, mesh: Mesh, zone: Zone) -> bool:
    """In one of three rows across a lot."""
    rng, half = site.rng, float(np.ptp(mesh.vertices[:, 1])) / 2
    if zone.end - zone.start < 2 * half + 1:
        return False
    s = float(rng.uniform(zone.start + half + 0.4, zone.end - half - 0.4))
    d = zone.side * (site.plan.walk(zone.side)[1] + float(rng.choice([4.0, 9.8, 19.0])))
    yaw = float(rng.choice([1, -1]) * np.pi / 2)
    return site.add_actor(mesh, Track.still(s, d, yaw), "vehicle.parked")


def _park_in_side_road(site: Site, mesh: Mesh, zone: Zone) -> bool:
    """At the kerb of a side road, except of the one that the ego vehicle takes."""
    if site.drive.turn == zone.side and zone.middle == site.plan.junction:
        return False
    way = site.some_side()
    d = zone.side * (site.plan.walk(zone.side)[1] + site.rng.uniform(11.0, 40.0))
    track = Track.still(zone.middle + way * 3.0, d, way * zone.side * np.pi / 2)
    return site.add_actor(mesh, track, "vehicle.parked")


def park_at_kerb(site: Site, mesh: Mesh, s: float) -> bool:
    """A vehicle in a parking strip of the main road; ``s`` in metres along it."""
    plan, side = site.plan, site.some_side()
    if not plan.parking[side] or plan.near_side_road(s, 7.0, side):
        return False
    d = side * (plan.kerb(side) - 1.4)
    return site.add_actor(mesh, Track.still(s, d, site.along(side)), "vehicle.parked")


def stop_in_lane(site: Site, mesh: Mesh, s: float) -> bool:
    """A vehicle that stands in the outermost oncoming lane; ``s`` in metres along the road."""
    d = site.plan.lane_centre(1, site.plan.lanes[1] - 1)
    track = Track.still(s, d, site.along(1))
    return site.add_actor(mesh, track, "vehicle.stopped", 0.8)


def park_off_road(site: Site, mesh: Mesh, s: float) -> bool:
    """A vehicle left on the ground behind the sidewalk; ``s`` in metres along the road."""
    low, high = mesh.bounds()
    length, width, _ = high - low
    side = site.some_side()
    if site.plan.near_side_road(s, length / 2 + 1, side):
        return False
    d = side * (site.plan.walk(side)[1] + width / 2 + site.rng.uniform(0.5, 8.0))
    return site.add_actor(mesh, Track.still(s, d, site.along(side)), "vehicle.parked")


def two_wheeler(site: Site, build: Callable[..., Mesh], s: float) -> bool:
    """A cycle ridden along the lane's edge or, without a rider, parked on the sidewalk.

    Args:
        site: that it is on.
        build: of ``vehicles.bicycle`` and ``vehicles.motorcycle``.
        s: where along the road at time 0, metres.
    """
    plan, rng, side = site.plan, site.rng, site.some_side()
    if rng.random() < 0.6:
        d = side * (plan.lanes_edge(side) - 0.55)
        line = route([(s, d), (s - side * 400.0, d)], 1.0)
        travelled = _cruise(site.drive, round(rng.uniform(2.5, 6.0), 2))
        track = Track.along(line, site.drive.time, travelled)
        return site.add_actor(build(rng), track, "cycle.with_rider")
    inner = plan.walk(side)[0]
    yaw = float(rng.uniform(0, 2 * np.pi))
    track = Track.still(s, side * (inner + rng.uniform(0.5, 1.2)), yaw)
    if plan.near_side_road(s, 0.0, side):
        return False
    return site.add_actor(build(rng, False), track, "cycle.without_rider", 0.1)


def _stroll(site: Site) -> bool:
    """Somebody who walks or stands on a sidewalk of the main road or of a side road."""
    plan, rng, side = site.plan, site.rng, site.some_side()
    s, way = site.some_s(-35, 45), site.some_side()
    inner, outer = plan.walk(side)
    d = side * rng.uniform(inner + 0.3, outer - 0.3)
    points = [(s, d), (s + way * 100.0, d)]
    roads = [z for z in plan.side_roads if z.side == side]
    if roads and rng.random() < 0.3:
        zone = roads[rng.integers(len(roads))]
        s = zone.middle + site.some_side() * 5.0
        d = side * (outer + rng.uniform(1.0, 35.0))
        points = [(s, d), (s, d + way * 60.0)]
    mesh = street_objects.pedestrian(rng)
    if rng.random() < 0.3:
        track = Track.still(s, d, float(rng.uniform(0, 2 * np.pi)))
        return site.add_actor(mesh, track, "pedestrian.standing")
    travelled = _cruise(site.drive, float(rng.uniform(0.8, 1.7)))
    track = Track.along(route(points, 1.0), site.drive.time, travelled)
    return site.add_actor(mesh, track, "pedestrian.moving")


def _cross(site: Site) -> bool:
    """Somebody on or about to step onto a crossing of the main road."""
    plan, rng, way = site.plan, site.rng, site.some_side()
    places = [z.middle - 7.0 for z in plan.side_roads]
    s = float(rng.choice(places)) if places and rng.random() < 0.8 else site.near_s()
    start = -way * (plan.kerb(-way) + 4.0)
    line = route([(s + rng.uniform(-0.9, 0.9), start), (s, way * (plan.kerb(way) + 4.0))], 1.0)
    travelled = rng.uniform(0.0, 9.0) + _cruise(site.drive, float(rng.uniform(1.0, 1.6)))
    track = Track.along(line, site.drive.time, travelled)
    return site.add_actor(street_objects.pedestrian(rng), track, "pedestrian.moving", 0.6)
