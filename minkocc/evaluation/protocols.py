"""Named protocols: which voxels and classes a number is made of. Printed with every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.voxel_iou import class_iou, geometric_iou
from minkocc.structures.taxonomy import CLASSES


@dataclass(frozen=True)
class VoxelProtocol:
    """A voxel-IoU protocol.

    Args:
        name: what is printed.
        excluded: class ids left out of the mean.
    """

    name: str
    excluded: tuple[int, ...] = ()


VOXEL_PROTOCOLS = {
    "occ3d": VoxelProtocol("occ3d"),
    "selfsup15": VoxelProtocol("selfsup15", excluded=(0, 12)),
}
"""``occ3d``: voxels in mask_camera, mean over the classes present among 0..16.
``selfsup15``: the same without *others* and *other_flat* (the note under the paper's Table I)."""


def summarise(
    confusion: NDArray[np.int64], num_frames: int, protocol: VoxelProtocol
) -> dict[str, Any]:
    """A protocol's figures in percent, None for what is undefined.

    Args:
        confusion: int64 ``(18, 18)``, rows = target, over all frames.
        num_frames: how many frames were counted.
        protocol: which classes are averaged.
    """
    iou = class_iou(confusion)
    averaged = [i for i in range(len(CLASSES)) if i not in protocol.excluded and iou[i] == iou[i]]
    return {
        "protocol": protocol.name,
        "miou": _percent(float(np.mean(iou[averaged])) if averaged else float("nan")),
        "geometric_iou": _percent(geometric_iou(confusion)),
        "iou": {name: _percent(float(value)) for name, value in zip(CLASSES, iou)},
        "num_frames": num_frames,
        "classes_averaged": len(averaged),
    }


def table(summary: dict[str, Any]) -> str:
    """A summary as a table for the terminal."""
    rows = [(name, _text(value)) for name, value in summary["iou"].items()]
    rows += [
        (f"mIoU ({summary['classes_averaged']} classes)", _text(summary["miou"])),
        ("geometric IoU", _text(summary["geometric_iou"])),
    ]
    width = max(len(name) for name, _ in rows)
    line = "-" * (width + 10)
    head = f"protocol {summary['protocol']}, {summary['num_frames']} frames, IoU in percent"
    for key in ("train_mask", "image_pretrained"):
        if key in summary:
            head += f"\n{key} {summary[key] or 'none'}"
    body = [f"{name:<{width}}  {value:>8}" for name, value in rows]
    body.insert(len(summary["iou"]), line)
    return "\n".join([head, line, *body])


def _percent(value: float) -> float | None:
    return round(100.0 * value, 4) if value == value else None


def _text(value: float | None) -> str:
    return "absent" if value is None else f"{value:.2f}"
