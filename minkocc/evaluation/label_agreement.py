"""How far occupancy labels agree with others of the same keyframes: classes and both masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.protocols import PROTOCOLS, Counts, Frame, Summary
from minkocc.evaluation.report import aligned, cell
from minkocc.evaluation.voxel_iou import percent_of
from minkocc.structures.taxonomy import CLASSES, FREE

MASKS = ("mask_lidar", "mask_camera")
_PROTOCOL = PROTOCOLS["occ3d"]
_PARTS = ("all", "occupied", "free")
"""Of a mask: all its voxels, and those that each label has occupied, or free."""

LabelArrays = dict[str, NDArray[Any]]
"""``voxel_semantics``, ``mask_lidar`` and ``mask_camera``, as ``read_label`` gives them."""


def count_agreement(made: LabelArrays, exact: LabelArrays) -> Counts:
    """Integer counts of one keyframe, to be added up over keyframes.

    Args:
        made: the label that is measured.
        exact: what it is measured against.

    Returns:
        The counts of protocol ``occ3d`` with ``made`` as the prediction, and of each mask
        ``(3, 3)``: voxels in both masks, in the made one, in the exact one, for each of all
        voxels, those that the label at hand has occupied, and those that it has free.
    """
    semantics = made["voxel_semantics"], exact["voxel_semantics"]
    counts = _PROTOCOL.count(Frame(*semantics, exact["mask_camera"]))
    occupied = [array != FREE for array in semantics]
    for name in MASKS:
        rows = []
        for part in _PARTS:
            pair = [label[name] for label in (made, exact)]
            if part != "all":
                pair = [mask & (full == (part == "occupied")) for mask, full in zip(pair, occupied)]
            rows.append([np.count_nonzero(m) for m in (pair[0] & pair[1], *pair)])
        counts[name] = np.array(rows, np.int64)
    return counts


def agreement_figures(counts: Counts, num_frames: int) -> dict[str, Any]:
    """Percent, of added counts.

    Args:
        counts: the sum of ``count_agreement``.
        num_frames: how many keyframes they are of.
    """
    voxels = {key: value for key, value in counts.items() if key not in MASKS}
    masks = {
        name: {part: _overlap(*row) for part, row in zip(_PARTS, counts[name].tolist())}
        for name in MASKS
    }
    return {**_PROTOCOL.summarise(voxels, num_frames), "masks": masks}


def _overlap(both: int, made: int, exact: int) -> dict[str, float | None]:
    return {
        "iou": percent_of(both, made + exact - both),
        "precision": percent_of(both, made),
        "recall": percent_of(both, exact),
    }


def agreement_table(figures: Summary) -> str:
    """The figures in Markdown that reads well in a terminal."""
    head = [
        f"{figures['num_frames']} keyframes, inside the exact mask_camera: "
        f"mIoU {cell(figures['miou'])}, geometric IoU {cell(figures['geometric_iou'])}, "
        f"precision {cell(figures['geometric_precision'])}, "
        f"recall {cell(figures['geometric_recall'])}",
        "",
    ]
    masks = [["percent", "IoU", "precision", "recall"]]
    for name, parts in figures["masks"].items():
        for part, row in parts.items():
            masks.append([f"{name}, {part}", *map(cell, row.values())])
    matrix = np.array(figures["confusion"])
    classes = [["percent", "IoU", "precision", "recall", "missed as free"]]
    for i, name in enumerate(CLASSES):
        row, column = matrix[i].sum(), matrix[:, i].sum()
        shares = (matrix[i, i], column), (matrix[i, i], row), (matrix[i, FREE], row)
        percents = [percent_of(part, whole) for part, whole in shares]
        classes.append([name, cell(figures["iou"][name]), *map(cell, percents)])
    return "\n".join([*head, *aligned(masks), "", *aligned(classes)])
