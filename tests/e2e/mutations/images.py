"""Damage to images and to pseudo-labels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.e2e.mutations.any_file import (
    CUT,
    FLIPPED,
    HOLE,
    LONGER,
    MAGIC,
    NO_FILE,
    NOISE,
    UNTOLD,
    Mutation,
)


def _as_image(change: Callable[[Image.Image], Image.Image], **how: Any) -> Callable[..., None]:
    def write(path: Path, rng: np.random.Generator) -> None:
        buffer = io.BytesIO()
        with Image.open(path) as image:
            change(image).save(buffer, **{"format": image.format, **how})
        path.write_bytes(buffer.getvalue())

    return write


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


_WRONG_IMAGES = [
    Mutation("narrower", _as_image(lambda image: image.resize((image.width - 1, image.height)))),
    Mutation("on its side", _as_image(lambda image: image.rotate(90, expand=True))),
    Mutation("turned by EXIF", _as_image(lambda image: image.copy(), exif=_turned())),
    Mutation("16 bits", _as_image(_sixteen_bits, format="PNG")),
    Mutation("of floats", _as_image(lambda image: image.convert("F"), format="TIFF")),
    Mutation("of bits", _as_image(lambda image: image.convert("1"), format="PNG")),
]
IMAGE = [*NO_FILE, CUT, LONGER, MAGIC, HOLE, NOISE, *_WRONG_IMAGES, UNTOLD]


def _with_id(value: int) -> Callable[..., None]:
    def write(path: Path, rng: np.random.Generator) -> None:
        with Image.open(path) as image:
            ids, palette = np.array(image), image.getpalette()
        ids[rng.integers(0, ids.shape[0]), rng.integers(0, ids.shape[1])] = value
        changed = Image.fromarray(ids)
        changed.putpalette(palette)
        changed.save(path, "PNG")

    return write


def _sibling(old: str, new: str) -> Callable[..., None]:
    def write(path: Path, rng: np.random.Generator) -> None:
        path.write_bytes(Path(str(path).replace(f"/{old}/", f"/{new}/")).read_bytes())

    return write


_WRONG_MAPS = [
    *(each for each in _WRONG_IMAGES if each.name != "of bits"),
    Mutation("in colour", _as_image(lambda image: image.convert("RGB"))),
    Mutation("with alpha", _as_image(lambda image: image.convert("LA"))),
    Mutation("a JPEG", _as_image(lambda image: image.convert("L"), format="JPEG")),
    Mutation("a BMP", _as_image(lambda image: image.copy(), format="BMP")),
]
_PNG = [*NO_FILE, CUT, LONGER, MAGIC, FLIPPED, FLIPPED, HOLE, NOISE, *_WRONG_MAPS]
LABEL_MAP = [*_PNG, Mutation("id 19", _with_id(19)), Mutation("id 255", _with_id(255))]
CONFIDENCE_MAP = [*_PNG, Mutation("the labels", _sibling("confidence", "labels"))]
