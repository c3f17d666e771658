"""Meshes of vehicles: x forward, y left, wheels on z = 0, centred on the z axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkocc.synthetic.meshes.mesh import (
    LAMP,
    Mesh,
    Paint,
    blob,
    box,
    concatenate,
    cone,
    frustum,
    pose_matrix,
)

RGB = tuple[float, float, float]


def centred(mesh: Mesh) -> Mesh:
    """The mesh with its box's centre on the z axis and its foot at 0."""
    low, high = mesh.bounds()
    centre = (low + high) / 2
    return mesh.transformed(pose_matrix(-centre[0], -centre[1], -low[2], 0.0))


def any_colour(rng: np.random.Generator) -> RGB:
    """A colour that tells nothing about what wears it: mostly greys, some muted hues."""
    grey = rng.uniform(0.06, 0.85)
    spread = rng.choice([0.03, 0.14]) * rng.uniform(0.4, 1.0, 3) * rng.choice([-1, 1], 3)
    red, green, blue = np.clip(grey + spread, 0.04, 0.92)
    return float(red), float(green), float(blue)


def body_colour(rng: np.random.Generator) -> RGB:
    """A vehicle's paint: mostly white to black, some blues, reds and others."""
    value = float(rng.choice([0.04, 0.1, 0.3, 0.55, 0.8], p=[0.2, 0.15, 0.2, 0.2, 0.25]))
    red = green = blue = value * float(rng.uniform(0.8, 1.15))
    if rng.random() < 0.35:
        tints = ((0.05, 0.12, 0.4), (0.45, 0.05, 0.05), (0.08, 0.25, 0.16), (0.5, 0.4, 0.12))
        red, green, blue = tints[rng.choice(len(tints), p=[0.45, 0.3, 0.1, 0.15])]
        scale = float(rng.uniform(0.7, 1.5))
        red, green, blue = red * scale, green * scale, blue * scale
    return min(red, 0.9), min(green, 0.9), min(blue, 0.9)


def signal_colour(rng: np.random.Generator) -> RGB:
    """A warning colour: yellow, orange or red."""
    hue = rng.uniform(0.1, 0.75)
    return float(rng.uniform(0.7, 0.95)), float(0.15 + 0.7 * hue), float(rng.uniform(0.05, 0.2))


def _glass(category: str) -> Paint:
    return Paint(category, (0.1, 0.12, 0.14), reflectance=0.06)


def _wheels(
    category: str, xs: tuple[float, ...], half: float, radius: float, width: float = 0.22
) -> list[Mesh]:
    """A pair of wheels at each x."""
    tyre = Paint(category, (0.06, 0.06, 0.06), reflectance=0.08)
    return [
        cone((x, y - width / 2, radius), (x, y + width / 2, radius), (radius, radius), tyre, 9)
        for x in xs
        for y in (half - width / 2, -half + width / 2)
    ]


def _lights(category: str, length: float, half: float, z: float) -> list[Mesh]:
    """Head and tail lights, the latter retro-reflecting."""
    head = Paint(category, (0.9, 0.9, 0.85), LAMP, 0.7)
    tail = Paint(category, (0.6, 0.05, 0.05), LAMP, 0.9)
    size = (0.06, 0.3, 0.14)
    return [
        box((sign * (length / 2 + 0.01), y, z), size, paint)
        for sign, paint in ((1, head), (-1, tail))
        for y in (half - 0.25, -half + 0.25)
    ]


def car(rng: np.random.Generator) -> Mesh:
    """A saloon, hatchback, estate or van."""
    name = "vehicle.car"
    length, half = rng.uniform(3.9, 4.9), rng.uniform(0.86, 0.97)
    waist, roof = rng.uniform(0.82, 0.95), rng.uniform(1.42, 1.75)
    bonnet, boot = rng.uniform(0.24, 0.32), rng.choice([0.02, 0.08, 0.18])
    front, back = length / 2, -length / 2
    paint = Paint(name, body_colour(rng), reflectance=0.35)
    cabin = (back + boot * length, front - bonnet * length)
    top = (cabin[0] + 0.15 + boot * 2, cabin[1] - 0.6, half - 0.2)
    parts = [
        frustum((back + 0.06, front - 0.06, half - 0.04), (back, front, half), (0.22, 0.6), paint),
        frustum((back, front, half), (back + 0.05, front - 0.15, half - 0.06), (0.6, waist), paint),
        frustum((*cabin, half - 0.08), top, (waist, roof - 0.06), _glass(name)),
        frustum(top, top, (roof - 0.06, roof), paint),
        *_wheels(name, (front - 0.8, back + 0.75), half, 0.33),
        *_lights(name, length, half, 0.65),
    ]
    return centred(concatenate(parts))


def ego_body() -> Mesh:
    """The recording vehicle below its LiDAR, in the ego frame: roof, windscreen, bonnet."""
    paint = Paint("vehicle.ego", (0.9, 0.9, 0.9))
    return concatenate(
        [
            frustum((-0.6, 2.45, 0.75), (-0.1, 1.45, 0.56), (0.95, 1.47), paint),
            frustum((-0.75, 3.35, 0.86), (-0.7, 3.2, 0.84), (0.3, 0.95), paint),
        ]
    )


