"""Lines and planes of cameras and boxes, in the ego frame."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_EDGES = np.array(
    [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
)


class ImagePlane(NamedTuple):
    """A camera's image as a rectangle in front of it, and the lines of its field of view."""

    centre: NDArray[np.float64]
    """``(3,)`` metres."""
    rotation: NDArray[np.float64]
    """``(3, 3)``: its columns point right, down and forward, as the camera's axes do."""
    width: float
    """Metres."""
    height: float
    """Metres."""
    lines: NDArray[np.float64]
    """``(8, 2, 3)``: from the camera to the corners, and around them."""


def image_plane(
    cam2img: NDArray[Any], ego2cam: NDArray[Any], size: tuple[int, int], depth: float
) -> ImagePlane:
    """Where an image lies so that each of its pixels covers what it shows.

    Exact for cameras whose principal point is off the centre, or with two focal lengths.

    Args:
        cam2img: ``(3, 3)`` or ``(4, 4)`` without skew, pixels measured from the top-left corner.
        ego2cam: ``(4, 4)``.
        size: ``(height, width)`` of the image in pixels.
        depth: of the rectangle, metres.
    """
    height, width = size
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    in_camera = depth * pixels @ np.linalg.inv(np.asarray(cam2img, np.float64)[:3, :3]).T
    cam2ego = np.linalg.inv(ego2cam)
    corners = in_camera @ cam2ego[:3, :3].T + cam2ego[:3, 3]
    rays = np.stack([np.broadcast_to(cam2ego[:3, 3], corners.shape), corners], axis=1)
    around = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    right, down = in_camera[2, :2] - in_camera[0, :2]
    lines = np.concatenate([rays, around])
    return ImagePlane(corners.mean(0), cam2ego[:3, :3], float(right), float(down), lines)


def box_lines(
    centre: NDArray[Any], size: NDArray[Any], rotation: NDArray[Any]
) -> NDArray[np.float64]:
    """The twelve edges of a box, and a thirteenth line that shows where its front is.

    Args:
        centre: ``(3,)`` metres.
        size: ``(3,)`` length, width and height, metres.
        rotation: ``(3, 3)`` from the box's axes (forward, left, up).

    Returns:
        ``(13, 2, 3)``.
    """
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    corners = np.array([(x, y, z) for z in (-1, 1) for x, y in signs]) * np.asarray(size) / 2
    nose = np.array([[0.5, 0, -0.5], [0.75, 0, -0.5]]) * np.asarray(size)
    lines = np.concatenate([corners[_EDGES], nose[None]])
    return np.asarray(lines @ np.asarray(rotation).T + centre, np.float64)
