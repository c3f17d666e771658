"""Camera pictures: projected LiDAR and 2D semantics in class colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minkocc.structures.taxonomy import CAMERAS, OCC3D, Taxonomy
from minkocc.visualization.contact_sheet import ORDER
from minkocc.visualization.sheet import Picture


def around(pictures: Mapping[str, Picture]) -> Iterator[list[Picture]]:
    """Cameras' pictures in rows of three.

    nuScenes' as one looks around: left, front, right; then the same behind. Others as they come.

    Args:
        pictures: by the names of the cameras.
    """
    names = list(pictures)
    if set(names) <= set(CAMERAS):
        rows = [[camera for camera in row if camera in pictures] for row in ORDER]
    else:
        rows = [names[first : first + 3] for first in range(0, len(names), 3)]
    for row in filter(None, rows):
        yield [pictures[camera] for camera in row]


def draw_points(
    image: NDArray[np.uint8],
    uv: NDArray[np.float64],
    depth: NDArray[np.float64],
    max_depth: float = 50.0,
) -> NDArray[np.uint8]:
    """A copy of an image with projected points, near red to far blue.

    Args:
        image: ``(H, W, 3)``.
        uv: ``(P, 2)`` pixels, measured from the top-left corner, all inside the image.
        depth: ``(P,)`` metres.
        max_depth: the far end of the colour scale.
    """
    out = image.copy()
    radius = max(1, round(image.shape[1] / 640))  # still seen when the sheet shrinks the image
    order = np.argsort(-depth)
    near = 1.0 - np.clip(depth[order] / max_depth, 0.0, 1.0)
    colours = (matplotlib.colormaps["turbo"](near)[:, :3] * 255).astype(np.uint8)
    pixel = np.floor(uv[order]).astype(int)
    for dx in range(-radius, radius + 1):
        for dy in range(-radius, radius + 1):
            x = np.clip(pixel[:, 0] + dx, 0, image.shape[1] - 1)
            y = np.clip(pixel[:, 1] + dy, 0, image.shape[0] - 1)
            out[y, x] = colours
    return out


def colour_2d(labels: NDArray[np.integer], taxonomy: Taxonomy = OCC3D) -> NDArray[np.uint8]:
    """2D ids in class colours, ``(..., 3)``."""
    return taxonomy.palette_2d[labels]


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    taxonomy: Taxonomy = OCC3D,
    strength: float = 0.6,
) -> NDArray[np.uint8]:
    """2D ids (resized, nearest) over an image; unlabelled pixels show the image."""
    size = (image.shape[1], image.shape[0])
    big = np.asarray(
        Image.fromarray(labels.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    )
    mixed = (1 - strength) * image + strength * colour_2d(big, taxonomy)
    return np.where(big[..., None] > 0, mixed, image).astype(np.uint8)
