"""The light of a scene: sun, sky, haze and lamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minkocc.synthetic.meshes.mesh import FloatArray


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
        clouds: from -1 for a clear sky to 1 for a covered one.
        tint: RGB factors of the cameras' white balance.
        lamps: how strongly lamps and lit windows shine, 0 by day.
    """

    sun: FloatArray
    sun_colour: FloatArray
    sky_light: FloatArray
    zenith: FloatArray
    horizon: FloatArray
    haze: float
    clouds: float
    tint: FloatArray
    lamps: float


def draw_light(rng: np.random.Generator, dusk: bool) -> Light:
    """Draw the light of a scene: sunny or overcast by day, or dusk.

    Args:
        rng: draws it.
        dusk: whether the sun is about to set.
    """
    azimuth, grey = rng.uniform(0, 2 * np.pi), float(rng.random() < 0.45)
    elevation = rng.uniform(0.08, 0.22) if dusk else rng.uniform(0.5, 1.15)
    sun: FloatArray = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    warm = rng.uniform(0.25, 0.5) if dusk else rng.uniform(0.02, 0.12)
    direct = (0.12 if grey else 1.15) * (0.55 if dusk else 1.0)
    diffuse = (0.75 if grey else 0.5) * (0.42 if dusk else 1.0)
    bright = 0.4 if dusk else 1.0
    blue, white = np.array([0.3, 0.5, 0.85]), np.array([0.72, 0.74, 0.76])
    horizon = (1 - warm) * np.array([0.78, 0.84, 0.9]) + warm * np.array([1.0, 0.66, 0.42])
    return Light(
        sun,
        direct * np.array([1.0, 1.0 - 0.5 * warm, 1.0 - 0.95 * warm]),
        diffuse * np.array([0.9, 1.0, 1.15]),
        bright * ((1 - 0.8 * grey) * blue + 0.8 * grey * white),
        bright * ((1 - 0.7 * grey) * horizon + 0.7 * grey * white),
        float(rng.uniform(250, 800)),
        float(rng.uniform(0.3, 0.8) if grey else rng.uniform(-0.6, 0.25)),
        rng.uniform(0.94, 1.06, 3),
        0.9 if dusk else 0.0,
    )
