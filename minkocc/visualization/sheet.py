"""Composes titled pictures and the class legend into one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from minkocc.files.writing import atomic_write
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups

Picture = tuple[str, NDArray[np.uint8]]
_GAP, _TITLE = 8, 26


def sheet(
    rows: Sequence[Sequence[Picture]],
    title: str,
    width: int = 1800,
    groups: ClassGroups = OCC3D_CLASSES,
) -> Image.Image:
    """Rows of titled pictures, each row scaled to the sheet's width, under a title and a legend.

    Args:
        rows: per row (title, uint8 ``(H, W, 3)``) pictures.
        title: of the whole sheet.
        width: of the sheet in pixels.
        groups: the classes of the legend.
    """
    strips = [
        _title_strip(title, width),
        _legend(width, groups),
        *(_row(row, width) for row in rows),
    ]
    out = Image.new("RGB", (width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        out.paste(strip, (0, top))
        top += strip.height
    return out


def write_sheet(
    path: Path,
    rows: Sequence[Sequence[Picture]],
    title: str,
    width: int = 1800,
    groups: ClassGroups = OCC3D_CLASSES,
) -> None:
    """Write a sheet as PNG, whole or not at all; the arguments are those of ``sheet``."""
    with atomic_write(path) as sink:
        sheet(rows, title, width, groups).save(sink, format="PNG")


def _row(pictures: Sequence[Picture], width: int) -> Image.Image:
    """Pictures side by side at one height."""
    aspects = [image.shape[1] / image.shape[0] for _, image in pictures]
    height = int((width - _GAP * (len(pictures) + 1)) / sum(aspects))
    strip = Image.new("RGB", (width, height + _TITLE + _GAP), "white")
    draw = ImageDraw.Draw(strip)
    left = _GAP
    for (title, image), aspect in zip(pictures, aspects):
        size = (round(height * aspect), height)
        draw.text((left, 4), title, fill="black", font=_font(16))
        strip.paste(Image.fromarray(image).resize(size, _filter_for(image, size)), (left, _TITLE))
        left += size[0] + _GAP
    return strip


def _filter_for(image: NDArray[np.uint8], size: tuple[int, int]) -> Image.Resampling:
    """Sharp pixels when a small picture is enlarged, averaged ones when it shrinks."""
    enlarge = size[0] > image.shape[1]
    return Image.Resampling.NEAREST if enlarge else Image.Resampling.BILINEAR


def _title_strip(title: str, width: int) -> Image.Image:
    strip = Image.new("RGB", (width, 36), "white")
    ImageDraw.Draw(strip).text((_GAP, 8), title, fill="black", font=_font(20))
    return strip


def _legend(width: int, groups: ClassGroups) -> Image.Image:
    strip = Image.new("RGB", (width, 52), "white")
    draw = ImageDraw.Draw(strip)
    columns = (len(groups) + 1) // 2
    colours = [tuple(map(int, colour)) for colour in groups.taxonomy.palette]
    for i, (name, number) in enumerate(zip(groups.names, groups.ids)):
        left = _GAP + (i % columns) * (width - _GAP) // columns
        top = 4 + (i // columns) * 24
        draw.rectangle((left, top, left + 18, top + 16), fill=colours[number])
        draw.text((left + 24, top), name, fill="black", font=_font(14))
    return strip


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
