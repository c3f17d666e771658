"""Files that someone else wrote: read whole, and never executed."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

from minkocc.structures.errors import UserError

_LONGEST_NAME = 200

# What a pickle of plain containers and numpy arrays refers to, and nothing more.
_ALLOWED_GLOBALS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


class UnsafeFileError(UserError, ValueError):
    """A data file that asks for code to be run; it is refused and nothing of it is run."""


def is_plain_name(name: Any) -> bool:
    """Whether a name from a data file can be a file's own: it leads to no other folder.

    With a suffix and the marks of a file half written it must still fit into 255 bytes.
    """
    return (
        isinstance(name, str)
        and name.isprintable()
        and 0 < len(name.encode()) <= _LONGEST_NAME
        and not name.startswith(".")
        and not set("/\\") & set(name)
    )


def require_regular(path: str | Path) -> None:
    """Refuse what is no file of bytes: opening a pipe waits for ever, and a device has no end.

    Raises:
        OSError: it is missing, or is no regular file (or a link to one).
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it is missing or not regular, or cannot be read.
        ValueError: it is no JSON.
    """
    require_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it nests deeper than anything that is meant") from error


def read_plain_pickle(path: str | Path) -> Any:
    """Read a pickle of plain containers and numpy arrays without running code from it.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeFileError: the pickle refers to anything else.
        ValueError: the file is not a pickle.
    """
    return plain_pickle(Path(path).read_bytes(), str(path))


def plain_pickle(raw: bytes, name: str) -> Any:
    """What a pickle holds, as ``read_plain_pickle``.

    Args:
        raw: the pickle.
        name: of where it is from, for messages.
    """
    try:
        return _PlainUnpickler(io.BytesIO(raw), name).load()
    except UnsafeFileError:
        raise
    except Exception as error:  # a corrupt pickle fails in many ways
        raise ValueError(f"{name} is not a readable pickle ({error}): create it again") from error


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, name: str) -> None:
        super().__init__(source)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED_GLOBALS:
            return super().find_class(module, name)
        raise UnsafeFileError(
            f"{self._name} refers to {module}.{name}, which could run code: refused. Info files "
            "hold plain values and numpy arrays; create them with tools/create_data.py"
        )
