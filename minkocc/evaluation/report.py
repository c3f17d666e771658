"""Figures for people: tables for the terminal, and JSON, Markdown and PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkocc.evaluation.charts import draw_class_bars, draw_confusion, draw_threshold_sweep
from minkocc.evaluation.grouped import groups_of
from minkocc.evaluation.protocols import COUNTED, Summary
from minkocc.evaluation.pruning import LEVEL_FIGURES
from minkocc.files.writing import atomic_write, write_json

_TITLES = {"iou": "IoU", "pq": "PQ"}
_MEANS = {"iou": ("miou", "rayiou"), "pq": ("", "raypq")}
"""What the mean of a summary's per-class figures is called: without and with a depth threshold."""


def figures(summary: Summary) -> dict[str, float | None]:
    """The figures of a summary that are one number each: percent, and means of ``COUNTED``."""
    return {k: v for k, v in summary.items() if v is None or isinstance(v, float)}


@dataclass(frozen=True)
class ClassColumn:
    """One figure a class, and their mean as the protocol takes it."""

    title: str
    values: Mapping[str, float | None]
    mean: float | None
    classes: int
    """How many classes the mean is made of."""


def class_columns(summary: Summary) -> list[ClassColumn]:
    """The figures of a summary that are one number a class."""
    columns = []
    for key, values in summary.items():
        kind, _, variant = key.partition("@" if "@" in key else "_")
        if kind in _MEANS and isinstance(values, dict):
            mean = key.replace(kind, _MEANS[kind]["@" in key], 1)
            title = f"{_TITLES[kind]}{'@' if '@' in key else ' '}{variant}".strip()
            classes = summary["classes_averaged"][mean]
            columns.append(ClassColumn(title, values, summary[mean], classes))
    for name, ring in summary.get("rings", {}).items():
        classes = ring["classes_averaged"]["miou"]
        columns.append(ClassColumn(name, ring["iou"], ring["miou"], classes))
    return columns


def table(summary: Summary) -> str:
    """A summary in Markdown that reads well in a terminal.

    A row a class, then single figures; of ``pruning`` a column for each level of the decoder.
    """
    levels = "levels" in summary
    head = f"protocol {summary['protocol']}, {summary['num_frames']} frames"
    training = [f"{key} {value or 'none'}" for key, value in summary.get("training", {}).items()]
    notes = [
        head if levels else f"{head}, percent",
        f"({summary['rule']})",
        *summary.get("notes", []),
        *(
            f"class {name}: {', '.join(members)}"
            for name, members in summary.get("class_groups", {}).items()
        ),
        *training,
    ]
    blocks = [_level_rows(summary)] if levels else _class_blocks(summary)
    return "\n".join([*notes, *(line for block in blocks for line in ("", *aligned(block)))])


def _class_blocks(summary: Summary) -> list[list[list[str]]]:
    """The tables of classes, of single figures, and of what is counted in voxels."""
    columns = class_columns(summary)
    rows = [["class", *(column.title for column in columns)]]
    rows += [
        [name, *(percent_text(column.values[name]) for column in columns)]
        for name in columns[0].values
    ]
    rows.append(["mean", *(percent_text(column.mean) for column in columns)])
    rows.append(["classes in the mean", *(str(column.classes) for column in columns)])
    averaged, found = summary["classes_averaged"], figures(summary)
    single = [["figure", "percent", "classes"]]
    single += [
        [name, percent_text(value), str(averaged.get(name, ""))]
        for name, value in found.items()
        if name not in COUNTED
    ]
    counted = [[name, f"{found[name]:,.1f}"] for name in COUNTED if name in found]
    return [rows, single, *([[["predicted occupied", "a frame"], *counted]] if counted else [])]


def _level_rows(summary: Summary) -> list[list[str]]:
    levels = summary["levels"]
    rows = [["decoder level, stride", *(str(level["stride"]) for level in levels)]]
    rows.append(["cell, metres", *(f"{level['cell_metres']:g}" for level in levels)])
    for name, unit in LEVEL_FIGURES.items():
        values = [_in_unit(level[name], unit) for level in levels]
        rows.append([f"{name.replace('_', ' ')}, {unit}", *values])
    return rows


def _in_unit(value: float | None, unit: str) -> str:
    if value is None or unit == "percent":
        return percent_text(value)
    return f"{value:g}" if unit == "probability" else f"{value:,.1f}"


def write_report(
    path: str | Path, summaries: Iterable[Summary], context: Mapping[str, Any]
) -> list[Path]:
    """Write ``<name>.json``, ``<name>.md``, and PNGs of class bars and confusion beside it.

    A summary with a ``sweep`` of thresholds is drawn into ``<name>_thresholds.png``.

    Args:
        path: the JSON file.
        summaries: of the protocols.
        context: what else the JSON says: where the figures come from.

    Returns:
        The written files.
    """
    path, summaries = Path(path), list(summaries)
    write_json(path, {**context, **{summary["protocol"]: summary for summary in summaries}})
    written = [path, path.with_suffix(".md")]
    with atomic_write(written[1]) as sink:
        # A file's name may hold what UTF-8 cannot.
        sink.write(_markdown(summaries, context).encode(errors="backslashreplace"))
    for pattern in ("confusion_*", "thresholds"):
        for former in path.parent.glob(f"{path.stem}_{pattern}.png"):
            former.unlink()  # of a run with other protocols
    columns = {s["protocol"]: class_columns(s) for s in summaries}
    bars = {name: {c.title: c.values for c in found} for name, found in columns.items() if found}
    if bars:
        written.append(path.with_name(f"{path.stem}_classes.png"))
        draw_class_bars(bars, written[-1], {s["protocol"]: groups_of(s) for s in summaries})
    for summary in summaries:
        if "sweep" in summary:
            written.append(path.with_name(f"{path.stem}_thresholds.png"))
            draw_threshold_sweep(summary["sweep"], summary["num_frames"], written[-1])
    return written + _draw_confusions(path, summaries)


def _draw_confusions(path: Path, summaries: Iterable[Summary]) -> list[Path]:
    """A picture a matrix; protocols that differ in the mean alone share one."""
    written, drawn = [], []
    for summary in summaries:
        if "confusion" in summary and summary["confusion"] not in drawn:
            drawn.append(summary["confusion"])
            name = f"{path.stem}_confusion_{summary['protocol']}.png"
            written.append(path.with_name(name))
            title = f"{summary['protocol']}, {summary['num_frames']} frames"
            no_class = summary.get("no_class", "free")
            groups = groups_of(summary)
            draw_confusion(summary["confusion"], title, written[-1], no_class, groups=groups)
    return written


def _markdown(summaries: list[Summary], context: Mapping[str, Any]) -> str:
    lines = ["# Evaluation", ""]
    lines += [f"- {key}: {_short(value)}" for key, value in context.items() if value]
    for summary in summaries:
        lines += ["", f"## {summary['protocol']}", "", table(summary)]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 4:
        return f"{', '.join(map(str, value[:3]))}, ... ({len(value)})"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def aligned(rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table with padded cells; the first row is its head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = (
            cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)
        )
        lines.append("| " + " | ".join([first, *others]) + " |")
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return [lines[0], rule, *lines[1:]]


def cell(value: float | None, decimals: int = 2) -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}"


def percent_text(value: float | None) -> str:
    """A figure for a table, two decimals."""
    return "absent" if value is None else f"{value:.2f}"
