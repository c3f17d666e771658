"""Triangle meshes that carry class, appearance and owner per face, and the primitives they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minkocc.synthetic.categories import category_index

FloatArray = npt.NDArray[np.float64]
Vector = Sequence[float] | FloatArray
"""x, y, z in metres."""

PLAIN, WINDOWS, LEAVES, ASPHALT, GRASS, SLABS, LAMP = range(7)
"""How a face is textured, see ``appearance``."""

SCENERY = -1
"""Owner of faces that belong to no single object."""


@dataclass(frozen=True)
class Paint:
    """What a surface is made of.

    Args:
        category: nuScenes category name.
        colour: RGB albedo in [0, 1].
        texture: one of the texture constants of this module.
        reflectance: of the LiDAR's infra-red light, in [0, 1].
    """

    category: str
    colour: tuple[float, float, float]
    texture: int = PLAIN
    reflectance: float = 0.25


@dataclass(frozen=True)
class Mesh:
    """Triangles with per-face attributes.

    Args:
        vertices: ``(V, 3)`` metres.
        faces: ``(F, 3)`` vertex indices.
        category: ``(F,)`` nuScenes-lidarseg index.
        colour: ``(F, 3)`` RGB albedo in [0, 1].
        texture: ``(F,)`` texture constant.
        reflectance: ``(F,)`` in [0, 1].
        owner: ``(F,)`` object number, ``SCENERY`` for none.
    """

    vertices: FloatArray
    faces: npt.NDArray[np.int32]
    category: npt.NDArray[np.uint8]
    colour: npt.NDArray[np.float32]
    texture: npt.NDArray[np.uint8]
    reflectance: npt.NDArray[np.float32]
    owner: npt.NDArray[np.int32]

    @classmethod
    def painted(cls, vertices: npt.ArrayLike, faces: npt.ArrayLike, paint: Paint) -> Mesh:
        """A mesh of one material, owned by nothing."""
        triangles = np.asarray(faces, np.int32).reshape(-1, 3)
        count = len(triangles)
        return cls(
            np.asarray(vertices, np.float64).reshape(-1, 3),
            triangles,
            np.full(count, category_index(paint.category), np.uint8),
            np.tile(np.asarray(paint.colour, np.float32), (count, 1)),
            np.full(count, paint.texture, np.uint8),
            np.full(count, paint.reflectance, np.float32),
            np.full(count, SCENERY, np.int32),
        )

    def transformed(self, matrix: FloatArray) -> Mesh:
        """The mesh moved by a 4x4 matrix on column vectors."""
        return replace(self, vertices=self.vertices @ matrix[:3, :3].T + matrix[:3, 3])

    def owned_by(self, owner: int) -> Mesh:
        """The mesh with every face given to one object."""
        return replace(self, owner=np.full(len(self.faces), owner, np.int32))

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest corner, ``(3,)`` each, in metres."""
        return self.vertices.min(0), self.vertices.max(0)


