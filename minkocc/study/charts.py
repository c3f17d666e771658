"""A study's pictures: learning curves, classes, a knob's influence, reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minkocc.evaluation.charts import class_bars, save_figure
from minkocc.pseudo_labels.prompts import read_prompts
from minkocc.structures.taxonomy import CLASSES
from minkocc.study.definition import Study
from minkocc.study.table import Result, mean_and_spread

Arms = Mapping[str, Sequence[Result]]

WITHOUT_PROMPT = tuple(
    sorted(set(CLASSES) - {name for group in read_prompts() for _, name in group.phrases})
)
"""Classes that no phrase finds in an image: 2D labels do not teach them."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def draw_study(study: Study, arms: Arms, folder: Path) -> list[Path]:
    """Draw what the finished runs allow.

    Args:
        study: names what is drawn.
        arms: results by arm.
        folder: where to.

    Returns:
        The written pictures.
    """
    shown = {name: arms[name] for name in study.bars or arms if name in arms}
    pictures: dict[str, Callable[[Path], None]] = {}
    if shown:
        pictures["learning_curves"] = partial(draw_curves, shown)
        pictures["classes"] = partial(draw_classes, shown)
        pictures["prompts"] = partial(draw_prompts, shown)
        pictures["reliability"] = partial(draw_reliability, shown)
    for title, (knob, names) in study.series.items():
        there = {name: arms[name] for name in names if name in arms}
        if len(there) > 1:
            pictures[title] = partial(draw_series, there, knob)
    paths = {folder / f"{name}.png": draw for name, draw in pictures.items()}
    for path, draw in paths.items():
        draw(path)
    return list(paths)


def draw_curves(arms: Arms, path: Path) -> None:
    """Draw mIoU and geometric IoU of the validations during training; the band is min to max."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for axis, name, title in zip(
        figure.subplots(1, 2), ("miou", "geometric_iou"), ("mIoU", "geometric IoU")
    ):
        for colour, results in _coloured(arms):
            curves = [
                {point["iteration"]: point["occ3d"][name] for point in result["curve"]}
                for result in results
            ]
            places = sorted(set.intersection(*map(set, curves)))
            values = np.array([[curve[place] for place in places] for curve in curves])
            axis.plot(places, values.mean(0), "o-", color=colour, label=results[0]["label"], ms=4)
            axis.fill_between(
                places, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0
            )
        axis.set_xlabel("iteration")
        axis.set_ylabel(f"{title}, percent of occ3d")
        _plain(axis)
    figure.axes[0].legend(fontsize=8)
    save_figure(figure, path)


def draw_classes(arms: Arms, path: Path) -> None:
    """IoU of every class, an arm a bar, mean over seeds."""
    figure = Figure(figsize=(15, 4.4), layout="constrained")
    axis = figure.subplots()
    class_bars(axis, {results[0]["label"]: _class_means(results) for results in arms.values()})
    axis.set_title("IoU of each class (occ3d)", loc="left", fontsize=11)
    save_figure(figure, path)


def draw_prompts(arms: Arms, path: Path) -> None:
    """Mean IoU of the classes that prompts find in images, and of those that none does."""
    groups = {
        "classes with a prompt": [name for name in CLASSES if name not in WITHOUT_PROMPT],
        "classes without": list(WITHOUT_PROMPT),
    }
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(arms)
    for number, (colour, results) in enumerate(_coloured(arms)):
        means = _class_means(results)
        known = [[means[name] for name in names] for names in groups.values()]
        heights = [_mean_of(values) or 0.0 for values in known]
        places = np.arange(len(groups)) + (number - (len(arms) - 1) / 2) * width
        axis.bar(places, heights, width, color=colour, label=results[0]["label"])
        for place, height in zip(places, heights):
            axis.annotate(f"{height:.1f}", (place, height), ha="center", va="bottom", fontsize=8)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_ylabel("mean IoU, percent")
    axis.legend(fontsize=8)
    _plain(axis)
    save_figure(figure, path)


def draw_series(arms: Arms, knob: str, path: Path) -> None:
    """Draw mIoU and RayIoU against a knob, mean and each seed."""
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axis = figure.subplots()
    points = sorted(
        ((float(results[0]["knobs"][knob]), results) for results in arms.values()),
        key=itemgetter(0),
    )
    for colour, (protocol, name, title) in zip(
        _COLOURS, (("occ3d", "miou", "mIoU"), ("rayiou", "rayiou", "RayIoU"))
    ):
        values = [[r["final"][protocol][name] for r in results] for _, results in points]
        places = [place for place, _ in points]
        axis.plot(
            places, [mean_and_spread(v)[0] for v in values], "o-", color=colour, label=title, ms=4
        )
        for place, each in zip(places, values):
            axis.plot([place] * len(each), each, "_", color=colour, ms=10)
    axis.set_xlabel(knob)
    axis.set_ylabel("percent")
    axis.legend()
    _plain(axis)
    save_figure(figure, path)


def draw_reliability(arms: Arms, path: Path) -> None:
    """How often voxels are occupied of which the network says so with a probability."""
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for colour, results in _coloured(arms):
        said, found = reliability(results)
        axis.plot(said, found, "o-", color=colour, label=results[0]["label"], ms=4)
    axis.set_xlabel("occupancy probability of a visible candidate voxel")
    axis.set_ylabel("share of them that are occupied")
    axis.legend(fontsize=8)
    _plain(axis)
    save_figure(figure, path)


def reliability(results: Sequence[Result], bins: int = 10) -> tuple[list[float], list[float]]:
    """Mean probability of each bin and the share of its visible voxels that are occupied.

    Args:
        results: of one arm, added up.
        bins: how many; those without a voxel are left out.
    """
    finest = [result["final"]["pruning"]["sweep"][-1] for result in results]
    occupied, free = (
        np.sum([level[name] for level in finest], 0).reshape(bins, -1)
        for name in ("occupied", "free")
    )
    voxels = occupied + free
    said = (np.arange(voxels.size) + 0.5).reshape(bins, -1) / voxels.size
    seen = voxels.sum(1) > 0
    total = voxels.sum(1)[seen]
    return (
        ((said * voxels).sum(1)[seen] / total).tolist(),
        (occupied.sum(1)[seen] / total).tolist(),
    )


def _class_means(results: Sequence[Result]) -> dict[str, float | None]:
    """Mean IoU over seeds; None where a class is in no label."""
    return {
        name: _mean_of([result["final"]["occ3d"]["iou"][name] for result in results])
        for name in CLASSES
    }


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _coloured(arms: Arms) -> list[tuple[str, Sequence[Result]]]:
    return [
        (_COLOURS[number % len(_COLOURS)], results) for number, results in enumerate(arms.values())
    ]


def _plain(axis: Axes) -> None:
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
