"""Meshes of what never moves: buildings, street furniture, plants. Foot on z = 0."""

from __future__ import annotations

import numpy as np

from minkocc.synthetic.mesh import (
    LEAVES,
    WINDOWS,
    Mesh,
    Paint,
    blob,
    box,
    concatenate,
    cone,
    frustum,
)
from minkocc.synthetic.vehicles import any_colour

_MANMADE = "static.manmade"
_PLANT = "static.vegetation"


def building(rng: np.random.Generator, length: float, depth: float) -> Mesh:
    """A house whose front faces -y: walls, base, roof, perhaps an annexe and a porch.

    Args:
        rng: draws shape and colours.
        length: along x, metres.
        depth: along y, metres.
    """
    height = rng.uniform(3.5, 7.0) if rng.random() < 0.4 else rng.uniform(7.0, 20.0)
    tint = rng.choice([0.05, 0.16]) * np.array([1.0, 0.0, -0.6]) * rng.uniform(0.3, 1)
    red, green, blue = np.clip(rng.uniform(0.25, 0.75) + tint, 0.05, 0.95)
    wall = Paint(_MANMADE, (red, green, blue), WINDOWS, 0.3)
    trim, roof = Paint(_MANMADE, any_colour(rng)), Paint(_MANMADE, any_colour(rng))
    half = depth / 2
    parts = [
        box((0, 0, height / 2 + 0.3), (length, depth, height - 0.6), wall),
        box((0, 0, 0.35), (length + 0.1, depth + 0.1, 0.9), trim),
    ]
    if height < 8 and rng.random() < 0.7:
        ridge = rng.uniform(1.2, 2.8)
        parts.append(
            frustum(
                (-length / 2 - 0.4, length / 2 + 0.4, half + 0.4),
                (-length / 2 + 0.2, length / 2 - 0.2, 0.1),
                (height, height + ridge),
                roof,
            )
        )
    else:
        parts.append(box((0, 0, height + 0.25), (length + 0.3, depth + 0.3, 0.5), roof))
    for _ in range(rng.integers(0, 4)):
        x, width = rng.uniform(-0.4, 0.4) * length, rng.uniform(1.5, 3.5)
        bay = rng.uniform(2.4, min(height, 6.0))
        parts.append(box((x, -half - 0.5, bay / 2), (width, 1.2, bay), trim))
    return concatenate(parts)


