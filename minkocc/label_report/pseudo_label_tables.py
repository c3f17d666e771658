"""The figures of pseudo-labels for people: tables by class, distance, camera and confidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minkocc.evaluation.report import aligned

Row = list[str]

_ABSENT = "-"
_NAMED = 3  # frames that are named in the terminal; the report names all
_SHARES = {"labelled": "labelled", "accuracy": "accuracy of the labelled"}
_MEAN = "mean of the classes"


def pseudo_label_tables(figures: Mapping[str, Any]) -> str:
    """Markdown tables of what ``pseudo_label_section`` found."""
    lines = ["2D pseudo-labels against lidarseg", f"({figures['counted']})", *_frames(figures)]
    for title, rows in _tables(figures):
        lines += ["", title, "", *aligned(rows)]
    return "\n".join(lines)


def _frames(figures: Mapping[str, Any]) -> Iterator[str]:
    yield f"{figures['frames_counted']} keyframes, {figures['pairs']:,} pairs"
    for what in ("lidarseg", "pseudo_labels"):
        tokens = figures[f"frames_without_{what}"]
        if tokens:
            more = ", ..." if len(tokens) > _NAMED else ""
            named = ", ".join(tokens[:_NAMED])
            words = what.replace("_", "-")
            yield f"left out, without {words}: {len(tokens)} keyframes ({named}{more})"
    hidden = figures["hidden"]
    yield (
        f"left out, behind a nearer return: {hidden['pairs']:,} pairs, of whose labelled "
        f"{_percent(hidden['accuracy'])} percent are right"
    )


def _tables(figures: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "By class, percent", list(_class_rows(figures))
    yield "By distance, percent", _share_rows("distance", figures["rings"])
    yield "By camera, percent", _share_rows("camera", figures["cameras"])
    error = figures["confidence"]["expected_calibration_error"]
    yield (
        f"By confidence, expected calibration error {_ABSENT if error is None else f'{error:.4f}'}",
        list(_bin_rows(figures["confidence"]["bins"])),
    )


def _class_rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    yield ["class", "pairs", *_SHARES.values(), "IoU", "called sky", "most often taken for"]
    for name, row in figures["classes"].items():
        other = row["confused_with"]
        confused = f"{other} {_percent(row['confused_share'])}" if other else _ABSENT
        yield [*_cells(name, row), _percent(row["iou"]), _percent(row["called_sky"]), confused]
    yield [
        *_cells("all, IoU: mean", figures),
        _percent(figures["miou"]),
        _percent(figures["called_sky"]),
        _ABSENT,
    ]


def _share_rows(name: str, rows: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    head = [name, "pairs", *_SHARES.values(), _MEAN]
    return [head, *([*_cells(k, row), _percent(row["class_accuracy"])] for k, row in rows.items())]


def _bin_rows(bins: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    yield ["confidence", "labelled pairs", "mean confidence", "accuracy, percent"]
    for part in bins:
        mean = part["mean_confidence"]
        yield [
            f"{part['from']:.1f}-{part['to']:.1f}",
            f"{part['pairs']:,}",
            _ABSENT if mean is None else f"{mean:.3f}",
            _percent(part["accuracy"]),
        ]


def _cells(title: str, row: Mapping[str, Any]) -> Row:
    return [title, f"{row['pairs']:,}", *(_percent(row[key]) for key in _SHARES)]


def _percent(share: float | None) -> str:
    return _ABSENT if share is None else f"{100 * share:.2f}"
