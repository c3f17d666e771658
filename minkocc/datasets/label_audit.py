"""The audit of a run: which files of ground truth its processes opened, whatever code did it.

The labels of training frames outside the budget are not opened at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minkocc.datasets.label_budget import LabelBudget
from minkocc.files.occupancy import LabelBudgetError, LabelError
from minkocc.files.reading import read_json
from minkocc.files.writing import write_json

_TABLES = {
    "sample_annotation.json": "boxes",
    "lidarseg.json": "lidarseg",
    "panoptic.json": "lidarseg",
}
_KEYS = {
    "dense": ("read", "evaluation_labels"),
    "boxes": ("boxes",),
    "lidarseg": ("lidarseg",),
}
"""Where ``label_audit.json`` lists what was opened, by kind."""

_SUFFIXES = {"_lidarseg.bin": "lidarseg", "_panoptic.npz": "lidarseg"}


def truth_of(path: str) -> tuple[str, str] | None:
    """Which ground truth a file holds.

    Returns:
        ``("dense", <sample token>)`` of an Occ3D label, ``("boxes", <file>)`` or
        ``("lidarseg", <file>)``; None of any other file.
    """
    folder, _, name = path.rpartition("/")
    if name == "labels.npz":
        return "dense", folder.rpartition("/")[2]
    kind = _TABLES.get(name) or next(
        (kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None
    )
    return (kind, name) if kind else None


@dataclass
class _Watch:
    """Appends what this process opens to ``<rank>-<pid>.txt``, each file once."""

    folder: Path
    rank: int
    closed: Set[str]
    _seen: set[tuple[int, str, str]] = field(default_factory=set)

    def note(self, path: Any) -> None:
        """Write the file down, if it is one of ground truth.

        Raises:
            LabelBudgetError: it is a label outside the budget.
        """
        found = truth_of(os.fsdecode(path)) if isinstance(path, (str, bytes)) else None
        if found is None:
            return
        if found[0] == "dense" and found[1] in self.closed:
            raise LabelBudgetError(
                f"the dense label of {found[1]}, a training frame outside the label budget, was "
                "about to be opened: this run may not read it, whatever code asks for it"
            )
        if (os.getpid(), *found) in self._seen:
            return
        self._seen.add((os.getpid(), *found))
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{self.rank}-{os.getpid()}.txt", "a", encoding="utf-8") as log:
            log.write(" ".join(found) + "\n")


_watch: _Watch | None = None
_installed = False


def watch_truth(folder: Path | None, rank: int = 0, closed: Set[str] = frozenset()) -> None:
    """Write down every file of ground truth that Python opens in this process from now on.

    Python itself reports what it opens (``sys.addaudithook``), so that no code path is left out;
    forked processes go on watching. What C++ would open by itself is not seen: nothing here does.

    Args:
        folder: of the logs; None stops.
        rank: of the process in a distributed run.
        closed: tokens of the frames whose dense labels cannot be opened: it raises
            ``LabelBudgetError`` where it is tried.
    """
    global _watch, _installed
    if folder is None:
        _watch = None
        return
    if _watch is None or (_watch.folder, _watch.rank, _watch.closed) != (folder, rank, closed):
        _watch = _Watch(folder, rank, closed)
    if not _installed:
        sys.addaudithook(_on_event)  # there is no way to take it away again
        _installed = True


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watch is not None:
        _watch.note(arguments[0])


def merge_audit(
    folder: Path, path: Path, budget: LabelBudget, scene_of: Mapping[str, str]
) -> dict[str, Any]:
    """Write ``label_audit.json``: the budget, and all ground truth that any process opened.

    Args:
        folder: of the logs.
        path: the JSON; what it lists of an earlier part of the run stays listed.
        budget: of the run.
        scene_of: the scene of every training frame, by token.

    Returns:
        What was written. ``read`` are dense labels of training frames, ``read_outside_budget``
        those that were not allowed, ``evaluation_labels`` those of other frames, which validation
        reads, and ``boxes`` and ``lidarseg`` the files of these.

    Raises:
        LabelError: a log is damaged.
    """
    opened: dict[str, set[str]] = {kind: set() for kind in _KEYS}
    if os.path.lexists(path):
        former = _former_audit(path)
        for kind, keys in _KEYS.items():
            opened[kind].update(*(former[key] for key in keys))
    for log in sorted(folder.glob("*.txt")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, name = line.partition(" ")
            if kind not in opened or not name:
                raise LabelError(
                    f"audit log {log} holds the line {line!r}, expected one of "
                    f"{', '.join(opened)} and a name: it is damaged or of an older version; begin "
                    "the run in a new work dir, or delete the log and lose what it says"
                )
            opened[kind].add(name)
    read = sorted(opened["dense"] & scene_of.keys())
    content = {
        "alpha": budget.alpha,
        "seed": budget.seed,
        "scenes": sorted(budget.scenes),
        "labelled_frames": sum(scene in budget.scenes for scene in scene_of.values()),
        "all_frames": len(scene_of),
        "read": read,
        "read_outside_budget": [token for token in read if scene_of[token] not in budget.scenes],
        "evaluation_labels": sorted(opened["dense"] - scene_of.keys()),
        "boxes": sorted(opened["boxes"]),
        "lidarseg": sorted(opened["lidarseg"]),
    }
    write_json(path, content)
    return content


def _former_audit(path: Path) -> dict[str, list[str]]:
    """What the earlier part of a run has opened."""
    try:
        content = read_json(path)
        former = {key: content.get(key, []) for keys in _KEYS.values() for key in keys}
        if all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in former.values()):
            return former
        problem = "it holds no lists of names"
    except (OSError, ValueError, AttributeError) as error:
        problem = str(error)
    raise LabelError(
        f"audit {path} is damaged ({problem}): what the run has read so far cannot be told. Put a "
        "copy back, begin the run in a new work dir, or delete the file and lose what it says"
    )
