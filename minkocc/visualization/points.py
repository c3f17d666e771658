"""Bird's-eye pictures of a point cloud."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

BACKGROUND = (96, 98, 104)  # neither the black of others nor the near white of manmade
_FRAME, _RING, _VEHICLE = (235, 235, 235), (116, 118, 124), (255, 255, 255)
_DOT = 2  # pixels


def height_colours(z: NDArray[np.floating], low: float = -1.0, high: float = 5.4) -> NDArray:
    """RGB ``(P, 3)`` uint8 of heights in metres: blue at ``low``, red at ``high``."""
    share = np.clip((z - low) / (high - low), 0.0, 1.0)
    return (matplotlib.colormaps["turbo"](share)[:, :3] * 255).astype(np.uint8)


def birds_eye_points(
    points: NDArray[np.floating],
    colours: NDArray[np.uint8],
    vehicle: NDArray[np.floating],
    frame: float = 40.0,
    extent: float = 50.0,
    size: int = 600,
) -> NDArray[np.uint8]:
    """Points from above, forward up and left left, with the vehicle and a frame around it.

    A higher point covers a lower one. Rings lie 10 m apart.

    Args:
        points: ``(P, 3)`` metres, ego frame.
        colours: ``(P, 3)`` of each point.
        vehicle: ``(2, 3)`` corners of the recording vehicle, metres, ego frame.
        frame: half the edge of the frame, metres.
        extent: half the edge of the picture, metres.
        size: edge of the picture, pixels.

    Returns:
        uint8 ``(size, size, 3)``.
    """
    scale = size / (2 * extent)
    picture = Image.new("RGB", (size, size), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for metres in np.arange(10.0, extent, 10.0):
        draw.ellipse(_pixels(_square(metres), extent, scale), outline=_RING)
    canvas = np.array(picture)
    inside = (np.abs(points[:, :2]) < extent).all(1)
    order = np.argsort(points[inside, 2], kind="stable")
    row, column = np.floor((extent - points[inside, :2][order]) * scale).astype(int).T
    for down, right in np.ndindex(_DOT, _DOT):
        place = np.minimum(row + down, size - 1), np.minimum(column + right, size - 1)
        canvas[place] = colours[inside][order]
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(_pixels(_square(frame), extent, scale), outline=_FRAME)
    draw.rectangle(_pixels(vehicle[:, :2], extent, scale), outline=_VEHICLE, width=2)
    return np.asarray(picture)


def _square(half: float) -> NDArray[np.float64]:
    return np.array([[-half, -half], [half, half]])


def _pixels(box: NDArray[np.floating], extent: float, scale: float) -> list[float]:
    """Left, top, right and bottom of the ``(2, 2)`` corners of a box in the ego frame."""
    (bottom, right), (top, left) = (extent - box) * scale
    return [left, top, right, bottom]
