"""What each decoder level of a sparse completion reaches, keeps and throws away.

A level's *cell* is a cube of ``stride`` voxels of the model's grid. It is judged by the label's
0.4 m voxels (a cell smaller than one takes that one's label):

* *occupied*: a voxel in it is occupied;
* *visible*: a voxel in it is in ``mask_camera``, so some or all of its children are seen;
* *visible occupied*: a voxel in it is both in ``mask_camera`` and occupied;
* *visible free*: it is visible, and no voxel in it is occupied, seen or not.

A visible cell whose only occupied voxels are unseen is neither of the last two: to keep it is no
mistake, and to drop it loses nothing that is seen. A cell that reaches over the grid's edge is
judged by what lies inside; one that lies outside is neither occupied nor visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.protocols import Counts, Summary, percent
from minkocc.evaluation.voxel_iou import ratio
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

BINS = 100
"""Bins of probability of the histograms of candidates."""

LEVEL_FIGURES = {
    "threshold": "probability",
    "visible_cells": "a frame",
    "visible_reached": "percent",
    "visible_likely": "percent",
    "visible_kept": "percent",
    "occupied_cells": "a frame",
    "occupied_reached": "percent",
    "occupied_likely": "percent",
    "occupied_kept": "percent",
    "precision": "percent",
    "candidates": "a frame",
    "kept_inside": "a frame",
    "kept_outside": "a frame",
    "frames_at_cap": "percent",
    "cut_by_cap": "percent",
}
"""The figures of a level and their units, see ``summarise_pruning``."""

RULE = (
    "cells of each decoder level against the 0.4 m label: of the visible occupied and of all "
    "occupied ones, how many were candidates (reached), had a logit above 0 (likely), were kept; "
    "precision is over the kept visible cells that are visible occupied or free altogether"
)

_OCCUPIED, _VISIBLE, _VISIBLE_OCCUPIED = np.uint8(1), np.uint8(2), np.uint8(4)
_MILLION = 10**6
"""Thresholds are counted in millionths, so that they add up like everything else."""


def judge_cells(
    semantics: NDArray[np.uint8], mask: NDArray[np.bool_], split: int, stride: int
) -> NDArray[np.uint8]:
    """What the label says of every cell of a level.

    Args:
        semantics: ``(X, Y, Z)`` Occ3D ids; 17 and above count as free.
        mask: ``(X, Y, Z)``, the voxels that a camera sees.
        split: how many voxels of the model's grid lie along an edge of a voxel of the label.
        stride: edge of a cell in voxels of the model's grid.

    Returns:
        uint8 ``(ceil(X * split / stride), ...)``: 1 for occupied, plus 2 for visible, plus 4 for
        visible occupied.
    """
    occupied = semantics < FREE
    bits = occupied * _OCCUPIED | mask * _VISIBLE | (occupied & mask) * _VISIBLE_OCCUPIED
    common = math.gcd(split, stride)
    repeats, step = split // common, stride // common
    for axis in range(3):
        if repeats > 1:
            bits = bits.repeat(repeats, axis)
        if step > 1:
            bits = np.bitwise_or.reduceat(bits, np.arange(0, bits.shape[axis], step), axis)
    return bits


def count_level(
    record: LevelRecord, semantics: NDArray[np.uint8], mask: NDArray[np.bool_], grid: VoxelGrid
) -> Counts:
    """The integers of one level in one frame.

    Args:
        record: what the level did.
        semantics: uint8 ``(200, 200, 16)``, the label.
        mask: bool, alike, ``mask_camera``.
        grid: the model's; its range is that of Occ3D, its voxels are 0.4 m or smaller.

    Returns:
        Arrays int64: ``visible_occupied`` and ``occupied`` ``(4,)``: cells in all, reached, with
        a logit above 0, kept. ``judged`` ``(2,)``: kept visible cells, occupied and free.
        ``kept`` ``(2,)``: inside and outside the mask. ``candidates`` ``(1,)``. ``cap`` ``(2,)``:
        1 if the level met it, and the candidates cut. ``histogram`` ``(2, 100)``: visible
        occupied and visible free candidates by probability. ``threshold`` ``(1,)``: millionths.

    Raises:
        ValueError: the label is not on the Occ3D grid, or the model's grid does not fit it.
    """
    for name, array in (("semantics", semantics), ("mask", mask)):
        if array.shape != OCC3D_GRID.shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {OCC3D_GRID.shape}")
    cells = judge_cells(semantics, mask, grid.ratio_to(OCC3D_GRID), record.stride)
    coords, logits = record.coords.cpu().numpy(), record.logits.float().cpu().numpy()
    kept = record.kept.cpu().numpy()
    bits = _look_up(cells, coords // record.stride)
    occupied, visible, both = ((bits & bit) > 0 for bit in (_OCCUPIED, _VISIBLE, _VISIBLE_OCCUPIED))
    free = visible & ~occupied
    steps = (np.ones_like(kept), logits > 0, kept)
    return {
        "visible_occupied": _sums((cells & _VISIBLE_OCCUPIED) > 0, *(s & both for s in steps)),
        "occupied": _sums((cells & _OCCUPIED) > 0, *(s & occupied for s in steps)),
        "judged": _sums(kept & both, kept & free),
        "kept": _sums(kept & visible, kept & ~visible),
        "candidates": np.array([len(coords)], np.int64),
        "cap": np.array([record.cut > 0, record.cut], np.int64),
        "histogram": np.stack([_histogram(logits[both]), _histogram(logits[free])]),
        "threshold": np.array([round(record.threshold * _MILLION)], np.int64),
    }


def count_pruning(
    levels: Sequence[LevelRecord],
    semantics: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    grid: VoxelGrid,
) -> Counts:
    """The integers of all levels of one frame, under ``<stride>/<name>``; see ``count_level``."""
    return {
        f"{record.stride}/{name}": counts
        for record in levels
        for name, counts in count_level(record, semantics, mask, grid).items()
    }


def summarise_pruning(counts: Counts, num_frames: int, voxel_size: float) -> Summary:
    """Figures of every level, coarse to fine, from the sums over frames.

    Of a level: ``threshold``; the ``visible_cells`` (visible occupied) and ``occupied_cells`` of
    a frame, and the percent of each that were ``reached`` (candidates), ``likely`` (logit above
    0) and ``kept``; ``precision``: among the kept cells that are visible occupied or visible
    free, the percent that are the former; the ``candidates`` of a frame, and those kept whose
    cell is visible (``kept_inside``) or not (``kept_outside``); ``frames_at_cap``: the percent of
    the frames in which the level met the cap; ``cut_by_cap``: the percent that the cap took of
    what the threshold would have kept. None stands for what is undefined.

    Args:
        counts: sums of ``count_pruning``.
        num_frames: how many frames they are of.
        voxel_size: of the model's grid, metres.
    """
    return {
        "protocol": "pruning",
        "rule": RULE,
        "num_frames": num_frames,
        "levels": [
            {
                "stride": stride,
                "cell_metres": round(stride * voxel_size, 4),
                **_level_figures(level, num_frames),
            }
            for stride, level in _levels(counts)
        ],
    }


def sweep_thresholds(counts: Counts, num_frames: int) -> list[dict[str, Any]]:
    """Recall, precision and IoU of visible cells as functions of a level's threshold.

    Each level stands alone: its candidates are those that the thresholds in use led to on the
    coarser levels, and the cap is left out. Recall and IoU are of all visible occupied cells, the
    unreached included. A threshold keeps the candidates in its bin of probability and above.

    Args:
        counts: sums of ``count_pruning``.
        num_frames: how many frames they are of.

    Returns:
        For each level, coarse to fine: ``stride``, ``threshold_in_use``, and beside each other
        the lists ``threshold``, ``recall``, ``precision`` and ``iou``, the last three in percent,
        and ``occupied`` and ``free``, the visible candidates of each bin of probability.
    """
    return [
        {
            "stride": stride,
            "threshold_in_use": _threshold(level, num_frames),
            "threshold": [step / BINS for step in range(BINS)],
            **_sweep(level),
        }
        for stride, level in _levels(counts)
    ]


def _sweep(level: Counts) -> dict[str, list[Any]]:
    right, wrong = level["histogram"][:, ::-1].cumsum(1)[:, ::-1]
    wanted = level["visible_occupied"][0]
    curves = {
        "recall": ratio(right, wanted),
        "precision": ratio(right, right + wrong),
        "iou": ratio(right, wanted + wrong),
    }
    return {
        **{name: [percent(value) for value in values] for name, values in curves.items()},
        **{name: row.tolist() for name, row in zip(("occupied", "free"), level["histogram"])},
    }


def _level_figures(level: Counts, num_frames: int) -> dict[str, float | None]:
    right, wrong = level["judged"]
    inside, outside = level["kept"]
    met, cut = level["cap"]
    return {
        "threshold": _threshold(level, num_frames),
        **_reached("visible", level["visible_occupied"], num_frames),
        **_reached("occupied", level["occupied"], num_frames),
        "precision": percent(float(ratio(right, right + wrong))),
        "candidates": _a_frame(level["candidates"][0], num_frames),
        "kept_inside": _a_frame(inside, num_frames),
        "kept_outside": _a_frame(outside, num_frames),
        "frames_at_cap": percent(met / num_frames),
        "cut_by_cap": percent(float(ratio(cut, cut + inside + outside))),
    }


def _reached(name: str, counts: NDArray[np.int64], num_frames: int) -> dict[str, float | None]:
    """How far a kind of cells got: how many there are, and the share that each step left."""
    total, *steps = counts
    shares = {
        f"{name}_{step}": percent(float(ratio(count, total)))
        for step, count in zip(("reached", "likely", "kept"), steps)
    }
    return {f"{name}_cells": _a_frame(total, num_frames), **shares}


def _threshold(level: Counts, num_frames: int) -> float:
    return round(float(level["threshold"][0]) / num_frames / _MILLION, 6)


def _a_frame(count: np.int64, num_frames: int) -> float:
    return round(float(count) / num_frames, 1)


def _levels(counts: Counts) -> list[tuple[int, Counts]]:
    """Stride and counts of each level, coarse to fine."""
    levels: dict[int, Counts] = {}
    for key, values in counts.items():
        stride, _, name = key.partition("/")
        levels.setdefault(int(stride), {})[name] = values
    return sorted(levels.items(), reverse=True)


def _look_up(cells: NDArray[np.uint8], index: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The entries of ``cells`` at ``(V, 3)``, 0 outside."""
    inside = ((index >= 0) & (index < np.array(cells.shape))).all(1)
    bits = np.zeros(len(index), np.uint8)
    bits[inside] = cells[tuple(index[inside].T)]
    return bits


def _histogram(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many logits lie in each bin of probability."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -50.0, 50.0)))
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return np.bincount(bins, minlength=BINS).astype(np.int64)


def _sums(*masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)
