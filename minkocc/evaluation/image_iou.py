"""2D mIoU of rendered semantics against pseudo-labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.protocols import Counts, Summary, by_class, count_defined, mean_of, percent
from minkocc.evaluation.voxel_iou import class_iou, confusion_matrix
from minkocc.structures.taxonomy import FREE, SKY_2D, UNLABELLED_2D


def count_pixels(pred: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs of (pseudo-label, rendered) over the labelled pixels that are not sky.

    Args:
        pred: 2D ids, any shape; 0 where nothing is rendered, which is wrong in every class.
        target: 2D ids of the pseudo-label, the same shape.

    Returns:
        int64 ``(18, 18)`` by 3D id, the last for nothing.
    """
    return confusion_matrix(
        _as_3d(pred), _as_3d(target), (target != UNLABELLED_2D) & (target != SKY_2D)
    )


def summarise_images(counts: Counts, num_frames: int) -> Summary:
    """The 2D mIoU of each path, in percent.

    Args:
        counts: a ``count_pixels`` sum for each path's name, the first one being the headline.
        num_frames: of six images each.
    """
    iou = {path: class_iou(matrix) for path, matrix in counts.items()}
    summary: dict[str, Any] = {
        "protocol": "rendered2d",
        "rule": "pixels at render resolution with a pseudo-label that is not sky; mean over the "
        "classes of the pseudo-labels",
    }
    for path, values in iou.items():
        summary[f"miou_{path}"] = percent(mean_of(values))
    for path, values in iou.items():
        summary[f"iou_{path}"] = by_class(values)
    first = next(iter(counts))
    return {
        **summary,
        "num_frames": num_frames,
        "num_pixels": int(counts[first].sum()),
        "classes_averaged": {f"miou_{path}": count_defined(v) for path, v in iou.items()},
        "confusion": counts[first].tolist(),
        "no_class": "nothing",
    }


def _as_3d(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where((ids == UNLABELLED_2D) | (ids == SKY_2D), FREE, ids - 1).astype(np.uint8)
