"""Colours of what cameras see: texture, light, shadow, haze, sky, exposure and noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from minkocc.synthetic.meshes.mesh import (
    ASPHALT,
    GRASS,
    LAMP,
    LEAVES,
    PLAIN,
    SLABS,
    WINDOWS,
    FloatArray,
    Mesh,
)
from minkocc.synthetic.sensing.tracer import Hits, Tracer
from minkocc.synthetic.town.light import Light

Float32 = npt.NDArray[np.float32]
_TILE = 512
_OFF = np.float32(0.02)  # metres off a surface from which its shadow rays start
_SOFT = 9  # pixels over which the light of the sky is averaged
_PANE = np.array([0.16, 0.18, 0.2], np.float32)  # a window by day
_LIT_PANE = np.array([1.0, 0.82, 0.5], np.float32)


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


def _smoothed(tile: Float32) -> Float32:
    """A tile without its fine noise, standard deviation 1, seamless."""
    wide = cv2.GaussianBlur(np.tile(tile, (3, 3)), (0, 0), 9.0)
    middle = wide[_TILE : 2 * _TILE, _TILE : 2 * _TILE]
    return np.asarray(middle / middle.std(), np.float32)


_NOISE = _noise_tile(1)
_SMOOTH = _smoothed(_NOISE)
# By texture constant: strength of the noise, its period in metres, strength of large patches.
_KINDS = np.array([PLAIN, WINDOWS, LEAVES, ASPHALT, GRASS, SLABS, LAMP])
_STRENGTH = np.array([0.05, 0.07, 0.32, 0.1, 0.2, 0.06, 0.0], np.float32)
_PERIOD = np.array([12.0, 25.0, 6.0, 14.0, 9.0, 14.0, 12.0], np.float32)
_PATCHES = np.array([0.03, 0.05, 0.1, 0.09, 0.14, 0.06, 0.0], np.float32)
_PATCH_PERIOD = 170.0  # metres
assert (np.arange(len(_STRENGTH)) == _KINDS).all()


def shade(
    tracer: Tracer,
    hits: Hits,
    origin: npt.ArrayLike,
    directions: Float32,
    time: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Float32:
    """Linear colours of the traced rays of one picture.

    Args:
        tracer: of the world.
        hits: of its rays, row by row.
        origin: ``(3,)`` global, metres.
        directions: ``(H * W, 3)`` global.
        time: of the movers, seconds.
        size: width and height of the picture in pixels.
        rng: draws the rays that look for the sky.

    Returns:
        ``(H * W, 3)`` RGB, about 0 to 1.
    """
    mesh, light = tracer.mesh, tracer.world.light
    colour = np.empty_like(directions)
    missed = np.flatnonzero(hits.face < 0)
    colour[missed] = _sky(directions[missed], light)
    seen = np.flatnonzero(hits.face >= 0)
    face, normal = hits.face[seen], hits.normal[seen]
    ray, distance = directions[seen], hits.distance[seen]
    metres = distance * np.sqrt(np.einsum("ij,ij->i", ray, ray))
    points = (np.asarray(origin, np.float32) + ray * distance[:, None]).astype(np.float32)
    lifted = points + _OFF * normal
    albedo = mesh.colour[face] * _texture(points, normal, metres, mesh.texture[face])[:, None]
    glow = _windows(albedo, points, normal, mesh, face, light)
    open_sky = np.ones(len(hits.face), np.float32)
    open_sky[seen] = _sees_sky(tracer, lifted, normal, time, rng)
    soft = cv2.blur(open_sky.reshape(size[1], size[0]), (_SOFT, _SOFT)).reshape(-1)[seen]
    lit = _sunlight(tracer, lifted, normal, time)[:, None] * light.sun_colour.astype(np.float32)
    # Faces that look up get more of the sky than walls, and what is hidden lives on bounced light.
    above = (0.82 + 0.18 * normal[:, 2]) * (0.45 + 0.55 * soft)
    lit = lit + above[:, None] * light.sky_light.astype(np.float32)
    lamps = mesh.texture[face] == LAMP
    lit[lamps] = np.maximum(lit[lamps], np.float32(2.2 * light.lamps))
    clear = np.exp(-metres / np.float32(light.haze))[:, None]
    near = albedo * lit + glow[:, None] * _LIT_PANE
    colour[seen] = near * clear + (1 - clear) * light.horizon.astype(np.float32)
    return colour


def _sunlight(tracer: Tracer, points: Float32, normal: Float32, time: float) -> Float32:
    """Cosine of the sun on surfaces that it reaches, ``(N,)``."""
    direction = tracer.world.light.sun.astype(np.float32)
    sun = np.maximum(normal @ direction, np.float32(0.0))
    turned = np.flatnonzero(sun > 0)
    ways = np.broadcast_to(direction, (len(turned), 3))
    sun[turned[tracer.hidden(points[turned], ways, time)]] = 0.0
    return sun


def _sees_sky(
    tracer: Tracer, points: Float32, normal: Float32, time: float, rng: np.random.Generator
) -> Float32:
    """Whether one random ray from each point, most likely along its normal, gets away, ``(N,)``."""
    ways = rng.standard_normal(points.shape, np.float32)
    ways /= np.sqrt(np.einsum("ij,ij->i", ways, ways))[:, None]
    ways += np.float32(1.02) * normal
    return 1 - tracer.hidden(points, ways, time).astype(np.float32)


def _sky(directions: Float32, light: Light) -> Float32:
    """Colours of the sky: a gradient under clouds."""
    up = directions[:, 2] / np.sqrt(np.einsum("ij,ij->i", directions, directions))
    blend = np.clip(up, 0.0, 1.0)[:, None] ** np.float32(0.5)
    zenith, horizon = light.zenith.astype(np.float32), light.horizon.astype(np.float32)
    sky = blend * zenith + (1 - blend) * horizon
    plane = directions[:, :2] / np.maximum(directions[:, 2:], np.float32(0.02))
    u, v = ((plane + np.float32(light.haze)) * np.float32(24)).astype(np.int64).T % _TILE
    cover = np.clip(0.55 * _SMOOTH[u, v] + light.clouds, 0, 1) * np.clip(6 * up, 0, 1)
    white = (0.75 * horizon + 0.25).astype(np.float32)
    return np.asarray(sky + cover[:, None].astype(np.float32) * (white - sky))


def _texture(
    points: Float32, normal: Float32, metres: Float32, kind: npt.NDArray[np.uint8]
) -> Float32:
    """Factor on the albedo, ``(N,)``; ``metres`` is the distance from the camera."""
    upright = np.abs(normal[:, 2]) < 0.6
    along = points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1]
    across = np.where(upright, along, points[:, 0])
    other = np.where(upright, points[:, 2], points[:, 1])
    scale = _TILE / _PERIOD[kind]
    u, v = ((c * scale).astype(np.int32) % _TILE for c in (across, other))
    large = np.float32(_TILE / _PATCH_PERIOD)
    far_u, far_v = ((c * large).astype(np.int32) % _TILE for c in (across, other))
    factor = 1 + _STRENGTH[kind] * _NOISE[u, v] + _PATCHES[kind] * _SMOOTH[far_u, far_v]
    slabs = np.flatnonzero(kind == SLABS)
    joint = np.minimum((across[slabs] / 0.75) % 1.0, (other[slabs] / 0.75) % 1.0) < 0.06
    factor[slabs] -= joint * 0.3 * np.clip(9.0 / metres[slabs] - 0.25, 0.0, 1.0)
    return np.asarray(np.maximum(factor, np.float32(0.2)))


def _windows(
    albedo: Float32,
    points: Float32,
    normal: Float32,
    mesh: Mesh,
    face: npt.NDArray[np.int32],
    light: Light,
) -> Float32:
    """Paint the panes of walls onto ``albedo``, in place; their own light, ``(N,)``."""
    glow = np.zeros(len(points), np.float32)
    wall = np.flatnonzero((mesh.texture[face] == WINDOWS) & (np.abs(normal[:, 2]) < 0.3))
    house = mesh.owner[face[wall]].astype(np.int64)
    style = [_NOISE[house % _TILE, shift] for shift in (3, 77, 191)]
    width, storey = 2.7 + 0.5 * np.clip(style[0], -1, 1.6), 3.1 + 0.25 * np.clip(style[1], -1, 2)
    along = points[wall, 1] * normal[wall, 0] - points[wall, 0] * normal[wall, 1]
    column, level = along / width, (points[wall, 2] - 0.3) / storey
    x, y = column % 1.0, level % 1.0
    half = 0.24 + 0.07 * np.clip(style[2], -1, 1.5)
    sill = np.where(style[0] > 0.4, 0.18, 0.36)
    pane = (np.abs(x - 0.5) < half) & (y > sill) & (y < 0.86)
    frame = pane & ((np.abs(x - 0.5) > half - 0.035) | (np.abs(x - 0.5) < 0.018))
    # Every window has its own curtain and its own lamp.
    number = np.floor(column).astype(np.int64) * 31 + np.floor(level).astype(np.int64) * 17 + house
    draw = _NOISE[number % _TILE, (number * 7) % _TILE]
    glass = pane & ~frame
    tint = np.clip(0.75 + 0.5 * draw, 0.4, 2.4)[glass, None].astype(np.float32)
    albedo[wall[glass]] = _PANE * tint
    albedo[wall[frame]] = albedo[wall[frame]] * np.float32(0.55) + np.float32(0.3)
    glow[wall[glass & (draw > 0.5)]] = 0.75 * light.lamps
    return glow


def expose(
    colour: Float32, size: tuple[int, int], tint: FloatArray, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """An 8-bit image of linear colours.

    Args:
        colour: ``(H * W, 3)`` linear RGB.
        size: width and height.
        tint: ``(3,)`` factors of the white balance.
        rng: draws exposure and sensor noise.

    Returns:
        ``(H, W, 3)`` RGB.
    """
    gain = rng.uniform(0.8, 1.25) * rng.uniform(0.98, 1.02, 3) * tint
    # Automatic exposure follows the picture half-way.
    gain *= (0.34 / max(float(colour.mean()), 0.02)) ** 0.5
    image = colour.reshape(size[1], size[0], 3) * gain.astype(np.float32)
    # One lens blur: without it edges are sharper than any real camera's.
    image = cv2.GaussianBlur(image, (3, 3), 0.6).astype(np.float32, copy=False)
    image = np.clip(image, 1e-4, None) ** np.float32(0.6) * np.float32(255.0)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1.5, 4.0))
    return np.clip(image, 0, 255).astype(np.uint8)
