"""A copy of the code that a study runs from, so that editing goes on beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from minkocc.provenance import FROZEN, commit_of
from minkocc.structures.files import write_json

_PARTS = ("minkocc", "configs", "tools")


def freeze(root: Path, target: Path) -> Path:
    """Copy the code into ``target``, unless it is there; whole or not at all.

    What the copy writes of itself names the commit that it is of.

    Args:
        root: of the checkout.
        target: folder of the copy.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".code.") as folder:
        part = Path(folder) / "code"
        for name in _PARTS:
            # With what numba has compiled, which is told apart by the time of the source.
            shutil.copytree(root / name, part / name, copy_function=shutil.copy2)
        write_json(part / FROZEN, {"commit": commit_of(root / "minkocc")})
        try:
            os.rename(part, target)
        except OSError:
            if not target.is_dir():  # another job of this study was quicker
                raise
    return target


def differs(root: Path, frozen: Path) -> bool:
    """Whether the checkout has moved on since."""
    return _digest(root) != _digest(frozen)


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for name in _PARTS:
        for path in sorted((root / name).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
