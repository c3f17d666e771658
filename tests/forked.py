"""Processes copied from one that has imported what the tools import, which takes 5 s each time.

A copy is a process as any other: own memory, streams and exit code, and it can be killed. It
comes of a server in which nothing but imports ever ran, so no thread is copied half-way.
"""

import contextlib
import datetime
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

ROOT = Path(__file__).parents[1]
_SERVER = "forkserver"

multiprocessing.set_forkserver_preload(["minkocc.apis.test"])


class ToolProcess:
    """A tool at work, in its own session.

    Args:
        script: its name under ``tools/``.
        arguments: of its command line.
        cwd: where it runs.
        env: its environment; this process's if not given. ``PYTHONPATH`` comes first in its path.
        prepare: called in the process before the tool; importable by name, or a ``partial``.
    """

    def __init__(self, script, *arguments, cwd=ROOT, env=None, prepare=None):
        self._streams = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self._streams.name, name) for name in ("out", "err"))
        command = [str(ROOT / "tools" / script), *map(str, arguments)]
        self._process = multiprocessing.get_context(_SERVER).Process(
            target=_run,
            args=(
                command,
                cwd,
                dict(os.environ if env is None else env),
                self.out,
                self.err,
                prepare,
            ),
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        """Its exit code (``-signal`` where it was killed), None while it runs."""
        return self._process.exitcode

    def wait_for(self, condition, timeout=200):
        """Return when the condition holds; fail where the tool ends or time is up before."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.poll()}: {self.err.read_text()[-3000:]}")
            time.sleep(0.005)

    def wait(self, timeout=300):
        """``subprocess.CompletedProcess`` with what it printed; killed when time is up."""
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            raise subprocess.TimeoutExpired(str(self._process), timeout, self.out.read_bytes())
        printed = (path.read_text() if path.exists() else "" for path in (self.out, self.err))
        return subprocess.CompletedProcess(None, self.poll(), *printed)

    def kill(self, number=signal.SIGKILL):
        """Send the signal to it and to the processes it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        if number == signal.SIGKILL:
            self._process.join()


def _run(command, cwd, env, out, err, prepare):
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    own = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [str(Path(command[0]).parent), *own]
    warnings.simplefilter("ignore")
    if prepare is not None:
        prepare()
    runpy.run_path(command[0], run_name="__main__")


def run_group(function, processes, folder, *arguments):
    """``function(rank, folder, *arguments)`` in each process of a gloo group of that many.

    Raises:
        torch.multiprocessing.ProcessRaisedException: what ``function`` raised in one of them.
    """
    torch.multiprocessing.start_processes(
        _in_group, (function, processes, folder, *arguments), processes, start_method=_SERVER
    )


def _in_group(rank, function, processes, folder, *arguments):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=processes,
        timeout=datetime.timedelta(seconds=60),
    )
    function(rank, folder, *arguments)
    torch.distributed.destroy_process_group()
