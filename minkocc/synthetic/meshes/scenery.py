"""Meshes of what never moves: buildings, street furniture, plants. Foot on z = 0."""

from __future__ import annotations

import numpy as np

from minkocc.synthetic.meshes.mesh import (
    LAMP,
    LEAVES,
    WINDOWS,
    Mesh,
    Paint,
    blob,
    box,
    concatenate,
    cone,
    frustum,
    pose_matrix,
)
from minkocc.synthetic.meshes.vehicles import any_colour

_MANMADE = "static.manmade"
_PLANT = "static.vegetation"
_CLEARANCE = 3.6  # metres under the crown of a street tree


def wall_colour(rng: np.random.Generator, tone: float = 1.0) -> tuple[float, float, float]:
    """Plaster, brick, stone or concrete, ``tone`` times as light as usual."""
    shades = (
        (0.62, 0.58, 0.5), (0.42, 0.24, 0.17), (0.5, 0.5, 0.5), (0.78, 0.76, 0.72),
        (0.5, 0.41, 0.3), (0.35, 0.36, 0.38), (0.33, 0.38, 0.26), (0.24, 0.26, 0.2),
        (0.42, 0.42, 0.43), (0.6, 0.62, 0.66),
    )  # fmt: skip
    colour = np.array(shades[rng.integers(len(shades))]) * rng.uniform(0.65, 1.3) * tone
    red, green, blue = np.clip(colour + rng.normal(0, 0.02, 3), 0.05, 0.9)
    return float(red), float(green), float(blue)


def _cladding(rng: np.random.Generator, tone: float) -> tuple[float, float, float]:
    """Glass and coloured render, none of the colours of ``wall_colour``."""
    shades = ((0.25, 0.36, 0.45), (0.3, 0.42, 0.4), (0.68, 0.5, 0.42), (0.72, 0.66, 0.4))
    colour = np.array(shades[rng.integers(len(shades))]) * rng.uniform(0.7, 1.2) * tone
    red, green, blue = np.clip(colour, 0.05, 0.9)
    return float(red), float(green), float(blue)


def building(
    rng: np.random.Generator, length: float, depth: float, tone: float, tower: bool = False
) -> Mesh:
    """A house whose front faces -y: walls, plinth, roof, and some of wing, door, balconies, shop.

    Args:
        rng: draws shape and colours.
        length: along x, metres.
        depth: along y, metres.
        tone: how light the walls of this town are, 1 as usual.
        tower: tall, flat-roofed and clad in glass or render instead, as in a shifted town.
    """
    low = rng.random() < 0.4 and not tower
    height = float(rng.uniform(3.6, 7.0) if low else rng.uniform(8.0, 22.0))
    colour = wall_colour(rng, tone)
    if tower:
        height = 1.8 * height + 6.0
        colour = _cladding(rng, tone)
    wall = Paint(_MANMADE, colour, WINDOWS, 0.3)
    trim = Paint(_MANMADE, wall_colour(rng), reflectance=0.3)
    parts = [
        box((0, 0, height / 2 + 0.3), (length, depth, height - 0.6), wall),
        box((0, 0, 0.1), (length + 0.12, depth + 0.12, 0.7), trim),
        *_roof(rng, length, depth, height),
        *_entrance(rng, length, depth, trim),
    ]
    if rng.random() < 0.3:
        wing, tall = length * rng.uniform(0.3, 0.5), height * rng.uniform(0.5, 0.9)
        x = rng.choice([-1, 1]) * (length - wing) / 2
        parts.append(box((x, -depth / 2 - 0.5, tall / 2), (wing, 1.2, tall), wall))
    if not low and rng.random() < 0.5:
        parts += _balconies(rng, length, depth, height, trim)
    return concatenate(parts)


def _roof(rng: np.random.Generator, length: float, depth: float, height: float) -> list[Mesh]:
    """A hipped roof on a low house, else a flat one with a parapet and what stands on it."""
    tile = (0.4, 0.17, 0.1) if rng.random() < 0.4 else wall_colour(rng)
    paint = Paint(_MANMADE, tile, reflectance=0.3)
    half = depth / 2
    if height < 9 and rng.random() < 0.75:
        eaves = (-length / 2 - 0.4, length / 2 + 0.4, half + 0.4)
        inset = rng.choice([0.2, rng.uniform(1.0, 3.0)])
        ridge = (-length / 2 + inset, length / 2 - inset, 0.1)
        roof = [frustum(eaves, ridge, (height, height + rng.uniform(1.4, 3.0)), paint)]
        if rng.random() < 0.6:
            x, y = rng.uniform(-0.3, 0.3) * length, rng.uniform(-0.2, 0.2) * depth
            roof.append(box((x, y, height + 1.4), (0.6, 0.6, 2.8), paint))
        return roof
    parts = [box((0, 0, height + 0.25), (length + 0.3, depth + 0.3, 0.5), paint)]
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(-0.35, 0.35) * length, rng.uniform(-0.3, 0.3) * depth
        size = rng.uniform(0.8, 3.0, 2)
        parts.append(box((x, y, height + 1.2), (*size, rng.uniform(1.0, 2.2)), paint))
    return parts


