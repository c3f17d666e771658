"""Furnishes a planned town: in which order things take their places, and which must be there."""

from __future__ import annotations

from minkocc.synthetic.meshes import vehicles
from minkocc.synthetic.town import road_users, roadside
from minkocc.synthetic.town.drive import MANOEUVRES
from minkocc.synthetic.town.site import Site

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


def rare_classes(scene_index: int) -> tuple[str, ...]:
    """The rare classes a scene must hold: each in two of three scenes of a round of manoeuvres."""
    # Shifted from round to round, so that no manoeuvre goes without a class for good.
    place = scene_index + scene_index // len(MANOEUVRES)
    return tuple(name for i, name in enumerate(RARE) if (place + i) % 3)


def furnish(site: Site, rare: tuple[str, ...]) -> None:
    """Place everything, the classes in ``rare`` first and close to the ego vehicle's path."""
    roadside.add_buildings(site)
    for name in rare:
        if name != "other_flat":
            _place_rare(site, name)
    road_users.add_road_users(site)
    roadside.add_furniture(site)
    roadside.add_plants(site)


def _place_rare(site: Site, name: str) -> None:
    """At least one object of a rare class near the ego vehicle's path."""
    rng = site.rng
    if name == "barrier":
        site.retry(lambda: roadside.barrier_row(site), int(rng.integers(2, 5)))
    elif name == "traffic_cone":
        site.retry(lambda: roadside.cone_row(site), int(rng.integers(1, 3)))
    elif name == "others":
        site.retry(lambda: roadside.clutter(site, site.near_s()), int(rng.integers(4, 8)))
    elif name in ("motorcycle", "bicycle"):
        build = vehicles.motorcycle if name == "motorcycle" else vehicles.bicycle
        wanted = int(rng.integers(1, 3))
        site.retry(lambda: road_users.two_wheeler(site, build, site.near_s()), wanted)
    else:
        _place_rare_vehicle(site, name)


def _place_rare_vehicle(site: Site, name: str) -> None:
    """Parked or driving by: where it finds a place within sight of the ego vehicle's path."""
    places = [road_users.park_at_kerb, road_users.park_off_road, road_users.stop_in_lane]
    if name in ("truck", "bus"):
        places.insert(int(site.rng.integers(2)), road_users.drive_by)
    mesh = vehicles.VEHICLES[name](site.rng)
    for place in places:
        if site.retry(lambda: place(site, mesh, site.near_s()), 1, 40):  # noqa: B023
            break