def concatenate(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; an empty sequence gives an empty mesh."""
    if not meshes:
        empty = Paint("noise", (0.0, 0.0, 0.0))
        return Mesh.painted(np.zeros((0, 3)), np.zeros((0, 3)), empty)
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + o for m, o in zip(meshes, offsets)]).astype(np.int32),
        np.concatenate([m.category for m in meshes]),
        np.concatenate([m.colour for m in meshes]),
        np.concatenate([m.texture for m in meshes]),
        np.concatenate([m.reflectance for m in meshes]),
        np.concatenate([m.owner for m in meshes]),
    )


def pose_matrix(x: float, y: float, z: float, yaw: float) -> FloatArray:
    """4x4 matrix that turns by ``yaw`` radians about z, then moves to ``(x, y, z)`` metres."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], np.float64)


_HEXAHEDRON = [
    [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
    [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
]  # fmt: skip


def frustum(
    bottom: tuple[float, float, float],
    top: tuple[float, float, float],
    z: tuple[float, float],
    paint: Paint,
    y: float = 0.0,
) -> Mesh:
    """A block whose lower and upper rectangle differ, such as a car's cabin.

    Args:
        bottom: ``(x0, x1, half width)`` of the lower rectangle, metres.
        top: the same of the upper rectangle.
        z: lower and upper height, metres.
        paint: its material.
        y: centre across.
    """
    rows = []
    for (x0, x1, half), height in ((bottom, z[0]), (top, z[1])):
        rows += [(x0, y - half, height), (x1, y - half, height)]
        rows += [(x1, y + half, height), (x0, y + half, height)]
    return Mesh.painted(rows, _HEXAHEDRON, paint)


def box(centre: Vector, size: Vector, paint: Paint) -> Mesh:
    """An axis-aligned block; ``centre`` and ``size`` are x, y, z in metres."""
    (x, y, z), (length, width, height) = centre, size
    side = (x - length / 2, x + length / 2, width / 2)
    return frustum(side, side, (z - height / 2, z + height / 2), paint, y)


def cone(
    start: Vector,
    end: Vector,
    radii: tuple[float, float],
    paint: Paint,
    sides: int = 7,
) -> Mesh:
    """A closed cylinder or cone between two points.

    Args:
        start: centre of the first disc, metres.
        end: centre of the second disc, metres.
        radii: of the two discs, metres.
        paint: its material.
        sides: of the polygon that stands for the circle.
    """
    first, second = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = (second - first) / np.linalg.norm(second - first)
    across = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.outer(np.cos(angle), across) + np.outer(np.sin(angle), np.cross(axis, across))
    vertices = np.concatenate([first + radii[0] * ring, second + radii[1] * ring, [first, second]])
    here = np.arange(sides)
    after = (here + 1) % sides
    faces = np.concatenate(
        [
            np.stack([here, after, after + sides], 1),
            np.stack([here, after + sides, here + sides], 1),
            np.stack([after, here, np.full(sides, 2 * sides)], 1),
            np.stack([here + sides, after + sides, np.full(sides, 2 * sides + 1)], 1),
        ]
    )
    return Mesh.painted(vertices, faces, paint)


def _icosphere(subdivisions: int) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Unit sphere of subdivided icosahedron triangles."""
    golden = (1 + 5**0.5) / 2
    pairs = [(a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    corners = np.array(
        [(0, a, b) for a, b in pairs]
        + [(a, b, 0) for a, b in pairs]
        + [(b, 0, a) for a, b in pairs]
    )
    distance = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    triples = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if max(distance[i, j], distance[j, k], distance[i, k]) < 2.1
    ]
    triangles = corners[np.array(triples)]
    for _ in range(subdivisions):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        split = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(t, 1) for t in split])
    points = triangles.reshape(-1, 3)
    points = np.round(points / np.linalg.norm(points, axis=1, keepdims=True), 6)
    vertices, inverse = np.unique(points, axis=0, return_inverse=True)
    return vertices, inverse.reshape(-1, 3).astype(np.int32)


_SPHERES = {level: _icosphere(level) for level in range(3)}


def blob(
    centre: Vector,
    radii: Vector,
    paint: Paint,
    rng: np.random.Generator,
    roughness: float = 0.0,
    level: int = 1,
) -> Mesh:
    """A ball with an uneven surface.

    Args:
        centre: x, y, z in metres.
        radii: along x, y, z in metres.
        paint: its material.
        rng: draws the unevenness.
        roughness: standard deviation of the radius, relative.
        level: 0 (20 triangles), 1 (80) or 2 (320).
    """
    unit, faces = _SPHERES[level]
    scale = 1 + roughness * rng.standard_normal((len(unit), 1))
    return Mesh.painted(unit * np.asarray(radii) * scale + np.asarray(centre), faces, paint)


def sample_surface(
    mesh: Mesh, spacing: float, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Random points on a surface, at least one per face.

    Args:
        mesh: to be sampled.
        spacing: the area per point is its square, metres.
        rng: draws the points.

    Returns:
        Points ``(N, 3)`` in metres and the face of each, ``(N,)``.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    face = np.repeat(np.arange(len(mesh.faces)), np.ceil(area / spacing**2).astype(np.int64))
    u, v = np.sqrt(rng.random(len(face)))[:, None], rng.random(len(face))[:, None]
    return (1 - u) * a[face] + u * (1 - v) * b[face] + u * v * c[face], face
