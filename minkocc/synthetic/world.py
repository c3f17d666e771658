"""One scene of the synthetic driving world: what is where, and in which light."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from minkocc.synthetic.layout import Layout, rare_classes
from minkocc.synthetic.mesh import FloatArray, Mesh, Paint, concatenate
from minkocc.synthetic.road import TERRAIN, Ground, Road, ground_paints
from minkocc.synthetic.town_plan import REACH, TownPlan, plan_town
from minkocc.synthetic.traffic import Actor, EgoDrive, drive

KEYFRAME_INTERVAL = 0.5
"""Seconds between keyframes."""


def stream(seed: int, scene: int, name: str, *numbers: int) -> np.random.Generator:
    """An independent random stream for one purpose within one scene."""
    return np.random.default_rng([seed, scene, zlib.crc32(name.encode()), *numbers])


@dataclass(frozen=True)
class Light:
    """The light of a scene.

    Args:
        sun: unit direction towards the sun.
        sun_colour: RGB strength of direct light.
        sky_light: RGB strength of diffuse light.
        zenith: RGB of the sky overhead.
        horizon: RGB of the sky at the horizon, and of haze.
        haze: distance in metres at which haze hides 63 %.
    """

    sun: FloatArray
    sun_colour: FloatArray
    sky_light: FloatArray
    zenith: FloatArray
    horizon: FloatArray
    haze: float


@dataclass(frozen=True)
class World:
    """A scene.

    Args:
        plan: of the town.
        ground: its surface.
        ego: the ego vehicle's drive.
        actors: every annotated object, moving or not.
        static: mesh of everything that never moves, parked actors included, global frame.
        backdrop: land beyond the modelled ground, global frame.
        light: of the scene.
        extent: size in metres along global x and y; everything lies between 0 and it.
    """

    plan: TownPlan
    ground: Ground
    ego: EgoDrive
    actors: tuple[Actor, ...]
    static: Mesh
    backdrop: Mesh
    light: Light
    extent: tuple[float, float]

    @property
    def movers(self) -> tuple[Actor, ...]:
        """The actors whose pose changes."""
        return tuple(actor for actor in self.actors if actor.motion.moves)

    def moving_mesh(self, time: float) -> Mesh:
        """All movers at ``time`` seconds, global frame."""
        return concatenate([a.mesh.transformed(a.pose(self.ground, time)) for a in self.movers])


def scene_duration(keyframes: int) -> float:
    """Seconds from the first keyframe to the last."""
    return (keyframes - 1) * KEYFRAME_INTERVAL


def build_world(seed: int, scene: int, keyframes: int) -> World:
    """Draw one scene.

    Args:
        seed: of the data set.
        scene: index of the scene, 0-based.
        keyframes: number of keyframes, which sets how far the ego vehicle drives.
    """
    rng = stream(seed, scene, "world")
    rare = rare_classes(scene)
    duration = scene_duration(keyframes)
    ego = drive(rng, duration, 0.0)
    plan = plan_town(rng, float(ego.at(duration)[0]), "other_flat" in rare)
    lane = plan.lane_centre(-1, int(rng.integers(plan.lanes[-1])))
    ego = EgoDrive(ego.time, ego.s, ego.d + lane)
    road, extent = _place_road(rng, plan)
    ground = plan.ground(road)
    paints = ground_paints(rng)
    layout = Layout(plan, ground, ego, duration, stream(seed, scene, "layout"))
    layout.furnish(rare)
    parked = [a for a in layout.actors if not a.motion.moves]
    static = concatenate(
        [
            ground.mesh(paints, rng),
            plan.markings(road, float(rng.uniform(0.55, 0.85))),
            *layout.scenery,
            *(a.mesh.transformed(a.pose(ground, 0.0)) for a in parked),
        ]
    )
    return World(
        plan,
        ground,
        ego,
        tuple(layout.actors),
        static,
        _backdrop(extent, paints[TERRAIN]),
        _draw_light(rng),
        extent,
    )


def _place_road(rng: np.random.Generator, plan: TownPlan) -> tuple[Road, tuple[float, float]]:
    """A road of random shape and direction, shifted so that all coordinates are positive."""
    bend = 0.0 if rng.random() < 0.5 else float(rng.choice([1, -1]) * rng.uniform(1 / 500, 1 / 220))
    heading = float(rng.uniform(0, 2 * np.pi))
    number = rng.normal(0, 2 * np.pi / 90, (3, 2))
    waves = np.column_stack([rng.uniform(0.04, 0.16, 3), number, rng.uniform(0, 6.28, 3)])
    probe = Road((0.0, 0.0), heading, bend, waves)
    s, d = np.meshgrid(np.linspace(plan.start, plan.end, 40), (-REACH, 0.0, REACH))
    x, y, _ = probe.frame(s, d)
    origin = (10.0 - float(x.min()), 10.0 - float(y.min()))
    extent = (float(np.ceil(np.ptp(x))) + 20.0, float(np.ceil(np.ptp(y))) + 20.0)
    return Road(origin, heading, bend, waves), extent


def _backdrop(extent: tuple[float, float], paint: Paint) -> Mesh:
    """A plane far below the modelled ground that reaches the horizon."""
    far, (x, y) = 2000.0, extent
    corners = [(-far, -far), (x + far, -far), (x + far, y + far), (-far, y + far)]
    return Mesh.painted([(*corner, -1.6) for corner in corners], [[0, 1, 2], [0, 2, 3]], paint)


def _draw_light(rng: np.random.Generator) -> Light:
    """Sunny, overcast or low evening light."""
    kind = rng.choice(["sunny", "overcast", "evening"], p=[0.5, 0.3, 0.2])
    elevation = {"sunny": rng.uniform(0.6, 1.2), "overcast": 1.0, "evening": rng.uniform(0.15, 0.4)}
    azimuth, up = rng.uniform(0, 2 * np.pi), elevation[kind]
    sun = np.array([np.cos(azimuth) * np.cos(up), np.sin(azimuth) * np.cos(up), np.sin(up)])
    strength = {"sunny": 1.0, "overcast": 0.15, "evening": 0.7}[kind]
    diffuse = {"sunny": 0.55, "overcast": 0.85, "evening": 0.4}[kind]
    warm = {"sunny": 0.05, "overcast": 0.0, "evening": 0.3}[kind]
    grey = {"sunny": 0.0, "overcast": 0.7, "evening": 0.2}[kind]
    blue, white = np.array([0.35, 0.55, 0.85]), np.array([0.72, 0.74, 0.76])
    horizon = (1 - warm) * np.array([0.78, 0.84, 0.9]) + warm * np.array([0.95, 0.7, 0.5])
    bright = 0.75 if kind == "evening" else 1.0
    return Light(
        sun,
        strength * np.array([1.0, 1.0 - 0.4 * warm, 1.0 - 0.9 * warm]),
        diffuse * np.array([0.95, 1.0, 1.08]),
        bright * ((1 - grey) * blue + grey * white),
        bright * ((1 - grey) * horizon + grey * white),
        float(rng.uniform(200, 700)),
    )
