"""A work dir holds one run, and one process at a time trains in it."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from minkocc.config.knobs import KNOBS, OnResume
from minkocc.structures.errors import UserError

RECIPE = "recipe.py"
"""What the work dir keeps of the recipe, with its references."""

_LOCK = ".training.lock"
_NOTE = "last_checkpoint"
VALIDATION = "last_validation"
"""In the work dir, the epoch after which the run validated last, beside its last checkpoint."""

_CHECKPOINTS = ("epoch_*.pth", "iter_*.pth", "best_*.pth")
_WRITTEN = (RECIPE, _NOTE, VALIDATION, "label_audit.json", "*.py", *_CHECKPOINTS)
# Where the data lies and who loads it makes no other run.
_FREE = "|".join(
    name for name, knob in KNOBS.items() if knob.on_resume in (OnResume.FREE, OnResume.PAST)
)
_FREE_LINES = re.compile(rf"^({_FREE}) = .*\n", re.M)

_held: set[int] = set()


class WorkDirError(UserError, RuntimeError):
    """A work dir that another run is in, or has been in."""


def last_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a work dir's run wrote last, None when it wrote none.

    Raises:
        UserError: it is noted, and is not there.
    """
    note = Path(work_dir) / _NOTE
    if not note.is_file():
        return None
    named = Path(note.read_text(encoding="utf-8", errors="replace").strip())
    beside = note.parent / named.name  # the folder may have been copied or moved
    path = beside if beside.is_file() else named
    if not path.is_file():
        raise UserError(
            f"{note} names {named}, which does not exist: name a checkpoint with --resume PATH"
        )
    return str(path)


@contextmanager
def claimed(
    work_dir: str | Path, recipe: str, begin_from: str | None, resume: bool, overwrite: bool
) -> Iterator[None]:
    """Keep a work dir for this run until the block ends, or its main process does.

    The main process looks and locks; the others learn of it, and all of them end.

    Args:
        work_dir: made where it is missing.
        recipe: the text of the run's recipe.
        begin_from: the checkpoint that was named to begin with or to resume, if one was.
        resume: whether the run is one that goes on.
        overwrite: whether another run may go for this one.

    Raises:
        WorkDirError: another process trains there, or another run is there.
    """
    lock: int | None = None
    problem: list[str | None] = [None]
    if is_main_process():
        try:
            lock = _lock(Path(work_dir))
            if lock is not None:  # nobody else is at work on them
                _remove_leftovers(Path(work_dir))
            if not overwrite:
                _refuse_another_run(Path(work_dir), recipe, begin_from, resume)
            elif begin_from is not None and Path(begin_from).resolve() in _results(Path(work_dir)):
                raise WorkDirError(
                    f"--overwrite would remove {begin_from}, which the new run begins from: name "
                    "another folder with --work-dir"
                )
        except (UserError, OSError) as error:
            problem = [str(error)]
            broadcast_object_list(problem)
            _release(lock)
            raise
    broadcast_object_list(problem)
    if problem[0] is not None and not is_main_process():
        raise WorkDirError(problem[0])
    try:
        yield
    finally:
        _release(lock)


def _remove_leftovers(work_dir: Path) -> None:
    """Remove what a training that was killed had begun to write."""
    for name in _WRITTEN:
        for part in work_dir.glob(f".{name}.*.part"):
            part.unlink(missing_ok=True)


def remove_results(work_dir: str | Path) -> None:
    """Remove the checkpoints of the run that was here; its audit goes when the new one begins."""
    for path in _results(Path(work_dir)):
        path.unlink(missing_ok=True)


def _results(work_dir: Path) -> list[Path]:
    work_dir = work_dir.resolve()
    found = [path for pattern in _CHECKPOINTS for path in sorted(work_dir.glob(pattern))]
    note = work_dir / _NOTE
    return [note, *found] if note.is_file() else found


def _refuse_another_run(work_dir: Path, recipe: str, begin_from: str | None, resume: bool) -> None:
    """What has no checkpoint yet may begin again, if it is the same."""
    from_here = begin_from is None or Path(begin_from).resolve().parent == work_dir.resolve()
    if resume and from_here:
        return
    remedies = (
        "go on with it with --resume, name another folder with --work-dir, or lose it with "
        "--overwrite"
    )
    found = _results(work_dir)
    if found:
        raise WorkDirError(f"{work_dir} holds a run already ({found[-1].name}): {remedies}")
    kept = work_dir / RECIPE
    if (
        not resume
        and kept.is_file()
        and _identity(kept.read_text("utf-8", "replace")) != _identity(recipe)
    ):
        raise WorkDirError(
            f"{work_dir} holds a run of another recipe ({kept.name}), without a checkpoint: name "
            "another folder with --work-dir, or lose its logs with --overwrite"
        )


def _identity(recipe: str) -> str:
    return _FREE_LINES.sub("", recipe)


def _lock(work_dir: Path) -> int | None:
    """A file that is locked until it is closed, or the process ends in whatever way.

    Raises:
        WorkDirError: another process has locked it.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(work_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(handle, 200).decode(errors="replace").strip() or "of unknown number"
        os.close(handle)
        raise WorkDirError(
            f"another training (process {holder}) is at work in {work_dir}: wait for it or end it, "
            "or name another folder with --work-dir"
        ) from error
    except OSError as error:  # some network file systems have no locks
        os.close(handle)
        print_log(
            f"{work_dir} cannot be locked ({error.strerror}): see to it yourself that no other "
            "training runs in it",
            logger="current",
            level=logging.WARNING,
        )
        return None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()} on {socket.gethostname()}".encode())
    _held.add(handle)
    return handle


def _release(handle: int | None) -> None:
    if handle is not None:
        _held.discard(handle)
        os.close(handle)


def _let_go() -> None:
    """A data worker that outlives its parent for some seconds does not hold the lock."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)
