"""One scene of the synthetic driving world: what is where, and in which light."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from minkocc.synthetic.meshes.mesh import FloatArray, Mesh, Paint, concatenate
from minkocc.synthetic.rig import RIGS, Rig
from minkocc.synthetic.town.drive import (
    MANOEUVRES,
    along_road,
    ego_route,
    follow,
    junction_centre,
    plan_drive,
)
from minkocc.synthetic.town.layout import furnish, rare_classes
from minkocc.synthetic.town.light import Light, draw_light
from minkocc.synthetic.town.road import TERRAIN, Ground, Road, ground_paints
from minkocc.synthetic.town.site import Site
from minkocc.synthetic.town.town_plan import TownPlan, plan_town
from minkocc.synthetic.town.traffic import Actor, Track

KEYFRAME_INTERVAL = 0.5
"""Seconds between keyframes."""


_DUSK_EVERY = 5  # one of so many scenes is set at dusk
_OTHER_RIG_EVERY = 5  # one of so many scenes of a shifted town has the other rig
_BEYOND = 400.0  # metres of road before and behind the ground, where traffic comes from


def stream(seed: int, scene: int, name: str, *numbers: int) -> np.random.Generator:
    """An independent random stream for one purpose within one scene."""
    return np.random.default_rng([seed, scene, zlib.crc32(name.encode()), *numbers])


@dataclass(frozen=True)
class World:
    """A scene.

    Args:
        plan: of the town.
        ground: its surface.
        rig: the ego vehicle's sensors.
        ego: where the ego vehicle is when.
        actors: every annotated object, moving or not.
        static: mesh of everything that never moves, parked actors included, global frame.
        backdrop: land beyond the modelled ground, global frame.
        light: of the scene.
        extent: size in metres along global x and y; everything lies between 0 and it.
    """

    plan: TownPlan
    ground: Ground
    rig: Rig
    ego: Track
    actors: tuple[Actor, ...]
    static: Mesh
    backdrop: Mesh
    light: Light
    extent: tuple[float, float]

    @property
    def movers(self) -> tuple[Actor, ...]:
        """The actors whose pose changes."""
        return tuple(actor for actor in self.actors if actor.track.moves)

    def ego_pose(self, time: float) -> FloatArray:
        """4x4 ego-to-global at ``time`` seconds.

        The vehicle stands on the waving land, not on the ground's cells: it must not jump where
        one cell ends.
        """
        s, d, _ = self.ego.at(time)
        x, y, _ = self.ground.road.frame(s, d)
        return self.ego.pose(self.ground, time, float(self.ground.road.land(x, y)))

    def sensor_pose(self, channel: str, time: float) -> FloatArray:
        """4x4 sensor-to-global at ``time`` seconds."""
        return self.ego_pose(time) @ self.rig.mounts[channel].sensor2ego()

    def moving_mesh(self, time: float) -> Mesh:
        """All movers at ``time`` seconds, global frame."""
        return concatenate([a.mesh.transformed(a.pose(self.ground, time)) for a in self.movers])


def scene_duration(keyframes: int) -> float:
    """Seconds from the first keyframe to the last."""
    return (keyframes - 1) * KEYFRAME_INTERVAL


def rig_of(scene: int, shifted: bool = False) -> Rig:
    """The rig of a scene: in turn, and the other way round in every other round of manoeuvres.

    In a shifted town the first one drives four of five scenes.
    """
    if shifted:
        return RIGS[scene % _OTHER_RIG_EVERY == _OTHER_RIG_EVERY - 1]
    return RIGS[(scene + scene // len(MANOEUVRES)) % len(RIGS)]


def build_world(seed: int, scene: int, keyframes: int, shifted: bool = False) -> World:
    """Draw one scene.

    Args:
        seed: of the data set.
        scene: index of the scene, 0-based.
        keyframes: number of keyframes, which sets how far the ego vehicle drives.
        shifted: in a town of towers, at dusk, most often with the first of the two rigs.
    """
    rng = stream(seed, scene, "world")
    rare, rig = rare_classes(scene), rig_of(scene, shifted)
    duration = scene_duration(keyframes)
    drive = plan_drive(rng, scene, duration)
    junction = junction_centre(drive)
    islands = "other_flat" in rare
    plan = plan_town(rng, along_road(drive), islands, drive.turn, junction, shifted)
    road, extent = _place_road(rng, plan, drive.manoeuvre == "bend", rig.left_traffic)
    ground = plan.ground(road)
    paints = ground_paints(rng)
    line = ego_route(rng, plan, drive)
    site = Site(plan, ground, drive, line, duration, stream(seed, scene, "layout"))
    furnish(site, rare)
    parked = [a for a in site.actors if not a.track.moves]
    static = concatenate(
        [
            ground.mesh(paints, rng),
            plan.markings(road, float(rng.uniform(0.55, 0.85))),
            *site.scenery,
            *(a.mesh.transformed(a.pose(ground, 0.0)) for a in parked),
        ]
    )
    return World(
        plan,
        ground,
        rig,
        follow(line, drive),
        tuple(site.actors),
        static,
        _backdrop(extent, paints[TERRAIN]),
        draw_light(rng, dusk=shifted or scene % _DUSK_EVERY == _DUSK_EVERY - 2),
        extent,
    )


def _place_road(
    rng: np.random.Generator, plan: TownPlan, winding: bool, left_traffic: bool
) -> tuple[Road, tuple[float, float]]:
    """A road of random shape and direction, shifted so that all coordinates are positive."""
    bend = float(rng.choice([0.0, 1.0, -1.0]) * rng.uniform(1 / 900, 1 / 400))
    bends = np.array([[0.0, 1.0, 0.0]])
    if winding:
        bend = float(rng.choice([1, -1]) * rng.uniform(1 / 500, 1 / 350))
        length = rng.uniform(140.0, 220.0)
        bends = np.array(
            [[rng.uniform(1 / 420, 1 / 330), 2 * np.pi / length, rng.uniform(0, 6.28)]]
        )
    heading = float(rng.uniform(0, 2 * np.pi))
    number = rng.normal(0, 2 * np.pi / 90, (3, 2))
    waves = np.column_stack([rng.uniform(0.04, 0.16, 3), number, rng.uniform(0, 6.28, 3)])
    beyond = (plan.start - _BEYOND, plan.end + _BEYOND)
    probe = Road((0.0, 0.0), heading, bend, bends, waves, beyond, left_traffic)
    s, d = np.meshgrid(np.linspace(plan.start, plan.end, 60), (-plan.reach[-1], 0.0, plan.reach[1]))
    x, y, _ = probe.frame(s, d)
    origin = (10.0 - float(x.min()), 10.0 - float(y.min()))
    extent = (float(np.ceil(np.ptp(x))) + 20.0, float(np.ceil(np.ptp(y))) + 20.0)
    return replace(probe, origin=origin), extent


def _backdrop(extent: tuple[float, float], paint: Paint) -> Mesh:
    """A plane far below the modelled ground that reaches the horizon."""
    far, (x, y) = 2000.0, extent
    corners = [(-far, -far), (x + far, -far), (x + far, y + far), (-far, y + far)]
    return Mesh.painted([(*corner, -1.6) for corner in corners], [[0, 1, 2], [0, 2, 3]], paint)
