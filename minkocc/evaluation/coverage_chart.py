"""Bars of what 2D labels cover, a row a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from minkocc.evaluation.charts import save_figure
from minkocc.structures.taxonomy import OCC3D, Taxonomy

_NO_LABEL = (0.75, 0.75, 0.75)  # its own colour is the black of no colour

_PANELS: tuple[tuple[str, str, float, Callable[[float], str]], ...] = (
    ("pixel_share", "percent of the pixels", 100.0, "{:.2f}".format),
    ("image_share", "percent of the images that hold it", 100.0, "{:.0f}".format),
    ("mean_confidence", "mean confidence of its pixels", 1.0, "{:.2f}".format),
)
"""Key, axis label, factor and how a figure is written."""


def draw_coverage(
    figures: Mapping[str, Mapping[str, Any]], title: str, path: Path, taxonomy: Taxonomy = OCC3D
) -> None:
    """Draw pixels, images and confidence of every 2D id side by side.

    Args:
        figures: of ``Coverage.figures``.
        title: above them.
        path: the PNG.
        taxonomy: the classes.
    """
    names = list(taxonomy.names_2d.values())
    figure = Figure(figsize=(14, 6.6), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axis, (key, label, factor, text) in zip(panels, _PANELS):
        values = [figures[name][key] for name in names]
        _bars(axis, values, factor, text, taxonomy.palette_2d[list(taxonomy.names_2d)])
        axis.set_xlabel(label)
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].invert_yaxis()
    panels[2].set_xlim(0.0, 1.12)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _bars(
    axis: Axes,
    values: list[float | None],
    factor: float,
    text: Callable[[float], str],
    palette: NDArray[np.uint8],
) -> None:
    lengths = [factor * (value or 0.0) for value in values]
    colours = [_NO_LABEL, *(palette[1:] / 255.0)]
    rows = np.arange(len(values))
    axis.barh(rows, lengths, 0.8, color=colours, edgecolor="0.35", linewidth=0.4)
    for row, (value, length) in enumerate(zip(values, lengths)):
        told = "none" if value is None else text(length)
        axis.annotate(told, (length, row), (3, 0), textcoords="offset points", va="center", size=8)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
