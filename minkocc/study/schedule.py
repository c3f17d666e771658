"""Runs a study's runs in processes of their own, some at a time, and goes on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from minkocc.study.definition import Study
from minkocc.study.run_files import RunFiles
from minkocc.worker_pool import available_cores

_TOLD_EVERY = 60.0  # seconds between lines on what is running
_LOOKS_EVERY = 0.5
_PATIENCE = 30.0  # seconds that an interrupted process has to end


class _Process:
    """One run at work: the steps that are left of it, one process after the other."""

    def __init__(self, files: RunFiles, steps: Sequence[tuple[str, list[str]]], threads: int):
        self.files = files
        self._steps = list(steps)
        self._threads = threads
        self._begin()

    def _begin(self) -> None:
        self.step, words = self._steps.pop(0)
        self.files.log.parent.mkdir(parents=True, exist_ok=True)
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
                cwd=self.files.code,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through this process alone
            )

    def has_ended(self) -> bool:
        """Look; begin the next step where one has ended well."""
        if self._process.poll() is None:
            return False
        self.files.add_seconds(self.step, time.monotonic() - self._started)
        if self._process.returncode == 0 and self._steps:
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

    def stop(self) -> None:
        """Let it end as Ctrl-C does, and its own processes with it."""
        for number in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
                break
        self.files.add_seconds(self.step, time.monotonic() - self._started)


def _former_path() -> list[str]:
    """What a user has set: packages may come from there."""
    former = os.environ.get("PYTHONPATH")
    return [former] if former else []


class Schedule:
    """Works through runs.

    Args:
        study: what they are of.
        jobs: how many at a time.
        most: runs to begin; None for all.
        seconds: after which what runs is interrupted, to go on another time; None for no limit.
        train_only: leave testing to a later call.
    """

    def __init__(
        self,
        study: Study,
        jobs: int = 1,
        most: int | None = None,
        seconds: float | None = None,
        train_only: bool = False,
    ) -> None:
        self.study = study
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
        """
        started, told = time.monotonic(), time.monotonic()
        waiting = [files for files in runs if not files.is_done()]
        print(f"[study] {len(runs) - len(waiting)} of {len(runs)} runs are done", flush=True)
        waiting = waiting[: self._most]
        at_work: list[_Process] = []
        failed: list[str] = []
        try:
            while waiting or at_work:
                while waiting and len(at_work) < self._jobs:
                    at_work += self._begun(waiting.pop(0))
                for process in [each for each in at_work if each.has_ended()]:
                    at_work.remove(process)
                    failed += self._ended(process)
                if self._seconds is not None and time.monotonic() - started > self._seconds:
                    print("[study] the time is over: the same command goes on", flush=True)
                    break
                if time.monotonic() - told > _TOLD_EVERY:
                    told = time.monotonic()
                    for process in at_work:
                        name = process.files.run.name
                        print(f"[study] {name}: {process.last_line()}", flush=True)
                time.sleep(_LOOKS_EVERY)
        finally:
            for process in at_work:
                process.stop()
        return failed

    def _begun(self, files: RunFiles) -> Iterator[_Process]:
        steps = list(self._steps(files))
        if not steps:
            self._finish(files)
            return
        print(f"[study] {files.run.name}: {', '.join(name for name, _ in steps)}", flush=True)
        yield _Process(files, steps, self._threads)

    def _ended(self, process: _Process) -> Iterator[str]:
        files = process.files
        if process.failed:
            print(
                f"[study] {files.run.name} FAILED at {process.step}: {process.last_line()}\n"
                f"        everything it said: {files.log}",
                flush=True,
            )
            yield files.run.name
        else:
            self._finish(files)

    def _finish(self, files: RunFiles) -> None:
        if self._train_only:
            print(f"[study] {files.run.name}: trained", flush=True)
            return
        files.write_figures(self.study.splits)
        print(f"[study] {files.run.name}: {files.figures}", flush=True)

    def _steps(self, files: RunFiles) -> Iterator[tuple[str, list[str]]]:
        """What is left of a run, by name: the words of each tool."""
        tools, config, work_dir = files.code / "tools", str(files.config), str(files.work_dir)
        if not files.checkpoint.is_file():
            words = [str(tools / "train.py"), config, "--work-dir", work_dir, "--resume", "auto"]
            yield "train", [*words, *_pairs(files.run.options)]
        if self._train_only:
            return
        for split, root in [(None, self.study.data_root), *self.study.splits.items()]:
            out = files.tested(split)
            if out.is_file():
                continue
            words = [str(tools / "test.py"), config, str(files.checkpoint), "--work-dir", work_dir]
            words += ["--out", str(out), "--sweep-threshold"]
            yield f"test {split or 'val'}", [*words, *_pairs(files.run.options, data_root=root)]


def _pairs(options: Mapping[str, object], **changes: object) -> list[str]:
    return ["--cfg-options", *(f"{key}={value}" for key, value in {**options, **changes}.items())]


def code_folder(out: Path) -> Path:
    """Where a study keeps the copy of the code that it runs from."""
    return out / "code"
