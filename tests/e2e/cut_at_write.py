"""The power goes just before a tool opens, moves or removes a file."""

import os
import signal
import sys
from pathlib import Path

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def cut_at_write(folder, number, count):
    """Kill this process and its group at its n-th change of what is in a folder.

    Args:
        folder: whose files are counted.
        number: of the change, from 0; None kills nothing.
        count: a file that gets a byte for each change; not in the folder.
    """
    inside, seen, process = os.fspath(folder), 0, os.getpid()
    notes = os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def on_event(event, arguments):
        nonlocal seen
        if not (event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITES)):
            return
        path = arguments[0]
        if (
            os.getpid() != process
            or not isinstance(path, (str, Path))
            or not os.fspath(path).startswith(inside)
        ):
            return
        if seen == number:
            os.killpg(os.getpid(), signal.SIGKILL)
        seen += 1
        os.write(notes, b".")

    sys.addaudithook(on_event)
