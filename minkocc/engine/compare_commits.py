"""What recipes cost at another commit of this repository, in turn with this tree."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from minkocc.structures.errors import UserError

ROOT = Path(__file__).parents[2]
"""Of the checkout that this package runs from."""


def measure_in_turn(
    against: str, configs: Sequence[str], arguments: Sequence[str], rounds: int
) -> dict[str, Any]:
    """Measure recipes with both trees' own ``tools/benchmark.py``, one tree after the other.

    Args:
        against: the other commit.
        configs: recipes of the repository, which both trees have.
        arguments: of ``tools/benchmark.py``, for both.
        rounds: how often each is measured; what else runs on the machine then hits both.

    Returns:
        ``against`` and ``now``, the reports of every round, and ``ratios``, for every recipe and
        phase (``frame`` is a predicted one) the median over the rounds of their quotient, above 1
        where this tree is faster; ``memory_ratio`` alike.

    Raises:
        UserError: no such commit, a recipe is not in the repository, or a measurement failed.
    """
    inside = [_in_repository(config) for config in configs]
    reports: dict[str, list[dict[str, Any]]] = {"against": [], "now": []}
    with _worktree(against) as other:
        for _ in range(rounds):
            for name, tree in (("against", other), ("now", ROOT)):
                reports[name].append(_measure(tree, inside, arguments))
    pairs = list(zip(reports["against"], reports["now"]))
    names = [config.stem for config in inside]
    return {
        **reports,
        "ratios": {name: _ratios(pairs, name) for name in names},
        "memory_ratio": {name: _ratio(pairs, name, "peak_memory_gib") for name in names},
    }


def _in_repository(config: str) -> Path:
    path = Path(config).resolve()
    if not path.is_relative_to(ROOT):
        raise UserError(
            f"{config} is not in {ROOT}: --against measures recipes that both commits have"
        )
    return path.relative_to(ROOT)


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="minkocc-against-") as folder:
        tree = Path(folder) / "tree"
        done = _git("worktree", "add", "--detach", str(tree), commit)
        if done.returncode:
            raise UserError(
                f"--against {commit}: {done.stderr.strip()}; expected a commit of this checkout"
            )
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def _measure(tree: Path, configs: Sequence[Path], arguments: Sequence[str]) -> dict[str, Any]:
    """The report of one tree's own tool."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cost.json"
        command = [sys.executable, str(tree / "tools" / "benchmark.py")]
        command += [str(tree / config) for config in configs]
        # Another tree's package must not come from the environment.
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        done = subprocess.run(
            [*command, "--out", str(out), *arguments], env=environment, stdout=subprocess.DEVNULL
        )
        if done.returncode or not out.is_file():
            raise UserError(f"the benchmark of {tree} failed: see above")
        return dict(json.loads(out.read_text(encoding="utf-8")))


Pairs = Sequence[tuple[dict[str, Any], dict[str, Any]]]


def _ratios(pairs: Pairs, name: str) -> dict[str, float]:
    """Of every phase that both have, and of a predicted frame."""
    phases = dict.fromkeys(
        phase for _, now in pairs for phase in now["recipes"][name]["seconds_per_iteration"]
    )
    found = {phase: _ratio(pairs, name, "seconds_per_iteration", phase) for phase in phases}
    return {**found, "frame": _ratio(pairs, name, "seconds_per_frame")}


def _ratio(pairs: Pairs, name: str, *place: str) -> float:
    """The median over the rounds of the quotient of one figure of a recipe."""
    quotients = []
    for pair in pairs:
        before, now = (reduce(getitem, place, report["recipes"][name]) for report in pair)
        quotients.append(before / now)
    return round(statistics.median(quotients), 2)
