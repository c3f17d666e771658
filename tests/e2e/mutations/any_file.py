"""Damage that any file of bytes may take."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Mutation(NamedTuple):
    """A way to damage a file."""

    name: str
    change: Callable[[Path, np.random.Generator], None]
    """In place; the file is the test's own."""
    loose: bool = False
    """Nothing tells what it makes of the file from a right one."""


Change = Callable[[Any, np.random.Generator], Any]
"""Of what a file holds: in place, or to what it returns."""


def changed_by(
    read: Callable[[Path], Any], write: Callable[[Path, Any], object], change: Change
) -> Callable[[Path, np.random.Generator], None]:
    """The change of a file that is one of what it holds."""

    def damage(path: Path, rng: np.random.Generator) -> None:
        content = read(path)
        changed = change(content, rng)
        write(path, content if changed is None else changed)

    return damage


of_bytes = partial(changed_by, Path.read_bytes, Path.write_bytes)
"""A change of a file's bytes."""


def cut(raw: bytes, rng: np.random.Generator) -> bytes:
    """A copy that was broken off."""
    return raw[: rng.integers(1, len(raw))]


def longer(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that do not belong to the file, behind it."""
    return raw + rng.bytes(int(rng.integers(1, 64)))


def other_magic(raw: bytes, rng: np.random.Generator) -> bytes:
    """Another kind of file, by its first bytes."""
    return bytes([raw[0] ^ int(rng.integers(1, 256))]) + rng.bytes(3) + raw[4:]


def flipped(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes that are others."""
    out = bytearray(raw)
    for place in rng.integers(0, len(raw), int(rng.integers(1, 9))):
        out[place] ^= int(rng.integers(1, 256))
    return bytes(out)


def hole(raw: bytes, rng: np.random.Generator) -> bytes:
    """Zeros from somewhere to the end, as a power cut leaves them."""
    kept = int(rng.integers(0, len(raw) - 1))
    return raw[:kept] + bytes(len(raw) - kept)


def _replaced_by(make: Callable[[Path], None]) -> Callable[..., None]:
    def write(path: Path, rng: np.random.Generator) -> None:
        path.unlink()
        make(path)

    return write


CUT = Mutation("cut", of_bytes(cut))
LONGER = Mutation("lengthened", of_bytes(longer))
MAGIC = Mutation("other magic", of_bytes(other_magic))
FLIPPED = Mutation("flipped", of_bytes(flipped))
HOLE = Mutation("hole", of_bytes(hole))
NOISE = Mutation("noise", of_bytes(lambda raw, rng: rng.bytes(len(raw) // 20 * 20 + 7)))
UNTOLD = Mutation("flipped, no checksum", of_bytes(flipped), loose=True)
NO_FILE = [
    Mutation("emptied", of_bytes(lambda raw, rng: b"")),
    Mutation("a folder", _replaced_by(Path.mkdir)),
    Mutation("a pipe", _replaced_by(os.mkfifo)),
    Mutation("lost", _replaced_by(lambda path: None)),
    Mutation("a dead link", _replaced_by(lambda path: path.symlink_to("nowhere"))),
]
