"""A copy of the code that a study runs from, so that editing goes on beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from minkocc.files.writing import write_json, write_text
from minkocc.runtime.provenance import FROZEN, commit_of

_PARTS = ("minkocc", "configs", "tools")
_NOTE = "code"
"""In the study's folder: the name of the copy that new runs use."""

# What Python and numba are about to write beside what they have compiled.
_PASSING = shutil.ignore_patterns("*.pyc.*", "*.tmp.*", "*.part")


def frozen_code(root: Path, out: Path, refresh: bool = False) -> Path:
    """The copy of the code that new runs of a study use; made by the first call.

    A copy is whole or not there, is called after its content, and stays for the runs that began
    with it. It names the commit that it is of.

    Args:
        root: of the checkout.
        out: folder of the study.
        refresh: use the code as it is now from here on.
    """
    note = out / _NOTE
    if note.is_file() and not refresh:
        return out / note.read_text(encoding="utf-8").strip()
    digest = code_digest(root)
    target = out / f"code_{digest[:8]}"
    if not target.is_dir():
        out.mkdir(parents=True, exist_ok=True)
        _copy(root, target, digest)
    write_text(note, target.name)
    return target


def code_digest(root: Path) -> str:
    """Of all that a run executes."""
    digest = hashlib.sha256()
    for name in _PARTS:
        for path in sorted((root / name).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _copy(root: Path, target: Path, digest: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".code.") as folder:
        part = Path(folder) / "code"
        for name in _PARTS:
            # With what numba has compiled, which is told apart by the time of the source.
            shutil.copytree(root / name, part / name, ignore=_PASSING)
        write_json(part / FROZEN, {"commit": commit_of(root / "minkocc"), "digest": digest})
        try:
            os.rename(part, target)
        except OSError:
            if not target.is_dir():  # another job of this study was quicker
                raise
