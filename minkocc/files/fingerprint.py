"""What tells the files that a kept result was made of from other files of the same names."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def fingerprint(root: Path, paths: Iterable[str], by_content: bool = False) -> str:
    """One line a file: its name and its size and modification time, or the digest of its content.

    Times are quick to ask for, and copies that do not keep them make results anew. Content is
    right whatever a copy or an archive does to times; a process reads each file once for it.

    Args:
        root: what the paths are relative to.
        paths: of the files, in order; a missing one is as good as any other state.
        by_content: ask for the content instead of the time.
    """
    return "".join(f"{path} {_state(root / path, by_content)}\n" for path in paths)


def _state(path: Path, by_content: bool) -> str:
    try:
        status = os.stat(path)
        if by_content and stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            return _digest(str(path), status.st_size, status.st_mtime_ns)
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=1 << 14)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    """Kept under size and time, so that what is changed while a process runs is read again."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
