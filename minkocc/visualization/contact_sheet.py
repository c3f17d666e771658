"""A data set at a glance: one band of pictures a keyframe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from minkocc.visualization.sheet import Picture, sheet

ORDER = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
)
"""Where the cameras stand in a band, as seen from the vehicle."""

_GAP = 4


@dataclass(frozen=True)
class SheetBand:
    """What a band shows.

    Args:
        title: scene, time, ...
        images: uint8 ``(H, W, 3)`` by camera, all of one size.
        pictures: titled pictures beside the cameras: points, labels.
    """

    title: str
    images: Mapping[str, NDArray[np.uint8]]
    pictures: Sequence[Picture] = field(default_factory=list)


def contact_sheet(keyframes: Sequence[SheetBand], title: str, width: int = 2400) -> Image.Image:
    """A band a keyframe under a title and the legend of the classes.

    Args:
        keyframes: from top to bottom.
        title: of the sheet.
        width: of the sheet in pixels.
    """
    rows = [
        [(keyframe.title, camera_block(keyframe.images)), *keyframe.pictures]
        for keyframe in keyframes
    ]
    return sheet(rows, title, width)


def camera_block(images: Mapping[str, NDArray[np.uint8]], width: int = 480) -> NDArray[np.uint8]:
    """The six images in two rows of three, each with its camera's name.

    Args:
        images: uint8 ``(H, W, 3)`` by camera, all of one size.
        width: of an image in the block, pixels.

    Returns:
        uint8 ``(height, 3 * width + gaps, 3)``.
    """
    first = images[ORDER[0][0]]
    height = round(width * first.shape[0] / first.shape[1])
    block = Image.new("RGB", (3 * width + 2 * _GAP, 2 * height + _GAP), "white")
    for row, cameras in enumerate(ORDER):
        for column, camera in enumerate(cameras):
            image = Image.fromarray(images[camera]).resize((width, height))
            _name(image, camera)
            block.paste(image, (column * (width + _GAP), row * (height + _GAP)))
    return np.asarray(block)


def _name(image: Image.Image, camera: str) -> None:
    """Write a camera's name into a corner of its image."""
    text = camera.removeprefix("CAM_").replace("_", " ").lower()
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    draw.rectangle((0, 0, 10 + draw.textlength(text, font), 20), fill="black")
    draw.text((5, 1), text, fill="white", font=font)
