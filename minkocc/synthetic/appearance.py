"""Colours of what cameras see: texture, light, haze, sky, exposure and noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from minkocc.synthetic.mesh import ASPHALT, GRASS, LEAVES, WINDOWS
from minkocc.synthetic.tracer import Hits, Tracer
from minkocc.synthetic.world import Light

Float32 = npt.NDArray[np.float32]
_TILE = 512
_OFF = np.float32(0.02)  # metres off a surface from which its shadow rays start


def _noise_tile(seed: int) -> Float32:
    """``(512, 512)`` of smooth and fine noise around 0, standard deviation about 1, seamless."""
    rng = np.random.default_rng(seed)
    total = np.zeros((_TILE, _TILE), np.float32)
    for cells, weight in ((512, 0.6), (128, 0.6), (32, 0.5)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(coarse, 2, mode="wrap")
        scale = _TILE // cells
        large = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        inner = large[2 * scale : 2 * scale + _TILE, 2 * scale : 2 * scale + _TILE]
        total += np.float32(weight) * inner.astype(np.float32)
    return total


_NOISE = _noise_tile(1)
# Strength of the noise by texture constant, and its period in metres.
_STRENGTH = np.array([0.05, 0.07, 0.32, 0.1, 0.2], np.float32)
_PERIOD = np.array([12.0, 25.0, 6.0, 14.0, 9.0], np.float32)
assert len(_STRENGTH) == max(WINDOWS, LEAVES, ASPHALT, GRASS) + 1


def shade(
    tracer: Tracer,
    hits: Hits,
    origin: npt.ArrayLike,
    directions: Float32,
    time: float,
) -> Float32:
    """Linear colours of traced rays.

    Args:
        tracer: of the world.
        hits: of N rays.
        origin: ``(3,)`` global, metres.
        directions: ``(N, 3)`` global.
        time: of the movers, seconds.

    Returns:
        ``(N, 3)`` RGB, about 0 to 1.
    """
    mesh, light = tracer.mesh, tracer.world.light
    colour = np.empty_like(directions)
    missed = np.flatnonzero(hits.face < 0)
    sky = directions[missed]
    colour[missed] = _sky(sky[:, 2] / np.sqrt(np.einsum("ij,ij->i", sky, sky)), light)
    seen = np.flatnonzero(hits.face >= 0)
    face, normal = hits.face[seen], hits.normal[seen]
    ray, distance = directions[seen], hits.distance[seen]
    points = (np.asarray(origin, np.float32) + ray * distance[:, None]).astype(np.float32)
    albedo = mesh.colour[face] * _texture(points, normal, mesh.texture[face])[:, None]
    sun = np.maximum(normal @ light.sun.astype(np.float32), 0.0)
    turned = np.flatnonzero(sun > 0)
    hidden = tracer.hidden(points[turned] + _OFF * normal[turned], light.sun, time)
    sun[turned[hidden]] = 0.0
    # Faces that look up get more of the sky than walls, and walls more than undersides.
    above = 0.72 + 0.28 * normal[:, 2]
    direct = sun[:, None] * light.sun_colour.astype(np.float32)
    lit = direct + above[:, None] * light.sky_light.astype(np.float32)
    metres = distance * np.sqrt(np.einsum("ij,ij->i", ray, ray))
    clear = np.exp(-metres / np.float32(light.haze))[:, None]
    colour[seen] = albedo * lit * clear + (1 - clear) * light.horizon.astype(np.float32)
    return colour


def _sky(up: Float32, light: Light) -> Float32:
    blend = np.clip(up, 0.0, 1.0)[:, None] ** np.float32(0.5)
    zenith, horizon = light.zenith.astype(np.float32), light.horizon.astype(np.float32)
    return blend * zenith + (1 - blend) * horizon


def _texture(points: Float32, normal: Float32, kind: npt.NDArray[np.uint8]) -> Float32:
    """Factor on the albedo, ``(N,)``."""
    scale = _TILE / _PERIOD[kind]
    upright = np.abs(normal[:, 2]) < 0.6
    across = points[:, 0] + np.where(upright, points[:, 1], 0)
    other = np.where(upright, points[:, 2], points[:, 1])
    u = (across * scale).astype(np.int32) % _TILE
    v = (other * scale).astype(np.int32) % _TILE
    factor = 1 + _STRENGTH[kind] * _NOISE[u, v]
    wall = np.flatnonzero((kind == WINDOWS) & (np.abs(normal[:, 2]) < 0.3))
    along = points[wall, 1] * normal[wall, 0] - points[wall, 0] * normal[wall, 1]
    column, storey = (along / 2.6) % 1.0, (points[wall, 2] / 3.0) % 1.0
    pane = (column > 0.25) & (column < 0.7) & (storey > 0.4) & (storey < 0.85)
    factor[wall[pane]] *= 0.35
    return np.asarray(np.maximum(factor, np.float32(0.2)))


def expose(
    colour: Float32, size: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """An 8-bit image of linear colours.

    Args:
        colour: ``(H * W, 3)`` linear RGB.
        size: width and height.
        rng: draws exposure, white balance and sensor noise.

    Returns:
        ``(H, W, 3)`` RGB.
    """
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
    image = colour.reshape(size[1], size[0], 3) * gain.astype(np.float32)
    # One lens blur: without it edges are sharper than any real camera's.
    image = cv2.GaussianBlur(image, (3, 3), 0.6).astype(np.float32, copy=False)
    image = np.clip(image, 1e-4, None) ** np.float32(0.6) * np.float32(255.0)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1.5, 4.0))
    return np.clip(image, 0, 255).astype(np.uint8)
