"""Files that are either whole or absent."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minkocc.structures.taxonomy import PALETTE_2D


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_npz(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write compressed arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def write_jpeg(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W, 3)`` RGB."""
    _write_image(path, Image.fromarray(image), "JPEG", quality=90)


def write_grey(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` as an 8-bit grey PNG."""
    _write_image(path, Image.fromarray(image), "PNG", compress_level=3)


def write_palette(path: Path, ids: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` 2D ids as an 8-bit palette PNG in the taxonomy's colours."""
    image = Image.fromarray(ids)
    image.putpalette(PALETTE_2D.tobytes())
    _write_image(path, image, "PNG", compress_level=3)


def _write_image(path: Path, image: Image.Image, kind: str, **options: int) -> None:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    write_bytes(path, buffer.getvalue())
