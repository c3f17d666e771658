"""2D labels and their confidence as PNG files hold them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minkocc.structures.taxonomy import OCC3D, Taxonomy


def grey_png(image: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG of ``(H, W)``."""
    return _png(Image.fromarray(image))


def palette_png(ids: NDArray[np.uint8], taxonomy: Taxonomy = OCC3D) -> bytes:
    """An 8-bit palette PNG of ``(H, W)`` 2D ids, in the taxonomy's colours."""
    image = Image.fromarray(ids)
    image.putpalette(taxonomy.palette_2d.tobytes())
    return _png(image)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