def _leaf_paint(rng: np.random.Generator) -> Paint:
    """Greens that reach into olive and brown, as terrain's do."""
    dry = rng.random() ** 2
    colour = np.array([0.12 + 0.3 * dry, 0.26 + 0.06 * dry, 0.1 + 0.03 * dry]) * rng.uniform(
        0.7, 1.4
    )
    red, green, blue = (float(c) for c in np.clip(colour, 0.02, 0.9))
    return Paint(_PLANT, (red, green, blue), LEAVES, 0.45)


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk under a crown of several balls, or a conifer."""
    height = rng.uniform(4.0, 9.0)
    bark = Paint(_PLANT, (0.25, 0.19, 0.14), LEAVES, 0.3)
    leaves = _leaf_paint(rng)
    crown = rng.uniform(0.22, 0.4) * height
    trunk = cone((0, 0, 0), (0, 0, height * 0.6), (rng.uniform(0.12, 0.25), 0.09), bark)
    if rng.random() < 0.2:
        tiers = [
            cone(
                (0, 0, height * f), (0, 0, height * (f + 0.4)), (crown * (1.1 - f), 0.05), leaves, 9
            )
            for f in (0.18, 0.4, 0.6)
        ]
        return concatenate([trunk, *tiers])
    balls = []
    for _ in range(rng.integers(3, 6)):
        x, y = rng.normal(0, crown * 0.4, 2)
        z = height * rng.uniform(0.55, 0.85)
        radii = crown * rng.uniform(0.5, 0.85, 3)
        balls.append(blob((x, y, z), radii, leaves, rng, 0.13, 2))
    return concatenate([trunk, *balls])


def bush(rng: np.random.Generator) -> Mesh:
    """A shrub of a few balls."""
    leaves = _leaf_paint(rng)
    size = rng.uniform(0.4, 1.0)
    parts = []
    for _ in range(rng.integers(2, 5)):
        x, y = rng.normal(0, size * 0.6, 2)
        radii = size * rng.uniform(0.6, 1.1, 3)
        parts.append(blob((x, y, radii[2] * 0.7), radii, leaves, rng, 0.13, 1))
    return concatenate(parts)


def hedge(rng: np.random.Generator, length: float) -> Mesh:
    """A clipped but uneven hedge along x."""
    leaves = _leaf_paint(rng)
    height, width = rng.uniform(0.8, 1.8), rng.uniform(0.35, 0.6)
    xs = np.arange(-length / 2, length / 2 + 0.1, 0.8)
    return concatenate(
        [blob((x, 0, height * 0.5), (0.7, width, height * 0.52), leaves, rng, 0.1) for x in xs]
    )


def lamp(rng: np.random.Generator) -> Mesh:
    """A street lamp whose arm reaches towards -y."""
    paint = Paint(_MANMADE, any_colour(rng), reflectance=0.4)
    height = rng.uniform(5.0, 8.0)
    return concatenate(
        [
            cone((0, 0, 0), (0, 0, height), (0.13, 0.08), paint),
            cone((0, 0, height), (0, -1.8, height + 0.3), (0.06, 0.05), paint, 5),
            box((0, -1.9, height + 0.28), (0.3, 0.7, 0.14), paint),
            cone((0, 0, 0), (0, 0, 0.8), (0.2, 0.2), paint),
        ]
    )


def signal(rng: np.random.Generator) -> Mesh:
    """A traffic light facing -x."""
    pole = Paint(_MANMADE, (0.3, 0.3, 0.31), reflectance=0.4)
    case = box((-0.1, 0, 3.2), (0.3, 0.35, 1.0), Paint(_MANMADE, (0.1, 0.1, 0.1)))
    lit = int(rng.integers(3))
    colours = ((0.9, 0.08, 0.05), (0.9, 0.6, 0.05), (0.1, 0.85, 0.35))
    lamps = [
        box(
            (-0.27, 0, 3.5 - 0.3 * i),
            (0.04, 0.2, 0.2),
            Paint(_MANMADE, colour if i == lit else (0.12, 0.12, 0.12)),
        )
        for i, colour in enumerate(colours)
    ]
    return concatenate([cone((0, 0, 0), (0, 0, 3.7), (0.1, 0.08), pole), case, *lamps])


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign facing -x or an advertising pillar."""
    pole = Paint(_MANMADE, (0.45, 0.45, 0.46), reflectance=0.4)
    plate = Paint(_MANMADE, any_colour(rng), reflectance=0.95)
    if rng.random() < 0.7:
        height = rng.uniform(2.2, 3.0)
        top = box((-0.06, 0, height), (0.05, rng.uniform(0.6, 0.9), 0.7), plate)
        return concatenate([cone((0, 0, 0), (0, 0, height + 0.3), (0.05, 0.05), pole, 6), top])
    return concatenate([cone((0, 0, 0), (0, 0, 2.8), (0.6, 0.6), plate, 12)])


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """A wall, boards or railings along x."""
    colour = any_colour(rng)
    paint = Paint(_MANMADE, colour, reflectance=0.3)
    height = rng.uniform(0.9, 2.0)
    if rng.random() < 0.5:
        return box((0, 0, height / 2), (length, rng.uniform(0.12, 0.3), height), paint)
    posts = [
        box((x, 0, height / 2), (0.1, 0.1, height), paint)
        for x in np.linspace(-length / 2, length / 2, max(2, int(length / 1.5) + 1))
    ]
    rails = [
        box((0, 0, z), (length, 0.05, 0.12), paint) for z in np.arange(0.25, height + 0.01, 0.3)
    ]
    return concatenate(posts + rails)


def shelter(rng: np.random.Generator) -> Mesh:
    """A bus shelter open towards -y."""
    frame = Paint(_MANMADE, any_colour(rng), reflectance=0.35)
    length = rng.uniform(3.0, 4.5)
    parts = [
        box((0, 0.7, 1.2), (length, 0.06, 2.2), frame),
        box((0, 0, 2.45), (length + 0.2, 1.7, 0.12), frame),
        box((0, 0.4, 0.45), (length * 0.7, 0.4, 0.1), frame),
    ]
    parts += [box((x, 0.3, 1.2), (0.06, 0.9, 2.2), frame) for x in (-length / 2, length / 2)]
    return concatenate(parts)
