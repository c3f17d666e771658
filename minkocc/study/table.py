"""A study's one table: an arm a row, mean and spread over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minkocc.evaluation.report import aligned

Result = Mapping[str, Any]
"""What ``RunFiles.write_figures`` wrote of one run."""

_HOUR = 3600.0


def by_arm(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results of each arm, by seed."""
    arms: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda each: each["seed"]):
        arms.setdefault(result["arm"], []).append(result)
    return arms


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; of one value there is none."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def study_table(
    arms: Mapping[str, Sequence[Result]], splits: Iterable[str], reference: str | None = None
) -> str:
    """The table in Markdown, percent.

    ``mIoU on the way`` is the best of the validations during training, on fewer frames: chosen
    with the validation labels, so it is what early stopping could have given at most.

    Args:
        arms: of ``by_arm``, in the order of the rows.
        splits: names of the further data roots.
        reference: an arm whose mIoU is subtracted from that of the same seeds of the others: the
            seed draws the labelled scenes too.
    """
    head = ["arm", "seeds", "iterations", "mIoU", "geometric IoU", "RayIoU", "mIoU on the way"]
    base = {each["seed"]: each for each in arms.get(reference or "", ())}
    versus = [f"mIoU less that of {next(iter(base.values()))['label']}"] if base else []
    rows = [[*head, *(f"mIoU, {split}" for split in splits), *versus, "hours, all seeds"]]
    for results in arms.values():
        finals = [result["final"] for result in results]
        figures = [
            [final["occ3d"]["miou"] for final in finals],
            [final["occ3d"]["geometric_iou"] for final in finals],
            [final["rayiou"]["rayiou"] for final in finals],
            [best_on_the_way(result) for result in results],
            *([_miou_of_split(result, split) for result in results] for split in splits),
        ]
        rows.append(
            [
                results[0]["label"],
                str(len(results)),
                str(max((point["iteration"] for point in results[0]["curve"]), default="-")),
                *(_told(values) for values in figures),
                *([_told(_gains(results, base))] if base else []),
                f"{sum(map(seconds_of, results)) / _HOUR:.2f}",
            ]
        )
    return "\n".join(aligned(rows))


def _gains(results: Sequence[Result], base: Mapping[int, Result]) -> list[float | None]:
    pairs = [(each, base[each["seed"]]) for each in results if each["seed"] in base]
    miou = [[side["final"]["occ3d"]["miou"] for side in pair] for pair in pairs]
    return [ours - theirs for ours, theirs in miou if ours is not None and theirs is not None]


def _miou_of_split(result: Result, split: str) -> float | None:
    """None where a result from elsewhere lacks it."""
    summary = result["splits"].get(split)
    return summary["occ3d"]["miou"] if summary else None


def seconds_of(result: Result) -> float:
    """What all steps of a run took."""
    return float(sum(step["seconds"] for step in result["steps"].values()))


def best_on_the_way(result: Result) -> float | None:
    """The best mIoU of the validations during training; None where there were none."""
    found = [point["occ3d"]["miou"] for point in result["curve"]]
    return max(found) if found else None


def commits_of(results: Iterable[Result]) -> list[str]:
    """The code that results were made with: figures of several are not strictly comparable."""
    steps = [step for result in results for step in result["steps"].values()]
    return sorted({f"{step['commit']} ({step['code']})" for step in steps})


def _told(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, spread = mean_and_spread(known)
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"
