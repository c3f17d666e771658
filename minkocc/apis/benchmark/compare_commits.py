"""What recipes cost at another commit of this repository, in turn with this tree."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from minkocc.runtime.provenance import PACKAGE
from minkocc.structures.errors import UserError

ROOT = PACKAGE.parent
"""Of the checkout that this package runs from."""


def measure_in_turn(
    against: str,
    configs: Sequence[str],
    arguments: Sequence[str],
    pairs: Mapping[str, Sequence[str]],
    rounds: int,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure recipes with both trees' own ``tools/benchmark.py``, one tree after the other.

    A first round is not counted: caches are written and kernels compiled. Which tree begins
    changes from round to round.

    Args:
        against: the other commit.
        configs: recipes of the repository, which both trees have.
        arguments: of ``tools/benchmark.py``, for both.
        pairs: ``KEY=VALUE`` of the recipes ``against`` and ``now``.
        rounds: how often each is measured; what else runs on the machine then hits both.
        keep: called with what is measured so far, after every measurement.

    Returns:
        ``against`` and ``now``, the reports of every round; ``ratios``, for every recipe and
        phase that both have (``frame`` is a predicted one) the median over the rounds of their
        quotient, above 1 where this tree is faster; ``memory_ratio`` alike.

    Raises:
        UserError: no such commit, a recipe is not in the repository, or a measurement failed.
    """
    inside = [_in_repository(config) for config in configs]
    reports: dict[str, Any] = {"against": [], "now": []}
    with _worktree(against) as other:
        trees = [("against", other), ("now", ROOT)]
        for name, tree in trees:
            _measure(tree, inside, arguments, pairs[name])
        for number in range(rounds):
            for name, tree in trees[:: -1 if number % 2 else 1]:
                reports[name].append(_measure(tree, inside, arguments, pairs[name]))
                keep(reports)
    both = list(zip(reports["against"], reports["now"]))
    ratios = {config.stem: _ratios(both, config.stem) for config in inside}
    memory = {name: found.pop("memory") for name, found in ratios.items()}
    return {**reports, "ratios": ratios, "memory_ratio": memory}


def _in_repository(config: str) -> Path:
    path = Path(config).resolve()
    if not path.is_relative_to(ROOT):
        raise UserError(
            f"{config} is not in {ROOT}: --against measures recipes that both commits have"
        )
    return path.relative_to(ROOT)


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    _git("worktree", "prune")  # one whose tool was killed
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


def _measure(
    tree: Path, configs: Sequence[Path], arguments: Sequence[str], pairs: Sequence[str]
) -> dict[str, Any]:
    """The report of one tree's own tool."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cost.json"
        command = [sys.executable, str(tree / "tools" / "benchmark.py")]
        command += [*(str(tree / config) for config in configs), "--out", str(out), *arguments]
        command += ["--cfg-options", *pairs] if pairs else []
        # Another tree's package must not come from the environment.
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait()
            except BaseException:  # Ctrl-C, which the tool got too: let it clear up
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
                raise
        if process.returncode or not out.is_file():
            raise UserError(f"the benchmark of {tree} failed: see above")
        return dict(json.loads(out.read_text(encoding="utf-8")))


def _ratios(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], name: str) -> dict[str, float]:
    """The median over the rounds of how many times less this tree needs of what both have."""
    figures = [tuple(_figures(report["recipes"][name]) for report in pair) for pair in pairs]
    known = [figure for figure in figures[0][1] if all(figure in each for each in chain(*figures))]
    return {
        figure: round(statistics.median(a[figure] / b[figure] for a, b in figures), 2)
        for figure in known
    }


def _figures(cost: dict[str, Any]) -> dict[str, float]:
    """Seconds of every phase and of a predicted frame, if any was, and memory."""
    frame = {"frame": cost["seconds_per_frame"]} if cost["seconds_per_frame"] else {}
    return {**cost["seconds_per_iteration"], **frame, "memory": cost["peak_memory_gib"]}
