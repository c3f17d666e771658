"""Bird's-eye and oblique pictures of a voxel grid, without a display or OpenGL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from minkocc.structures.taxonomy import FREE, PALETTE
from minkocc.structures.voxel_grid import VoxelGrid

BACKGROUND = (250, 250, 250)

# Corner offsets (of the voxel's centre, in voxels) and brightness of each face.
_FACES = {
    (0, 0, 1): (((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)), 1.0),
    (-1, 0, 0): (((-1, -1, -1), (-1, 1, -1), (-1, 1, 1), (-1, -1, 1)), 0.78),
    (0, -1, 0): (((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)), 0.62),
    (0, 1, 0): (((-1, 1, -1), (1, 1, -1), (1, 1, 1), (-1, 1, 1)), 0.62),
}


def birds_eye(
    semantics: NDArray[np.uint8], scale: int = 3, palette: NDArray[np.uint8] = PALETTE
) -> NDArray[np.uint8]:
    """The topmost occupied voxel of every column, forward up and left left.

    Args:
        semantics: ``(X, Y, Z)`` ids, 17 (or above) = free.
        scale: pixels per voxel.
        palette: ``(18, 3)`` colours of the ids.

    Returns:
        uint8 ``(X * scale, Y * scale, 3)``; higher voxels are lighter.
    """
    occupied = semantics < FREE
    depth = semantics.shape[2]
    top = depth - 1 - occupied[:, :, ::-1].argmax(2)
    classes = np.take_along_axis(semantics, top[:, :, None], axis=2)[:, :, 0]
    shade = 0.7 + 0.3 * top / max(1, depth - 1)
    colour = palette[np.minimum(classes, FREE)] * shade[:, :, None]
    colour[~occupied.any(2)] = BACKGROUND
    picture = colour[::-1, ::-1].astype(np.uint8)
    return picture.repeat(scale, 0).repeat(scale, 1)


def oblique(
    semantics: NDArray[np.uint8],
    grid: VoxelGrid,
    size: tuple[int, int] = (540, 800),
    eye: tuple[float, float, float] = (-48.0, 0.0, 30.0),
    target: tuple[float, float, float] = (2.0, 0.0, -1.0),
    focal: float = 0.95,
    palette: NDArray[np.uint8] = PALETTE,
) -> NDArray[np.uint8]:
    """A perspective picture from behind and above the vehicle.

    Faces between two occupied voxels are left out; the rest is painted far to near.

    Args:
        semantics: ``(X, Y, Z)`` ids, 17 (or above) = free.
        grid: of ``semantics``.
        size: picture ``(height, width)``.
        eye: camera position, ego frame, metres.
        target: what it looks at.
        focal: focal length in picture widths.
        palette: ``(18, 3)`` colours of the ids.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    height, width = size
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    corners, colours = _visible_faces(semantics, grid, palette)
    pixels, depth = _project(corners, np.array(eye), np.array(target), focal * width, size)
    in_front = (depth > 1.0).all(1)
    for i in np.argsort(-depth.mean(1)):
        if in_front[i]:
            draw.polygon([tuple(p) for p in pixels[i]], fill=tuple(colours[i]))
    return np.asarray(image)


def _visible_faces(
    semantics: NDArray[np.uint8], grid: VoxelGrid, palette: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners ``(F, 4, 3)`` in metres and colours ``(F, 3)`` of faces next to free space."""
    occupied = np.pad(semantics < FREE, 1)
    corners, colours = [], []
    for normal, (offsets, light) in _FACES.items():
        neighbour = np.roll(occupied, tuple(-n for n in normal), axis=(0, 1, 2))
        index = np.argwhere((occupied & ~neighbour)[1:-1, 1:-1, 1:-1])
        half = 0.5 * grid.voxel_size * np.array(offsets)
        corners.append(grid.to_centre(index)[:, None] + half)
        colours.append(palette[semantics[tuple(index.T)]] * light)
    return np.concatenate(corners), np.concatenate(colours).astype(np.int64)


def _project(
    points: NDArray[np.float64],
    eye: NDArray[np.float64],
    target: NDArray[np.float64],
    focal: float,
    size: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    local = (points - eye) @ np.stack([right, down, forward], axis=1)
    depth = local[..., 2]
    uv = local[..., :2] / np.maximum(depth, 1e-6)[..., None] * focal
    return uv + np.array([size[1] / 2, size[0] / 2]), depth
