"""Files that are never half written."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

# Line breaks stand in no JSON string, so that nothing else looks like this.
_ROW_OF_NUMBERS = re.compile(r"\[\n((?:\s*-?\d[\d.eE+-]*,?\n)+)\s*\]")


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
