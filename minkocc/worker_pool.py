"""Work spread over processes, one thread each, with an end that does not hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import numba

from minkocc.structures.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Results of ``function`` in the order of ``items``.

    Args:
        function: importable by name.
        items: what it is called with; they travel to the processes.
        workers: processes; 1 works in this one.
        chunk: items that a process takes at a time.

    Raises:
        ValueError: ``workers`` is not positive.
        UserError: a process was killed, most often for want of memory.
    """
    check_workers(workers)
    if min(workers, len(items)) <= 1:
        return map(function, items)
    return _run(function, items, min(workers, len(items)), chunk)


def check_workers(workers: int) -> None:
    """Refuse less than one process.

    Raises:
        ValueError: ``workers`` is not positive.
    """
    if workers < 1:
        raise ValueError(f"workers {workers} is too small: use 1 or more")


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int
) -> Iterator[Result]:
    # Forked copies of Embree's, OpenMP's and numba's threads are not safe to use.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {workers} worker processes was killed, most often because memory ran out: use "
            "fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # after an error nothing else is begun


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    numba.set_num_threads(1)  # processes are the parallelism
