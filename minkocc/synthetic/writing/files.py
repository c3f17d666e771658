"""The file formats of a nuScenes root, each written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minkocc.files.label_images import grey_png, palette_png
from minkocc.files.npz import npz_bytes
from minkocc.files.writing import atomic_write


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole; the thousands of a world are not worth a disk flush each."""
    with atomic_write(path, flush_to_disk=False) as sink:
        sink.write(data)


def write_npz(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write compressed arrays."""
    write_bytes(path, npz_bytes(**arrays))


def write_jpeg(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W, 3)`` RGB."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    write_bytes(path, buffer.getvalue())


def write_grey(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` as an 8-bit grey PNG."""
    write_bytes(path, grey_png(image))


def write_palette(path: Path, ids: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` 2D ids as an 8-bit palette PNG in the taxonomy's colours."""
    write_bytes(path, palette_png(ids))