def truck(rng: np.random.Generator) -> Mesh:
    """A lorry with a box, a tipper or a flat bed behind its cab."""
    name = "vehicle.truck"
    length, half = rng.uniform(6.0, 8.5), rng.uniform(1.1, 1.25)
    cab_height, cab = rng.uniform(2.3, 2.9), rng.uniform(1.7, 2.1)
    front, back = length / 2, -length / 2
    paint, cargo = Paint(name, body_colour(rng), reflectance=0.35), Paint(name, any_colour(rng))
    dark = Paint(name, (0.12, 0.12, 0.13), reflectance=0.15)
    parts = [
        frustum((front - cab, front, half), (front - cab, front - 0.1, half), (0.5, 1.6), paint),
        frustum(
            (front - cab, front - 0.1, half - 0.03),
            (front - cab, front - 0.4, half - 0.08),
            (1.6, cab_height - 0.1),
            _glass(name),
        ),
        box((front - cab / 2 - 0.25, 0, cab_height), (cab - 0.4, 2 * half - 0.1, 0.2), paint),
        box((-0.4, 0, 0.7), (length - 1.2, 0.9, 0.3), dark),
        *_wheels(name, (front - 1.0, back + 1.2, back + 2.3), half, 0.48, 0.3),
        *_lights(name, length, half, 0.8),
    ]
    bed = length - cab - 0.3
    height = rng.choice([0.3, 1.2, rng.uniform(2.0, 2.5)], p=[0.15, 0.2, 0.65])
    parts.append(box((back + bed / 2, 0, 0.95 + height / 2), (bed, 2 * half + 0.05, height), cargo))
    return centred(concatenate(parts))


def bus(rng: np.random.Generator) -> Mesh:
    """A city bus with a band of windows."""
    name = "vehicle.bus.rigid"
    length, half, height = rng.uniform(9.5, 12.5), 1.28, rng.uniform(2.9, 3.3)
    paint = Paint(name, body_colour(rng), reflectance=0.35)
    upper = Paint(name, body_colour(rng), reflectance=0.35)
    window = 1.35
    parts = [
        box((0, 0, 0.3 + (window - 0.3) / 2), (length, 2 * half, window - 0.3), paint),
        box((0, 0, window + 0.5), (length - 0.08, 2 * half - 0.06, 1.0), _glass(name)),
        box((0, 0, (window + 1.0 + height) / 2), (length, 2 * half, height - window - 1), upper),
        box((-length * 0.2, 0, height + 0.1), (2.2, 1.5, 0.22), upper),
        *_wheels(name, (length / 2 - 2.5, -length / 2 + 3.0), half + 0.02, 0.5, 0.3),
        *_lights(name, length, half, 0.8),
    ]
    for x in np.arange(-length / 2 + 1.2, length / 2, 1.6):
        parts.append(box((x, 0, window + 0.5), (0.14, 2 * half - 0.02, 1.0), paint))
    return centred(concatenate(parts))


def trailer(rng: np.random.Generator) -> Mesh:
    """A trailer without its lorry: box, container or low loader, with a drawbar or legs."""
    name = "vehicle.trailer"
    length, half = rng.uniform(5.5, 10.0), rng.uniform(1.15, 1.25)
    height = rng.choice([0.35, rng.uniform(2.2, 2.7)], p=[0.25, 0.75])
    dark = Paint(name, (0.14, 0.14, 0.15), reflectance=0.15)
    cargo = Paint(name, any_colour(rng), reflectance=0.4)
    back, front = -length / 2, length / 2
    parts = [
        box((0, 0, 1.0), (length, 1.0, 0.25), dark),
        box((0, 0, 1.12 + height / 2), (length, 2 * half, height), cargo),
        cone((front, 0, 0.9), (front + 1.4, 0, 0.6), (0.09, 0.07), dark, 4),
        *_wheels(name, (back + 0.9, back + 2.0), half, 0.48, 0.3),
        *_lights(name, length - 0.1, half, 0.9),
    ]
    parts += [box((front - 1.2, y, 0.5), (0.15, 0.15, 1.0), dark) for y in (-0.7, 0.7)]
    return centred(concatenate(parts))


