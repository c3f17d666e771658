"""Where a prediction is right and wrong, voxel by voxel, in four colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import VoxelGrid
from minkocc.visualization.sheet import Picture
from minkocc.visualization.voxels import birds_eye, oblique

RIGHT, WRONG_CLASS, MISSED, INVENTED = range(4)

NAMES = ("right", "wrong class", "missed", "invented")
COLOURS = ("grey", "orange", "blue", "magenta")

PALETTE = np.full((FREE + 1, 3), 250, np.uint8)
"""Colours of the four, told apart by the colour-blind too."""
PALETTE[: len(NAMES)] = ((165, 165, 165), (240, 160, 0), (0, 110, 190), (215, 30, 135))

_STRIP = 26  # pixels of the legend


def compare(
    pred: NDArray[np.uint8], label: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """What became of every visible voxel that is occupied in prediction or label.

    Args:
        pred: ``(X, Y, Z)`` ids, 17 and above = free.
        label: the same shape.
        mask: the same shape; voxels outside of it are not judged.

    Returns:
        uint8 ``(X, Y, Z)``: ``RIGHT`` (occupied in both, of one class), ``WRONG_CLASS``,
        ``MISSED`` (occupied in the label alone), ``INVENTED`` (in the prediction alone), and 17
        for all others.
    """
    found, wanted = (pred < FREE) & mask, (label < FREE) & mask
    out = np.full(label.shape, FREE, np.uint8)
    out[found & wanted] = WRONG_CLASS
    out[found & wanted & (pred == label)] = RIGHT
    out[wanted & ~found] = MISSED
    out[found & ~wanted] = INVENTED
    return out


def error_pictures(
    pred: NDArray[np.uint8], label: NDArray[np.uint8], mask: NDArray[np.bool_], grid: VoxelGrid
) -> list[Picture]:
    """The visible voxels of ``compare`` from above and obliquely, with a legend below each.

    Args:
        pred: ``(X, Y, Z)`` ids.
        label: the same shape.
        mask: the same shape, the voxels that are shown.
        grid: the grid of all three.

    Returns:
        Two titled pictures; the titles name the colours.
    """
    voxels = compare(pred, label, mask)
    key = ", ".join(f"{name} {colour}" for name, colour in zip(NAMES, COLOURS))
    return [
        (f"visible, from above: {key}", _with_legend(birds_eye(voxels, palette=PALETTE), voxels)),
        (f"visible: {key}", _with_legend(oblique(voxels, grid, palette=PALETTE), voxels)),
    ]


def _with_legend(picture: NDArray[np.uint8], voxels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture over a strip with each colour, its meaning, and its number of voxels."""
    height, width = picture.shape[:2]
    out = Image.new("RGB", (width, height + _STRIP), "white")
    out.paste(Image.fromarray(picture))
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(14)
    for code, name in enumerate(NAMES):
        left, top = 6 + code * width // len(NAMES), height + 6
        draw.rectangle((left, top, left + 14, top + 14), fill=tuple(map(int, PALETTE[code])))
        count = np.count_nonzero(voxels == code)
        draw.text((left + 19, top - 2), f"{name} {count:,}", fill="black", font=font)
    return np.asarray(out)
