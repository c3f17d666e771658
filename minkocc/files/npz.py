"""Arrays of an ``.npz`` that someone else wrote: what a header claims is checked before it is read.

A few megabytes can unpack to gigabytes, and a pipe can stand where a file should.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from minkocc.files.reading import require_regular

_NPY = b"\x93NUMPY"


class ArrayFileError(ValueError):
    """A file of arrays that is not what it should be; the text says in what."""


def npz_bytes(**arrays: NDArray[Any]) -> bytes:
    """A compressed ``.npz`` of arrays.

    Made in memory: one that a full disk cuts off while it is written complains a second time, into
    the middle of what is printed, when it is forgotten.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_npz(
    path: str | Path, wanted: Iterable[str], largest: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """The wanted arrays that a file holds; what it may hold beside them is not read.

    Args:
        path: the file.
        wanted: keys; those that the file lacks are left out.
        largest: shape that no array exceeds in bytes, at eight bytes an element.

    Raises:
        OSError: the file is missing or not regular, or cannot be read.
        ArrayFileError: it is no ``.npz``, or an array is not plain numbers, or too large.
        Exception: it is damaged; zip, zlib and numpy each raise their own.
    """
    require_regular(path)
    most = 8 * prod(largest)
    with open(path, "rb") as source:
        if source.read(len(_NPY)) == _NPY:
            raise ArrayFileError("it is a single array, not an .npz")
        with zipfile.ZipFile(source) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            return {
                key: _read_member(archive, members[key], key, most)
                for key in wanted
                if key in members
            }


def _read_member(archive: zipfile.ZipFile, name: str, key: str, most: int) -> NDArray[Any]:
    with archive.open(name) as member:
        _check_header(member, key, most)
    with archive.open(name) as member:
        array: NDArray[Any] = npy.read_array(member, allow_pickle=False)
        if member.read(1):  # reads to the end, where the checksum is compared
            raise ArrayFileError(f"{key} is longer than it says")
    return array


def _check_header(member: IO[bytes], key: str, most: int) -> None:
    if member.read(len(_NPY)) != _NPY:
        raise ArrayFileError(f"{key} is no array")
    if member.read(2) != b"\x01\x00":  # later versions have headers of any length
        raise ArrayFileError(f"{key} is in a version of the format that no plain array needs")
    shape, _, dtype = npy.read_array_header_1_0(member)
    if dtype.hasobject:
        raise ArrayFileError(f"{key} holds Python objects")
    size = prod(shape) * dtype.itemsize
    if size > most:
        raise ArrayFileError(
            f"{key} unpacks to {size / 2**20:.1f} MiB ({dtype} {shape}), at most "
            f"{most / 2**20:.1f} MiB can be meant"
        )
