"""Pictures of figures: bars of each class, the confusion matrix, curves over thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minkocc.files.writing import atomic_write
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.taxonomy import FREE

ClassFigures = Mapping[str, float | None]

_CURVES = {"recall": "#0072b2", "precision": "#d55e00", "iou": "#009e73"}


def draw_class_bars(
    protocols: Mapping[str, Mapping[str, ClassFigures]],
    path: Path,
    groups: Mapping[str, ClassGroups] | None = None,
) -> None:
    """A row of bars for each protocol: one group a class, one bar a column of its table.

    Args:
        protocols: the columns of each protocol's table, by title.
        path: the PNG.
        groups: the classes of protocols where they are not Occ3D's.
    """
    figure = Figure(figsize=(14, 3.2 * len(protocols) + 1.0), layout="constrained")
    axes = figure.subplots(len(protocols), 1, squeeze=False)[:, 0]
    for axis, (name, columns) in zip(axes, protocols.items()):
        class_bars(axis, columns, (groups or {}).get(name, OCC3D_CLASSES))
        axis.set_title(f"protocol {name}", loc="left", fontsize=11)
    save_figure(figure, path)


def draw_confusion(
    matrix: Sequence[Sequence[int]],
    title: str,
    path: Path,
    no_class: str = "free",
    sides: tuple[str, str] = ("label", "prediction"),
    groups: ClassGroups = OCC3D_CLASSES,
) -> None:
    """The confusion matrix, each row in percent of its class in the label.

    Args:
        matrix: ``(18, 18)`` counts, rows = label; ``(17, 18)`` where no label is ``no_class``.
        title: above it.
        path: the PNG.
        no_class: what the last row and column stand for.
        sides: what rows and columns are.
        groups: the classes, whose ids are counted.
    """
    counts = np.asarray(matrix, np.float64)
    shown = [*groups.ids, FREE]
    counts = counts[[row for row in shown if row < len(counts)]][:, shown]
    share = 100.0 * counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
    right = np.diag(counts)
    either = counts.sum(0)[: len(counts)] + counts.sum(1) - right
    iou = 100.0 * right / np.maximum(either, 1.0)
    names = [*groups.names, no_class]
    figure = Figure(figsize=(11, 9.5), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(share, cmap="Blues", vmin=0.0, vmax=100.0)
    axis.set_xticks(range(len(names)), _spaced(names), rotation=45, ha="right")
    rows = [
        f"{name}  {count:,.0f}  IoU {value:.0f}" if count else f"{name}  absent"
        for name, count, value in zip(_spaced(names), counts.sum(1), iou)
    ]
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xlabel(sides[1])
    axis.set_ylabel(f"{sides[0]}, how often it occurs, and its IoU in percent")
    axis.set_title(title)
    for row, column in np.argwhere(share >= 0.5):
        value = share[row, column]
        colour = "white" if value > 55 else "black"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(picture, ax=axis, label="percent of the row", shrink=0.8)
    save_figure(figure, path)


def draw_threshold_sweep(levels: Sequence[Mapping[str, Any]], num_frames: int, path: Path) -> None:
    """A panel for each decoder level: recall, precision and IoU against its threshold.

    Args:
        levels: what ``pruning.sweep_thresholds`` gave.
        num_frames: how many frames they are of.
        path: the PNG.
    """
    figure = Figure(figsize=(4.2 * len(levels) + 0.6, 4.6), layout="constrained")
    panels = figure.subplots(1, len(levels), squeeze=False, sharey=True)[0]
    for axis, level in zip(panels, levels):
        for name, colour in _CURVES.items():
            values = [np.nan if value is None else value for value in level[name]]
            axis.plot(
                level["threshold"], values, color=colour, label="IoU" if name == "iou" else name
            )
        used = level["threshold_in_use"]
        axis.axvline(used, color="0.2", linestyle="--", label="threshold in use")
        axis.set_title(f"stride {level['stride']}, {used:g} in use", fontsize=11)
        axis.set_xlabel("threshold of the occupancy probability")
        axis.set_xlim(0.0, 1.0)
        axis.set_ylim(0.0, 102.0)
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("percent of visible cells")
    panels[0].legend(loc="lower left", fontsize=9)
    figure.suptitle(
        f"Diagnosis of {num_frames} test frames: no threshold is changed. Thresholds are "
        "calibrated on training frames.\nEach level over the candidates that the thresholds in "
        "use led to on the coarser levels, without the cap.",
        fontsize=10,
    )
    save_figure(figure, path)


def class_bars(
    axis: Axes, columns: Mapping[str, ClassFigures], groups: ClassGroups = OCC3D_CLASSES
) -> None:
    """Draw a group of bars for each class, one bar a column, percent."""
    names = groups.names
    colours = groups.taxonomy.palette[list(groups.ids)] / 255.0
    width = 0.84 / max(len(columns), 1)
    for number, values in enumerate(columns.values()):
        place = np.arange(len(names)) + (number - (len(columns) - 1) / 2) * width
        heights = [values[name] or 0.0 for name in names]
        shade = 1.0 - 0.7 * number / max(len(columns) - 1, 1)
        faded = [(*colour, shade) for colour in colours]
        axis.bar(place, heights, width, color=faded, edgecolor="0.35", linewidth=0.4)
        for x, name, height in zip(place, names, heights):
            text = "absent" if values[name] is None else f"{height:.0f}"
            if number == 0 or (len(columns) <= 4 and values[name] is not None):
                axis.annotate(
                    text, (x, height), (0, 2), textcoords="offset points", ha="center", fontsize=6,
                    rotation=90 if text == "absent" else 0,
                )  # fmt: skip
    axis.set_xticks(range(len(names)), _spaced(names), rotation=20, ha="right", fontsize=8)
    axis.set_ylabel("percent")
    axis.set_ylim(0, max(10.0, axis.get_ylim()[1] * 1.12))
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("bars from left to right: " + ", ".join(columns), fontsize=8)


def _spaced(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_write(path) as sink:
        figure.savefig(sink, format="png", dpi=110)
