"""How every tool ends: a clear line for what the user can mend, a traceback for what is ours."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import sys
from collections.abc import Callable

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


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks of input errors")


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main`` and exit: 0, 1 after a user's error in one line, 130 after Ctrl-C."""
    debug = "--debug" in sys.argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be more than it can print
            stream.reconfigure(errors="backslashreplace")
    logging.raiseExceptions = debug  # a log that cannot be written must not hide the reason
    try:
        main()
    except UserError as error:
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if debug or error.errno not in _REMEDIES:
            raise
        print(f"error: {error}: {_REMEDIES[error.errno]}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def _one_line(error: BaseException) -> str:
    """The message itself, without the worker's traceback that a DataLoader wraps around it."""
    text = str(error)
    if "Original Traceback" in text:
        _, _, text = text.rpartition(f"{type(error).__name__}: ")
    return " ".join(text.split())
