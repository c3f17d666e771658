"""What the colours on the page mean, as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minkocc.apis.view.frames import Volume
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.taxonomy import FREE
from minkocc.visualization.errors import NAMES
from minkocc.visualization.errors import PALETTE as ERROR_PALETTE


class Entry(NamedTuple):
    """A colour and its meaning."""

    number: int
    """The voxels that have it."""
    name: str
    colour: tuple[int, int, int]


def class_entries(groups: ClassGroups) -> list[Entry]:
    """The classes of a network, in the order of their ids."""
    colours = groups.taxonomy.palette
    return [Entry(i, name, _rgb(colours[i])) for name, i in zip(groups.names, groups.ids)]


def error_entries(volume: Volume) -> list[Entry]:
    """The four kinds of ``visualization.errors`` with their numbers of voxels."""
    counts = np.bincount(volume.semantics.ravel(), minlength=FREE + 1)
    return [
        Entry(kind, f"{name} {counts[kind]:,}", _rgb(ERROR_PALETTE[kind]))
        for kind, name in enumerate(NAMES)
    ]


def volume_entries(volume: Volume, groups: ClassGroups) -> list[Entry]:
    """What the ids of a volume are."""
    if volume.kind == "weak":
        (number,) = {int(v) for v in np.unique(volume.semantics) if v < FREE} or {0}
        return [Entry(number, "occupied", _rgb(groups.taxonomy.palette[number]))]
    if volume.kind == "error":
        return [Entry(kind, name, _rgb(ERROR_PALETTE[kind])) for kind, name in enumerate(NAMES)]
    return class_entries(groups)


def swatches(entries: Iterable[Entry], columns: int = 1) -> str:
    """Names beside their colours."""
    style = (
        f"display:grid;grid-template-columns:repeat({columns},auto);gap:2px 12px;"
        "padding:4px 12px;font:13px sans-serif"
    )
    square = "display:inline-block;width:12px;height:12px;margin-right:6px;border:1px solid #777"
    rows = "".join(
        f'<div><span style="{square};background:rgb{entry.colour}"></span>'
        f"{html.escape(entry.name)}</div>"
        for entry in entries
    )
    return f'<div style="{style}">{rows}</div>'


def caption(title: str, entries: Sequence[Entry]) -> str:
    """A box in the corner of an exported page: its title and the legend."""
    style = (
        "position:fixed;left:10px;top:10px;z-index:5;background:rgba(255,255,255,0.9);color:#111;"
        "border:1px solid #bbb;border-radius:4px;pointer-events:none"
    )
    head = f'<div style="padding:6px 12px 0;font:bold 13px sans-serif">{html.escape(title)}</div>'
    return f'<div id="legend" style="{style}">{head}{swatches(entries)}</div>'


def _rgb(colour: Iterable[int]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue
