"""What the installer says while it works: one line a step, a live counter for long builds."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_NINJA_STEP = re.compile(r"^\[(\d+)/(\d+)\]")
_TAIL_LINES = 25


class InstallError(Exception):
    """A failure that the user can act on; its text is the whole message."""


def say(text: str) -> None:
    """Print one progress line at once."""
    print(f"[install] {text}", flush=True)


def run_logged(
    command: Sequence[str | Path],
    what: str,
    log: Path,
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    check: bool = True,
) -> int:
    """Run ``command`` with its output in ``log`` and a live line of elapsed time on the terminal.

    Raises:
        InstallError: the command failed and ``check`` is set; the text holds the log's last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    ticker = _Ticker(what, started)
    with log.open("w", encoding="utf-8", errors="replace") as sink:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sink.write(line)
                tail.append(line.rstrip())
                ticker.update(line)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        code = process.wait()
    failed = bool(code) and check
    ticker.finish("failed" if failed else "done")
    if failed:
        raise InstallError(f"{what} failed (exit {code}); the log is {log}\n" + "\n".join(tail))
    return code


class _Ticker:
    """One line that is rewritten on a terminal and reprinted every 30 s elsewhere."""

    def __init__(self, what: str, started: float) -> None:
        self._what, self._started = what, started
        self._last = started
        self._step = ""
        self._live = sys.stdout.isatty()

    def update(self, line: str) -> None:
        found = _NINJA_STEP.match(line)
        if found:
            self._step = f", file {found[1]} of {found[2]}"
        now = time.monotonic()
        if now - self._last >= (1 if self._live else 30):
            self._last = now
            end = "\r" if self._live else "\n"
            elapsed = now - self._started
            print(f"[install] {self._what}: {elapsed:.0f} s{self._step}   ", end=end, flush=True)

    def finish(self, state: str) -> None:
        say(f"{self._what}: {state} in {time.monotonic() - self._started:.0f} s          ")