def _entrance(rng: np.random.Generator, length: float, depth: float, trim: Paint) -> list[Mesh]:
    """A door under a canopy, or a shop window under an awning."""
    front, dark = -depth / 2, Paint(_MANMADE, (0.13, 0.1, 0.08))
    x = float(rng.uniform(-0.3, 0.3)) * length
    door = [
        box((x, front - 0.05, 1.1), (1.3, 0.16, 2.2), dark),
        box((x, front - 0.5, 2.4), (2.0, 1.0, 0.14), trim),
    ]
    if rng.random() < 0.6:
        return door
    glass = Paint(_MANMADE, (0.2, 0.22, 0.25), reflectance=0.1)
    cloth = Paint(_MANMADE, any_colour(rng), reflectance=0.3)
    wide = 0.86 * length
    awning = frustum((-wide / 2, wide / 2, 0.06), (-wide / 2, wide / 2, 0.75), (2.5, 2.95), cloth)
    return [
        box((0, front - 0.06, 1.55), (wide, 0.2, 1.9), glass),
        awning.transformed(pose_matrix(0, front - 0.7, 0, 0)),
        box((x, front - 0.12, 1.15), (1.2, 0.24, 2.3), dark),
    ]


def _balconies(
    rng: np.random.Generator, length: float, depth: float, height: float, trim: Paint
) -> list[Mesh]:
    """Slabs with parapets in columns on the front."""
    columns = np.linspace(-0.35, 0.35, int(rng.integers(2, 4))) * length
    return [
        part
        for x in columns
        for z in np.arange(3.4, height - 2.0, 3.1)
        for part in (
            box((x, -depth / 2 - 0.6, z), (2.4, 1.2, 0.16), trim),
            box((x, -depth / 2 - 1.17, z + 0.5), (2.4, 0.06, 0.9), trim),
        )
    ]


def _leaf_paint(rng: np.random.Generator) -> Paint:
    """Greens that reach into olive and brown, as terrain's do."""
    dry = rng.random() ** 2
    fresh, faded = np.array([0.17, 0.25, 0.12]), np.array([0.42, 0.31, 0.18])
    colour = ((1 - dry) * fresh + dry * faded) * rng.uniform(0.5, 1.5)
    colour += rng.uniform(0.0, 0.5) * (colour.mean() - colour)
    red, green, blue = (float(c) for c in np.clip(colour, 0.02, 0.9))
    return Paint(_PLANT, (red, green, blue), LEAVES, 0.45)


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk under a crown of several balls, or a conifer."""
    height = rng.uniform(4.5, 10.0)
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
    return concatenate([trunk, *_crown(rng, crown, height * 0.55, height * 0.85, leaves)])


def _crown(
    rng: np.random.Generator, size: float, low: float, high: float, leaves: Paint
) -> list[Mesh]:
    """Several balls of leaves with their middles between two heights, metres."""
    balls = []
    for _ in range(rng.integers(3, 6)):
        x, y = rng.normal(0, size * 0.4, 2)
        radii = size * rng.uniform(0.5, 0.85, 3)
        balls.append(blob((x, y, rng.uniform(low, high)), radii, leaves, rng, 0.13, 2))
    return balls


def street_tree(rng: np.random.Generator) -> Mesh:
    """A tree with a bare stem, under which lorries pass."""
    stem = _CLEARANCE + rng.uniform(0.0, 0.6)
    size = rng.uniform(1.4, 2.4)
    bark = Paint(_PLANT, (0.25, 0.19, 0.14), LEAVES, 0.3)
    middle = stem + size
    trunk = cone((0, 0, 0), (0, 0, middle), (rng.uniform(0.12, 0.22), 0.09), bark)
    crown = concatenate(_crown(rng, size, middle, middle + 0.8 * size, _leaf_paint(rng)))
    lift = max(0.0, stem - float(crown.vertices[:, 2].min()))
    return concatenate([trunk, crown.transformed(pose_matrix(0, 0, lift, 0))])


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
    grey = float(rng.uniform(0.12, 0.55))
    paint = Paint(_MANMADE, (grey, grey, grey), reflectance=0.4)
    height = rng.uniform(5.0, 8.0)
    return concatenate(
        [
            cone((0, 0, 0), (0, 0, height), (0.13, 0.08), paint),
            cone((0, 0, height), (0, -1.8, height + 0.3), (0.06, 0.05), paint, 5),
            box((0, -1.9, height + 0.28), (0.3, 0.7, 0.14), paint),
            box(
                (0, -1.9, height + 0.19), (0.24, 0.6, 0.05), Paint(_MANMADE, (0.9, 0.85, 0.7), LAMP)
            ),
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
            Paint(_MANMADE, colour, LAMP) if i == lit else Paint(_MANMADE, (0.12, 0.12, 0.12)),
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
