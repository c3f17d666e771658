"""Images that someone else wrote: read whole, or refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from minkocc.files.reading import require_regular

UNREADABLE_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises of files that are no images; a broken chunk is a ``SyntaxError`` to it."""


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """An image whose checksums, where its format has some, are right; its pixels are not unpacked.

    Pillow by itself compares those of a PNG's header, and none of its pixels'.

    Raises:
        OSError: it is missing or not regular, cannot be read, or is no image.
        SyntaxError: a checksum is wrong.
    """
    require_regular(path)
    source = io.BytesIO(Path(path).read_bytes())
    with _opened(source) as file:
        if file.format != "PNG":
            yield file
            return
        file.verify()  # leaves an image that cannot be read any more
    source.seek(0)
    with _opened(source) as file:
        yield file


def _opened(source: io.BytesIO) -> Image.Image:
    """Pillow names what it was given, of which nobody knows here."""
    try:
        return Image.open(source)
    except UnidentifiedImageError as error:
        size = source.getbuffer().nbytes
        raise OSError(f"its {size} bytes are no image of a known format") from error
