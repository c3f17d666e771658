"""Work spread over processes, one thread each, with an end that leaves none of them behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import numba

from minkocc.structures.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerPool:
    """Processes that work through lists; they start with the first list and serve all of them.

    Use it in a ``with`` block. A script that does so stands under
    ``if __name__ == "__main__":``, because the processes import it.

    Args:
        workers: processes; 1 works in this one.

    Raises:
        ValueError: ``workers`` is not positive.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers {workers} is too small: use 1 or more")
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            # Forked copies of Embree's, OpenMP's and numba's threads are not safe to use.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _begin_worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)  # after an error nothing is begun

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], chunk: int = 1
    ) -> Iterator[Result]:
        """Results of ``function`` in the order of ``items``.

        Args:
            function: importable by name.
            items: what it is called with; they travel to the processes.
            chunk: items that a process takes at a time.

        Raises:
            UserError: a process was killed, most often for want of memory.
        """
        if self._pool is None:
            yield from map(function, items)
            return
        try:
            with _deaf_to_interrupts():
                results = self._pool.map(function, items, chunksize=chunk)
            yield from results
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {self._workers} worker processes was killed, most often because memory "
                "ran out: use fewer --workers (in a script of your own, work under "
                '`if __name__ == "__main__":`)'
            ) from error


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in this block ignore Ctrl-C while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    end_with_parent()
    numba.set_num_threads(1)  # processes are the parallelism


def end_with_parent() -> None:
    """Let this process end when the one that started it does.

    A parent that is killed cannot end its processes: they look for themselves.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
