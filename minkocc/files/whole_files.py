"""Files that are never half written and never executed."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pickle
import re
import reprlib
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from minkocc.structures.errors import UserError

# Line breaks stand in no JSON string, so that nothing else looks like this.
_ROW_OF_NUMBERS = re.compile(r"\[\n((?:\s*-?\d[\d.eE+-]*,?\n)+)\s*\]")

_LONGEST_NAME = 200
_LONGEST_TOLD = 400

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST_NAME

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


@contextmanager
def atomic_write(path: str | Path, flush_to_disk: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes its place under ``path`` only when the block ends well.

    Args:
        path: its folder is made when missing.
        flush_to_disk: wait until content and name have reached the disk, so that they survive a
            power cut.

    Raises:
        OSError: it cannot be written; ``filename`` is ``path``, or a folder of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named_after(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as sink:
                yield sink
                if flush_to_disk:
                    sink.flush()
                    os.fsync(sink.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
            if flush_to_disk:
                _flush_folder(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _flush_folder(folder: Path) -> None:
    """Names are on disk when their folder is.

    Else a successor could be lost, and with it the predecessor that was removed for it.
    """
    with contextlib.suppress(OSError):  # not every network file system can; the file is whole
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _named_after(path: Path) -> Iterator[None]:
    """Errors of the file on its way to ``path`` name it; a full disk by itself names nothing."""
    try:
        yield
    except Exception as error:
        cause = _first_os_error(error)
        part = str(path.with_name(f".{path.name}."))
        if cause is None or cause.errno is None:
            raise
        if cause.filename is None or str(cause.filename).startswith(part):
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise


def _first_os_error(error: BaseException) -> OSError | None:
    """What began it: an archive that cannot be closed after a full disk raises what hides that."""
    found = None
    link: BaseException | None = error
    while link is not None:
        found = link if isinstance(link, OSError) else found
        link = link.__context__
    return found


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


def short(value: Any) -> str:
    """A value that someone else wrote, for a message: a few words, however much or deep it is."""
    try:
        text = _SHORT.repr(value)
    except (RecursionError, ValueError):  # an integer may have more digits than Python writes
        return f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with atomic_write(path) as sink:
        sink.write(text.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, a row of numbers on one line, atomically."""
    text = _ROW_OF_NUMBERS.sub(_on_one_line, json.dumps(content, indent=2))
    write_text(path, text + "\n")


def _on_one_line(found: re.Match[str]) -> str:
    return "[" + " ".join(found[1].split()) + "]"


def write_pickle(path: str | Path, content: Any) -> None:
    """Pickle plain containers and numpy arrays, atomically."""
    with atomic_write(path) as sink:
        pickle.dump(content, sink, protocol=4)


def write_pickles(contents: Mapping[Path, Any]) -> None:
    """Pickle several files that belong together: none takes its place before all are on disk."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    try:
        for path, part in parts.items():
            with _named_after(path):
                write_pickle(part, contents[path])
        for path, part in parts.items():
            with _named_after(path):
                os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def read_plain_pickle(path: str | Path) -> Any:
    """Read a pickle of plain containers and numpy arrays without running code from it.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeFileError: the pickle refers to anything else.
        ValueError: the file is not a pickle.
    """
    raw = Path(path).read_bytes()
    try:
        return _PlainUnpickler(io.BytesIO(raw), str(path)).load()
    except UnsafeFileError:
        raise
    except Exception as error:  # a corrupt pickle fails in many ways
        raise ValueError(f"{path} is not a readable pickle ({error}): create it again") from error


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
