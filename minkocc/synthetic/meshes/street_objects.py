"""Meshes of people and movable street objects: x forward, foot on z = 0, centred."""

from __future__ import annotations

import numpy as np

from minkocc.synthetic.meshes.mesh import Mesh, Paint, blob, box, concatenate, cone, frustum
from minkocc.synthetic.meshes.vehicles import any_colour, centred, signal_colour

_SKIN = ((0.75, 0.58, 0.47), (0.55, 0.4, 0.3), (0.35, 0.25, 0.19))


def pedestrian(rng: np.random.Generator) -> Mesh:
    """An adult or a child, in mid-stride or standing."""
    child = rng.random() < 0.15
    name = "human.pedestrian.child" if child else "human.pedestrian.adult"
    scale = rng.uniform(0.6, 0.75) if child else rng.uniform(0.9, 1.08)
    skin = Paint(name, _SKIN[rng.integers(len(_SKIN))])
    coat, trousers = Paint(name, any_colour(rng)), Paint(name, any_colour(rng))
    stride, width = rng.uniform(0.0, 0.3), rng.uniform(0.2, 0.27)
    parts = [
        frustum((-0.12, 0.12, width - 0.04), (-0.14, 0.14, width), (0.8, 1.4), coat),
        blob((0.02, 0, 1.6), (0.12, 0.11, 0.14), skin, rng),
        cone((0, 0, 1.38), (0, 0, 1.5), (0.07, 0.06), skin, 5),
    ]
    for side, swing in ((1, stride), (-1, -stride)):
        parts.append(
            cone((swing, side * 0.11, 0), (0, side * 0.11, 0.82), (0.07, 0.1), trousers, 6)
        )
        hand = (-swing * 0.9, side * (width + 0.08), 0.8)
        parts.append(cone(hand, (0, side * (width + 0.03), 1.36), (0.045, 0.06), coat, 5))
    mesh = concatenate(parts)
    return centred(mesh.transformed(np.diag([scale, scale, scale, 1.0])))


def barrier(rng: np.random.Generator, striped: bool) -> Mesh:
    """Two metres of concrete barrier, or a plank on feet, across y."""
    name = "movable_object.barrier"
    if striped:
        board, foot = Paint(name, signal_colour(rng), reflectance=0.6), Paint(name, any_colour(rng))
        parts = [box((0, 0, z), (0.06, 1.9, 0.25), board) for z in (0.5, 0.9)]
        parts += [box((0, y, 0.52), (0.08, 0.08, 1.04), foot) for y in (-0.8, 0.8)]
        parts += [box((0, y, 0.06), (0.7, 0.14, 0.12), foot) for y in (-0.8, 0.8)]
        return centred(concatenate(parts))
    grey = float(rng.uniform(0.4, 0.7))
    plain = (grey, grey, grey * 0.95)
    paint = Paint(name, plain if rng.random() < 0.6 else signal_colour(rng), reflectance=0.3)
    low = frustum((-0.3, 0.3, 0.98), (-0.14, 0.14, 0.98), (0, 0.4), paint)
    return centred(
        concatenate([low, frustum((-0.14, 0.14, 0.98), (-0.09, 0.09, 0.98), (0.4, 0.9), paint)])
    )


def traffic_cone(rng: np.random.Generator) -> Mesh:
    """A cone with a retro-reflecting band, or a tall delineator."""
    name = "movable_object.trafficcone"
    paint = Paint(name, signal_colour(rng), reflectance=0.4)
    band = Paint(name, (0.85, 0.85, 0.85), reflectance=0.95)
    height = rng.uniform(0.7, 1.05)
    parts = [
        box((0, 0, 0.03), (0.42, 0.42, 0.06), paint),
        cone((0, 0, 0.05), (0, 0, height), (0.17, 0.04), paint, 8),
        cone((0, 0, height * 0.5), (0, 0, height * 0.7), (0.125, 0.09), band, 8),
    ]
    return centred(concatenate(parts))


def _debris(rng: np.random.Generator) -> Mesh:
    """Rubbish bags and cardboard boxes in a heap."""
    name = "movable_object.debris"
    parts = []
    for _ in range(rng.integers(4, 8)):
        x, y = rng.uniform(-0.6, 0.6, 2)
        size = rng.uniform(0.3, 0.6, 3)
        paint = Paint(name, any_colour(rng))
        if rng.random() < 0.5:
            parts.append(blob((x, y, size[2] * 0.7), size * 0.7, paint, rng, 0.12))
        else:
            parts.append(box((x, y, size[2] / 2), size, paint))
    return centred(concatenate(parts))


def _bin(rng: np.random.Generator) -> Mesh:
    """One or two wheeled rubbish containers."""
    name = "movable_object.pushable_pullable"
    width, height = rng.uniform(0.55, 1.3), rng.uniform(1.0, 1.35)
    paint, lid = Paint(name, any_colour(rng)), Paint(name, any_colour(rng))
    half = width / 2
    parts = [
        frustum((-0.27, 0.27, half - 0.06), (-0.37, 0.37, half), (0.1, height - 0.1), paint),
        frustum((-0.4, 0.4, half + 0.03), (-0.25, 0.4, half), (height - 0.1, height), lid),
        cone((-0.25, -half, 0.1), (-0.25, half, 0.1), (0.1, 0.1), lid, 6),
    ]
    return centred(concatenate(parts))


def _stroller(rng: np.random.Generator) -> Mesh:
    """A pushchair."""
    name = "human.pedestrian.stroller"
    cloth, frame = Paint(name, any_colour(rng)), Paint(name, (0.2, 0.2, 0.2))
    parts = [
        frustum((-0.25, 0.35, 0.22), (-0.4, 0.4, 0.26), (0.45, 0.8), cloth),
        blob((0.2, 0, 0.85), (0.25, 0.26, 0.25), cloth, rng),
        cone((-0.5, -0.22, 1.05), (-0.5, 0.22, 1.05), (0.03, 0.03), frame, 5),
    ]
    for y in (-0.25, 0.25):
        parts.append(cone((-0.5, y, 1.05), (0.4, y, 0.15), (0.025, 0.025), frame, 5))
        parts.append(cone((-0.35, y - 0.03, 0.14), (-0.35, y + 0.03, 0.14), (0.14, 0.14), frame, 8))
        parts.append(cone((0.4, y - 0.03, 0.12), (0.4, y + 0.03, 0.12), (0.12, 0.12), frame, 8))
    return centred(concatenate(parts))


def clutter(rng: np.random.Generator) -> Mesh:
    """Something of class 'others': rubbish, a container or a pushchair."""
    return (_debris, _bin, _bin, _stroller)[rng.integers(4)](rng)
