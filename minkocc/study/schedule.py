"""Runs a study's runs in processes of their own, some at a time, and goes on after a kill."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from minkocc.runtime.worker_pool import available_cores
from minkocc.structures.errors import UserError
from minkocc.study.run_files import RunFiles

_TOLD_EVERY = 60.0  # seconds between lines on what is running
_LOOKS_EVERY = 0.5
_PATIENCE = 30.0  # seconds that interrupted processes have to end
_SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl.h


class _Process:
    """One run at work: the steps that are left of it, one process after the other."""

    def __init__(self, files: RunFiles, steps: Sequence[tuple[str, list[str]]], threads: int):
        self.files = files
        self._steps = list(steps)
        self._threads = threads
        self._begin()

    def _begin(self) -> None:
        self.step, words = self._steps.pop(0)
        self._started = time.monotonic()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.files.code), *_former_path()]),
            "OMP_NUM_THREADS": str(self._threads),
        }
        with self.files.log.open("ab") as log:
            log.write(f"\n$ {' '.join(words)}\n".encode(errors="backslashreplace"))
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *words],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through this process alone
                preexec_fn=_end_with_parent,
            )

    def has_ended(self) -> bool:
        """Look; begin the next step where one has ended well."""
        if self._process.poll() is None:
            return False
        self._note()
        if not self.failed and self._steps:
            self._begin()
            return False
        return True

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self._process.returncode != 0

    def last_line(self) -> str:
        """What it said last."""
        lines = self.files.log.read_bytes()[-4000:].decode(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][-160:] if said else ""

    def signal(self, number: int) -> None:
        """To it and to the processes it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> None:
        """For its end, which is forced when the time is over."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, seconds))
        self.signal(signal.SIGKILL)
        self._process.wait()
        with suppress(OSError):  # of a full disk: the others are to end too
            self._note()

    def _note(self) -> None:
        seconds = time.monotonic() - self._started
        self.files.note_step(self.step, seconds, ended=self._process.returncode == 0)


class Schedule:
    """Works through runs.

    Args:
        jobs: how many at a time.
        most: runs to begin; None for all.
        seconds: after which what runs is interrupted, to go on another time; None for no limit.
        train_only: leave testing to a later call.
    """

    def __init__(
        self,
        jobs: int = 1,
        most: int | None = None,
        seconds: float | None = None,
        train_only: bool = False,
    ) -> None:
        self._jobs = jobs
        self._most = most
        self._seconds = seconds
        self._train_only = train_only
        self._threads = max(1, available_cores() // jobs)

    def work(self, runs: Sequence[RunFiles]) -> list[str]:
        """Do what is left of the runs.

        Args:
            runs: in order.

        Returns:
            Names of those that failed.

        Raises:
            UserError: what is there of a run is of another one; nothing is begun then.
        """
        waiting = [files for files in runs if not self._is_over(files)]
        print(f"[study] {len(runs) - len(waiting)} of {len(runs)} runs are done", flush=True)
        waiting = waiting[: self._most]
        at_work: list[_Process] = []
        failed: list[str] = []
        with _ended_like_ctrl_c():
            try:
                self._work(waiting, at_work, failed)
            finally:
                _stop(at_work)
        return failed

    def _is_over(self, files: RunFiles) -> bool:
        return files.is_done() or (self._train_only and files.is_trained())

    def _work(self, waiting: list[RunFiles], at_work: list[_Process], failed: list[str]) -> None:
        started = told = time.monotonic()
        while waiting or at_work:
            while waiting and len(at_work) < self._jobs:
                files = waiting.pop(0)
                with _alone(files, failed):
                    at_work.extend(self._begun(files))
            for process in list(at_work):
                if process.has_ended():
                    at_work.remove(process)
                    with _alone(process.files, failed):
                        self._ended(process)
            now = time.monotonic()
            if self._seconds is not None and now - started > self._seconds:
                print("[study] the time is over: the same command goes on", flush=True)
                return
            if now - told > _TOLD_EVERY:
                told = now
                for process in at_work:
                    name = process.files.run.name
                    print(f"[study] {name}: {process.last_line()}", flush=True)
            time.sleep(_LOOKS_EVERY)

    def _begun(self, files: RunFiles) -> Iterator[_Process]:
        files.begin()
        steps = list(self._steps(files))
        if not steps:
            self._finish(files)
            return
        print(f"[study] {files.run.name}: {', '.join(name for name, _ in steps)}", flush=True)
        yield _Process(files, steps, self._threads)

    def _ended(self, process: _Process) -> None:
        if process.failed:
            raise UserError(
                f"at {process.step}: {process.last_line()}\n"
                f"        everything it said: {process.files.log}"
            )
        self._finish(process.files)

    def _finish(self, files: RunFiles) -> None:
        if self._train_only:
            print(f"[study] {files.run.name}: trained", flush=True)
            return
        files.write_figures()
        print(f"[study] {files.run.name}: {files.figures}", flush=True)

    def _steps(self, files: RunFiles) -> Iterator[tuple[str, list[str]]]:
        """What is left of a run, by name: the words of each tool."""
        tools, config, work_dir = files.code / "tools", str(files.config), str(files.work_dir)
        trained = files.is_trained()
        if not trained:
            words = [str(tools / "train.py"), config, "--work-dir", work_dir, "--resume", "auto"]
            yield "train", [*words, *_pairs(files, files.study.data_root)]
        if self._train_only:
            return
        for split, root in files.tests() if trained else files.study.roots.items():
            words = [str(tools / "test.py"), config, str(files.checkpoint), "--work-dir", work_dir]
            words += ["--out", str(files.tested(split)), "--sweep-threshold"]
            words += ["--dump", str(files.predictions)] if split == "val" else []
            yield f"test {split}", [*words, *_pairs(files, root)]


@contextmanager
def _alone(files: RunFiles, failed: list[str]) -> Iterator[None]:
    """One run's trouble holds up no other."""
    try:
        yield
    except (UserError, OSError) as error:
        print(f"[study] {files.run.name} FAILED: {error}", flush=True)
        failed.append(files.run.name)


def _pairs(files: RunFiles, data_root: str) -> list[str]:
    options = {**files.run.options, "data_root": data_root}
    return ["--cfg-options", *(f"{key}={value}" for key, value in options.items())]


def _former_path() -> list[str]:
    """What a user has set: packages may come from there."""
    former = os.environ.get("PYTHONPATH")
    return [former] if former else []


def _end_with_parent() -> None:
    """In a new process: let it hear Ctrl-C, and be killed with the study, which could not stop it.

    A training that is killed goes on from its last checkpoint; one without its study would hold its
    work dir against the next call.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background hands on deafness to Ctrl-C
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _stop(processes: Sequence[_Process]) -> None:
    """Let them end as Ctrl-C does, all at once, however often it is pressed now."""
    if not processes:
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process in processes:
            process.signal(signal.SIGINT)
        limit = time.monotonic() + _PATIENCE
        for process in processes:
            process.wait(limit - time.monotonic())
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """A cluster's end of time (SIGTERM) and a lost terminal (SIGHUP) stop what runs too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
