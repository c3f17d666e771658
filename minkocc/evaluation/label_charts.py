"""Pictures of how right labels are: bars of each class, and confidence against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minkocc.evaluation.charts import ClassFigures, class_bars, save_figure

_ACCURACY, _AMOUNT = "#0072b2", "0.6"
_LINES = ("#000000", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00")


def draw_label_bars(columns: Mapping[str, ClassFigures], title: str, path: Path) -> None:
    """A group of bars for each class, one bar a column.

    Args:
        columns: percent by class, by what the bar is called.
        title: above them.
        path: the PNG.
    """
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    axis = figure.subplots()
    class_bars(axis, columns)
    axis.set_title(title, loc="left", fontsize=11)
    save_figure(figure, path)


def draw_rings(
    rings: Sequence[str],
    curves: Mapping[str, Mapping[str, Sequence[float | None]]],
    title: str,
    path: Path,
) -> None:
    """Panels of figures by distance, one line a way of making the labels.

    Args:
        rings: their names.
        curves: percent by ring of every figure, by way.
        title: above them.
        path: the PNG.
    """
    panels = list(dict.fromkeys(name for figures in curves.values() for name in figures))
    figure = Figure(figsize=(5.6 * len(panels), 5.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels):
        for number, (name, figures) in enumerate(curves.items()):
            values = [np.nan if value is None else value for value in figures[panel]]
            style = "-o" if number < len(_LINES) else "--s"
            axis.plot(rings, values, style, color=_LINES[number % len(_LINES)], label=name)
        axis.set_title(panel.replace("_", " "), fontsize=11)
        axis.set(xlabel="distance", ylabel="percent")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def draw_reliability(calibration: Mapping[str, Any], title: str, path: Path) -> None:
    """Accuracy against confidence, bin by bin, over how many pairs each bin holds.

    Args:
        calibration: what ``pseudo_label_accuracy.calibration`` gave.
        title: above it.
        path: the PNG.
    """
    bins = [part for part in calibration["bins"] if part["pairs"]]
    middle = [(part["from"] + part["to"]) / 2 for part in bins]
    confidence, accuracy = (
        np.array([part[key] for part in bins]) for key in ("mean_confidence", "accuracy")
    )
    share = 100.0 * np.array([part["pairs"] for part in bins])
    share /= max(sum(part["pairs"] for part in bins), 1)
    figure = Figure(figsize=(6.4, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(middle, accuracy, 0.1, color=_ACCURACY, alpha=0.35, edgecolor="white")
    upper.vlines(confidence, confidence, accuracy, color="0.3", linewidth=1)
    upper.plot(
        confidence, accuracy, "o-", color=_ACCURACY, clip_on=False, label="accuracy of the labelled"
    )
    upper.plot((0, 1), (0, 1), "--", color="0.2", label="confidence is the chance to be right")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.legend(loc="upper left", fontsize=9)
    upper.set_title(title, loc="left", fontsize=11)
    lower.bar(middle, share, 0.1, color=_AMOUNT, edgecolor="white")
    lower.set(xlabel="confidence of the pseudo-label", ylabel="percent of\nlabelled pairs")
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
