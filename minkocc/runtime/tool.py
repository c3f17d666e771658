"""How every tool ends: a clear line for what the user can mend, a traceback for what is ours."""

from __future__ import annotations

import argparse
import errno
import gc
import io
import logging
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from minkocc.structures.errors import UserError

_REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room and run the same command again"
    ),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS),
        "check the path and its permissions, or name a folder that can be written to",
    ),
}
# torch's words, which has no type for it.
_LOST_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks of input errors")


def refuse_less(parser: argparse.ArgumentParser, options: argparse.Namespace, **least: int) -> None:
    """End with the parser's error where an option, by name, is less than it may be; None may be."""
    for name, limit in least.items():
        value = getattr(options, name)
        if value is not None and value < limit:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} {value} is too small: use {limit} or more")


_interrupted = threading.Event()


def raise_if_interrupted() -> None:
    """Raise the Ctrl-C that came while Python could only print and forget it.

    An exception in a ``__del__`` goes nowhere, and at the end of an epoch a DataLoader spends its
    time in one. Long loops of a tool call this now and then.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed since ``run_tool`` began.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


@contextmanager
def _remembering_interrupts() -> Iterator[None]:
    """Let ``raise_if_interrupted`` know of every Ctrl-C; signals are the main thread's alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupted.clear()
    before = signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupted.clear()


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main`` and exit: 0, 1 after a user's error in one line, 130 after Ctrl-C."""
    debug = "--debug" in sys.argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be more than it can print
            stream.reconfigure(errors="backslashreplace")
    logging.raiseExceptions = debug  # a log that cannot be written must not hide the reason
    gc.freeze()  # the million objects that are imported stay: no collection looks through them
    try:
        with _remembering_interrupts():
            _end_in_a_line(main, debug)
    finally:
        gc.freeze()  # nor does the end of Python, which would take a second


def _end_in_a_line(main: Callable[[], None], debug: bool) -> None:
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _end_interrupted()
    except BrokenPipeError:
        if not _is_read_by_nobody(sys.stdout):
            raise
        _end_unread()
    except Exception as error:
        if _interrupted.is_set() and not debug:
            _end_interrupted()  # what was interrupted failed in its own way: a C++ writer, a worker
        line = None if debug else _line_of(error)
        if line is None:
            raise
        _end_bars()
        _say(f"error: {line}")
        sys.exit(1)


def _end_bars() -> None:
    """Leave the lines of unfinished progress bars, which would be drawn once more afterwards."""
    if "tqdm" in sys.modules:
        bars = getattr(sys.modules["tqdm"].tqdm, "_instances", ())
        for bar in list(bars):
            bar.close()


def _end_interrupted() -> NoReturn:
    _say("\ninterrupted")
    sys.exit(130)


def _is_read_by_nobody(stream: TextIO) -> bool:
    """Whether a stream is a pipe whose reader has ended, as ``head`` does after its lines."""
    watch = select.poll()
    watch.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def _end_unread() -> NoReturn:
    """End as every tool of a pipeline does; what the buffer still holds has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _line_of(error: Exception) -> str | None:
    """What the user can put right, in a line; None where it is ours to."""
    if isinstance(error, UserError):
        return _one_line(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return f"{error}: {_REMEDIES[error.errno]}{_where_it_was_named(error)}"
    if isinstance(error, RuntimeError) and _LOST_WORKER.match(str(error)):
        return (
            f"{_one_line(error).rstrip('. ')}: a process that loads data was killed, most often "
            "because memory ran out: use a smaller num_workers or batch_size, and go on from the "
            "last checkpoint"
        )
    return None


def _where_it_was_named(error: OSError) -> str:
    """The option, or the knob, of this command that the file comes from, the nearest one."""
    if not isinstance(error.filename, str):
        return ""
    path = Path(error.filename).absolute()
    given = [
        (len(Path(value).absolute().parts), name)
        for name, value in _named_values(sys.argv[1:])
        if value and Path(value).absolute() in (path, *path.parents)
    ]
    return f" ({max(given)[1]})" if given else ""


def _named_values(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, and the ``KEY=VALUE`` pairs of ``--cfg-options``."""
    option = None
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            option = name
            if equals:
                yield name, value
        elif equals and option == "--cfg-options":
            yield name, value
        elif option is not None:
            yield option, word


def _say(line: str) -> None:
    """Write a line to stderr at once, so that those of several processes do not mix."""
    sys.stderr.write(line + "\n")


def _one_line(error: BaseException) -> str:
    """The message itself, without the worker's traceback that a DataLoader wraps around it."""
    text = str(error)
    if "Original Traceback" in text:
        _, _, text = text.rpartition(f"{type(error).__name__}: ")
    return " ".join(text.split())
