"""From boxes with masks to one map: every pixel takes the class of its best box."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import UNLABELLED_2D


def fuse(
    masks: Iterable[NDArray[np.bool_]],
    scores: NDArray[np.floating],
    ids: NDArray[np.integer],
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The paper's rule: the label of the highest-scoring box whose mask holds the pixel.

    Args:
        masks: bool ``(H, W)`` of each box, in the order of the scores; one is held at a time.
        scores: ``(n,)`` in [0, 1]; of equal ones the earlier box wins.
        ids: ``(n,)`` 2D ids of the boxes' classes.
        size: ``(H, W)``.

    Returns:
        2D ids and confidence, uint8 ``(H, W)``: the winning score, 255 = 1.0, at least 1 where
        there is a label and 0 where there is none.
    """
    labels = np.full(size, UNLABELLED_2D, np.uint8)
    best = np.full(size, -1.0, np.float32)
    for mask, score, number in zip(masks, scores, ids, strict=True):
        better = mask & (best < np.float32(score))
        labels[better] = number
        best[better] = score
    return labels, as_confidence(best, labels)


def as_confidence(
    probability: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Probabilities as bytes, 255 = 1.0; at least 1 where there is a label, else 0.

    Args:
        probability: any shape.
        labels: 2D ids, same shape.
    """
    rounded = np.clip(np.rint(probability * 255.0), 1, 255).astype(np.uint8)
    return np.where(labels == UNLABELLED_2D, 0, rounded).astype(np.uint8)
