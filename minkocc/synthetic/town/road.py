"""The road's own coordinates and the ground around it.

``s`` runs along the road's centre line in the ego vehicle's driving direction, ``d`` across it,
positive to the side of oncoming traffic; both in metres.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minkocc.synthetic.categories import CATEGORIES, category_index
from minkocc.synthetic.meshes.mesh import (
    ASPHALT,
    GRASS,
    PLAIN,
    SLABS,
    FloatArray,
    Mesh,
    Paint,
    concatenate,
)

ROAD, SIDEWALK, OTHER_FLAT, TERRAIN = (
    category_index(f"flat.{name}") for name in ("driveable_surface", "sidewalk", "other", "terrain")
)
GROUND_STEP = 2.0
"""Length of a ground cell along the road, metres."""
_LINE_STEP = 0.25
_ANCHOR = 9.0  # metres from the road's edge before a slope may begin
_MAX_RISE = 1.5


@dataclass(frozen=True)
class Road:
    """A straight or winding line over gently waving land.

    Args:
        origin: global position of ``s = d = 0``, metres.
        heading: global direction at ``s = 0``, radians.
        curvature: mean of 1 / radius, positive to the left, 1/metres.
        bends: ``(B, 3)`` rows of amplitude (1/metres), wave number (1/metres) and phase, which
            the curvature swings by along ``s``.
        waves: ``(W, 4)`` rows of amplitude (metres), x and y wave number, phase.
        reach: first and last ``s`` that anything uses, metres.
        left_traffic: whether one drives on the left; ``d`` is then positive to the right, so that
            a town planned for driving on the right becomes its mirror image.
    """

    origin: tuple[float, float]
    heading: float
    curvature: float
    bends: FloatArray
    waves: FloatArray
    reach: tuple[float, float]
    left_traffic: bool = False

    @property
    def sign(self) -> int:
        """+1 where ``d`` grows to the left, -1 where it grows to the right."""
        return -1 if self.left_traffic else 1

    @functools.cached_property
    def _line(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Tabulated ``s``, x and y of the centre line, by the midpoint rule."""
        first, last = self.reach
        s = np.arange(np.floor(first), np.ceil(last) + _LINE_STEP, _LINE_STEP)
        yaw = self.yaw(s[:-1] + _LINE_STEP / 2)
        x = np.concatenate([[0.0], np.cumsum(np.cos(yaw) * _LINE_STEP)])
        y = np.concatenate([[0.0], np.cumsum(np.sin(yaw) * _LINE_STEP)])
        x += self.origin[0] - np.interp(0.0, s, x)
        y += self.origin[1] - np.interp(0.0, s, y)
        return s, x, y

    def yaw(self, s: npt.ArrayLike) -> FloatArray:
        """Global direction of the centre line, radians."""
        along = np.asarray(s, np.float64)
        amplitude, number, phase = self.bends.T
        swing = amplitude / number * (np.cos(phase) - np.cos(number * along[..., None] + phase))
        return np.asarray(self.heading + self.curvature * along + swing.sum(-1))

    def frame(
        self, s: npt.ArrayLike, d: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Global x, y and heading of road positions, broadcast together.

        Raises:
            ValueError: a position lies beyond ``reach``.
        """
        along, across = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(d, np.float64))
        line, x, y = self._line
        if along.size and not (line[0] <= along.min() and along.max() <= line[-1]):
            raise ValueError(
                f"s from {along.min():.1f} to {along.max():.1f} m: the road's table ends at "
                f"{line[0]:.1f} and {line[-1]:.1f} m; plan it longer"
            )
        yaw = self.yaw(along)
        left = self.sign * across
        return (
            np.interp(along, line, x) - left * np.sin(yaw),
            np.interp(along, line, y) + left * np.cos(yaw),
            yaw,
        )

    def land(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Height of the waving land, metres."""
        px, py = np.asarray(x)[..., None], np.asarray(y)[..., None]
        amplitude, kx, ky, phase = self.waves.T
        waves: FloatArray = amplitude * np.sin(kx * px + ky * py + phase)
        return np.asarray(waves.sum(-1))


@dataclass(frozen=True)
class Ground:
    """Cells of one ground category each, with kerbs between cells of different height.

    Args:
        road: the coordinates.
        s_edges: ``(S + 1,)`` cell borders along the road, metres.
        d_edges: ``(D + 1,)`` cell borders across, metres, rising.
        category: ``(S, D)`` nuScenes-lidarseg index.
        height: ``(S, D)`` metres above the road's surface.
        rise: ``(S, D)`` slope away from the road, metres per metre.
    """

    road: Road
    s_edges: FloatArray
    d_edges: FloatArray
    category: npt.NDArray[np.uint8]
    height: FloatArray
    rise: FloatArray

    def _cell(
        self, s: npt.ArrayLike, d: npt.ArrayLike
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        row = np.searchsorted(self.s_edges, s, "right") - 1
        column = np.searchsorted(self.d_edges, d, "right") - 1
        rows, columns = self.category.shape
        return np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)

    def category_at(self, s: npt.ArrayLike, d: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """nuScenes-lidarseg index of the ground at road positions."""
        return np.asarray(self.category[self._cell(s, d)])

    def elevation(self, s: npt.ArrayLike, d: npt.ArrayLike) -> FloatArray:
        """Global z of the ground at road positions, metres."""
        cell = self._cell(s, d)
        x, y, _ = self.road.frame(s, d)
        return np.asarray(
            self.road.land(x, y) + self.height[cell] + self._slope(self.rise[cell], d)
        )

    def _slope(self, rise: npt.NDArray[Any], d: npt.ArrayLike) -> FloatArray:
        return np.asarray(np.clip(rise * (np.abs(d) - _ANCHOR), 0.0, _MAX_RISE))

    def corners(self) -> FloatArray:
        """Global corners of every cell, ``(S, D, 4, 3)``: counter-clockwise from low s, low d."""
        s, d = np.meshgrid(self.s_edges, self.d_edges, indexing="ij")
        x, y, _ = self.road.frame(s, d)
        z = self.road.land(x, y)
        points = np.stack([x, y, z], -1)
        quads: FloatArray = np.stack(
            [points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], 2
        )
        across = np.stack([d[:-1, :-1], d[1:, :-1], d[1:, 1:], d[:-1, 1:]], 2)
        quads[..., 2] += self.height[..., None] + self._slope(self.rise[..., None], across)
        return quads

    def mesh(self, paints: dict[int, Paint], rng: np.random.Generator) -> Mesh:
        """Surfaces and kerbs.

        Args:
            paints: material by nuScenes-lidarseg index.
            rng: draws the shade of each cell and the roughness of terrain.
        """
        quads = self.corners()
        rough = self.category == TERRAIN
        bumps = rng.normal(0, 0.04, (quads.shape[0] + 1, quads.shape[1] + 1))
        bumps = np.stack([bumps[:-1, :-1], bumps[1:, :-1], bumps[1:, 1:], bumps[:-1, 1:]], 2)
        quads[..., 2] += np.where(rough[..., None], bumps, 0.0)
        parts = []
        for index, paint in paints.items():
            chosen = self.category == index
            parts.append(_quads(quads[chosen], paint))
            parts.append(_quads(self._skirts(quads, index), paint))
        mesh = concatenate(parts)
        shade = 1 + rng.normal(0, 0.03, (len(mesh.faces), 1))
        mesh.colour[:] = np.clip(mesh.colour * shade, 0.02, 0.95)
        return mesh

    def _skirts(self, quads: FloatArray, index: int) -> FloatArray:
        """Vertical faces, ``(N, 4, 3)``, at borders where cells of one category are the higher."""
        faces = []
        for axis, (near, far) in ((0, ((1, 2), (0, 3))), (1, ((3, 2), (0, 1)))):
            first, second = (quads[:-1], quads[1:]) if axis == 0 else (quads[:, :-1], quads[:, 1:])
            kinds = self.category
            kind_first, kind_second = (
                (kinds[:-1], kinds[1:]) if axis == 0 else (kinds[:, :-1], kinds[:, 1:])
            )
            a, b = first[..., near, :], second[..., far, :]
            step = a[..., 2].mean(-1) - b[..., 2].mean(-1)
            owner = np.where(step > 0, kind_first, kind_second)
            chosen = (np.abs(step) > 0.03) & (owner == index)
            faces.append(np.concatenate([a[chosen], b[chosen][:, ::-1]], 1))
        return np.concatenate(faces)


def _quads(corners: FloatArray, paint: Paint) -> Mesh:
    """A mesh of separate quadrilaterals, ``(N, 4, 3)``."""
    start = 4 * np.arange(len(corners))[:, None]
    faces = np.concatenate([start + np.array([0, 1, 2]), start + np.array([0, 2, 3])])
    return Mesh.painted(corners, faces, paint)


def strip(
    road: Road, s: tuple[float, float], d: tuple[float, float], height: float, paint: Paint
) -> Mesh:
    """A thin painted strip on the road, such as a lane marking."""
    along = np.linspace(s[0], s[1], max(2, int((s[1] - s[0]) / GROUND_STEP) + 1))
    rows = []
    for across in d:
        x, y, _ = road.frame(along, across)
        rows.append(np.stack([x, y, road.land(x, y) + height], -1))
    low, high = rows
    return _quads(np.stack([low[:-1], low[1:], high[1:], high[:-1]], 1), paint)


def ground_paints(rng: np.random.Generator) -> dict[int, Paint]:
    """Materials of the four ground categories; their colours overlap from scene to scene."""
    asphalt = rng.uniform(0.09, 0.34)
    slabs = rng.uniform(0.18, 0.55)
    plaza = rng.uniform(0.18, 0.5)
    dry = rng.random()
    grass = np.array([0.15 + 0.24 * dry, 0.23 + 0.07 * dry, 0.09 + 0.12 * dry])
    grass *= rng.uniform(0.7, 1.3)
    warm = rng.uniform(0.0, 0.12, 2)
    tint = rng.uniform(-0.02, 0.035) * asphalt / 0.3
    return {
        ROAD: _flat(ROAD, (asphalt + tint, asphalt, asphalt - tint), ASPHALT, 0.12),
        SIDEWALK: _flat(SIDEWALK, (slabs + warm[0], slabs, slabs - warm[0] * 0.5), SLABS, 0.25),
        OTHER_FLAT: _flat(OTHER_FLAT, (plaza + warm[1], plaza, plaza - warm[1]), PLAIN, 0.22),
        TERRAIN: _flat(TERRAIN, (grass[0], grass[1], grass[2]), GRASS, 0.4),
    }


def _flat(index: int, rgb: tuple[float, float, float], texture: int, reflectance: float) -> Paint:
    red, green, blue = (float(np.clip(c, 0.03, 0.9)) for c in rgb)
    return Paint(CATEGORIES[index], (red, green, blue), texture, reflectance)