def construction_vehicle(rng: np.random.Generator) -> Mesh:
    """An excavator on tracks or a wheel loader."""
    name = "vehicle.construction"
    colour = signal_colour(rng) if rng.random() < 0.7 else any_colour(rng)
    paint = Paint(name, colour, reflectance=0.35)
    dark = Paint(name, (0.12, 0.11, 0.1), reflectance=0.12)
    if rng.random() < 0.6:
        parts = [box((0, y, 0.4), (3.4, 0.55, 0.8), dark) for y in (-1.0, 1.0)]
        parts += [box((-0.5, 0, 1.35), (2.8, 2.3, 1.0), paint)]
        cab, hinge = (0.4, 0.7, 2.25), np.array([0.9, -0.3, 1.5])
    else:
        parts = _wheels(name, (1.4, -1.4), 1.2, 0.75, 0.5)
        parts += [
            box((-0.8, 0, 1.3), (2.8, 1.7, 0.9), paint),
            box((1.2, 0, 1.0), (1.6, 1, 0.6), dark),
        ]
        cab, hinge = (0.0, 0.0, 2.4), np.array([1.4, 0.0, 1.2])
    parts += [
        box(cab, (1.2, 1.1, 1.3), _glass(name)),
        box((*cab[:2], 2.98), (1.3, 1.2, 0.12), paint),
    ]
    elbow = hinge + np.array([rng.uniform(0.8, 1.6), 0, rng.uniform(0.6, 2.0)])
    tip = elbow + np.array([rng.uniform(0.6, 1.2), 0, -rng.uniform(0.9, 1.6)])
    parts += [cone(hinge, elbow, (0.28, 0.22), paint, 4), cone(elbow, tip, (0.22, 0.14), paint, 4)]
    wide = (tip[0] - 0.4, tip[0] + 0.4, 0.7)
    narrow = (tip[0] - 0.2, tip[0] + 0.2, 0.6)
    bucket = frustum(wide, narrow, (tip[2] - 0.6, tip[2]), dark, tip[1])
    return centred(concatenate([*parts, bucket]))


def _rider(name: str, rng: np.random.Generator, seat: float, lean: float) -> list[Mesh]:
    """Somebody sitting on a two-wheeler, counted as part of it."""
    clothes, trousers = Paint(name, any_colour(rng)), Paint(name, any_colour(rng))
    shoulder = (lean, 0, seat + 0.58)
    parts = [
        cone((-0.1, 0, seat), shoulder, (0.17, 0.21), clothes),
        blob((lean + 0.06, 0, seat + 0.82), (0.13, 0.12, 0.15), trousers, rng),
    ]
    for y in (-0.2, 0.2):
        parts.append(cone((lean, y, seat + 0.5), (0.45, y, seat + 0.25), (0.06, 0.05), clothes, 5))
        parts.append(
            cone((-0.05, y * 0.6, seat), (0.25, y * 0.8, seat - 0.3), (0.09, 0.07), trousers, 5)
        )
        parts.append(
            cone((0.25, y * 0.8, seat - 0.3), (0.05, y * 0.8, 0.25), (0.07, 0.05), trousers, 5)
        )
    return parts


def motorcycle(rng: np.random.Generator, rider: bool = True) -> Mesh:
    """A motorcycle or scooter: fat wheels, a closed body."""
    name = "vehicle.motorcycle"
    paint = Paint(name, body_colour(rng), reflectance=0.35)
    tyre = Paint(name, (0.06, 0.06, 0.06), reflectance=0.08)
    wheel = rng.uniform(0.27, 0.33)
    rubber = (wheel, wheel)
    parts = [cone((x, -0.08, wheel), (x, 0.08, wheel), rubber, tyre, 10) for x in (0.7, -0.65)]
    parts += [
        frustum((-0.6, 0.45, 0.2), (-0.75, 0.35, 0.14), (0.3, 0.78), paint),
        frustum((0.25, 0.6, 0.17), (0.2, 0.45, 0.12), (0.5, 1.0), paint),
        box((0.4, 0, 1.05), (0.08, 0.72, 0.06), tyre),
        cone((0.7, 0, wheel), (0.4, 0, 1.05), (0.06, 0.05), tyre, 5),
    ]
    return centred(concatenate([*parts, *(_rider(name, rng, 0.8, 0.12) if rider else [])]))


def bicycle(rng: np.random.Generator, rider: bool = True) -> Mesh:
    """A bicycle: large thin wheels, a frame of tubes."""
    name = "vehicle.bicycle"
    paint = Paint(name, any_colour(rng), reflectance=0.3)
    tyre = Paint(name, (0.08, 0.08, 0.08), reflectance=0.1)
    parts = [
        cone((x, -0.025, 0.34), (x, 0.025, 0.34), (0.34, 0.34), tyre, 12) for x in (0.52, -0.52)
    ]
    joints = {"hub": (-0.52, 0, 0.34), "crank": (-0.08, 0, 0.3), "seat": (-0.2, 0, 0.9)}
    head = (0.38, 0, 0.85)
    tubes = [
        (joints["hub"], joints["crank"]),
        (joints["crank"], joints["seat"]),
        (joints["hub"], joints["seat"]),
        (joints["crank"], head),
        (joints["seat"], head),
        (head, (0.52, 0, 0.34)),
        ((0.38, -0.28, 1.0), (0.38, 0.28, 1.0)),
        (head, (0.38, 0, 1.0)),
    ]
    parts += [cone(a, b, (0.028, 0.028), paint, 5) for a, b in tubes]
    parts.append(box((-0.22, 0, 0.95), (0.26, 0.14, 0.06), tyre))
    return centred(concatenate([*parts, *(_rider(name, rng, 0.97, 0.1) if rider else [])]))


VEHICLES: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "car": car,
    "truck": truck,
    "bus": bus,
    "trailer": trailer,
    "construction_vehicle": construction_vehicle,
    "motorcycle": motorcycle,
    "bicycle": bicycle,
}
"""Vehicle builders by Occ3D class."""
