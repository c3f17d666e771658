"""How right 2D pseudo-labels are where LiDAR returns of known class fall into the images.

What is counted is a pair of a return and a pixel that shows it. Counts are integers, so that
frames add up to the same figures in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.evaluation.voxel_iou import class_iou, ratio
from minkocc.structures.taxonomy import (
    CAMERAS,
    CLASSES,
    NUM_CLASSES,
    NUM_IDS_2D,
    SKY_2D,
    UNLABELLED_2D,
    to_2d,
)

RINGS = ("0-10 m", "10-20 m", "20-30 m", "30-40 m", "over 40 m")
"""By the horizontal distance of a return from the ego frame's origin."""

BINS = 10
"""Bins of the confidence, each a tenth wide; the last one holds 1.0 too."""

_RING_EDGES = (10.0, 20.0, 30.0, 40.0)
_BYTE = 255  # the confidence 1.0
_CLASSES_2D = slice(UNLABELLED_2D + 1, SKY_2D)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Returns beside the pixels that show them, each ``(M,)``."""

    camera: NDArray[np.integer[Any]]
    """Place in ``CAMERAS``."""
    distance: NDArray[np.floating[Any]]
    """Horizontal, from the ego frame's origin, metres."""
    truth: NDArray[np.uint8]
    """The return's 3D id."""
    label: NDArray[np.uint8]
    """The pixel's 2D id."""
    confidence: NDArray[np.uint8]
    """The pixel's, 255 = 1.0."""

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """The pairs that are kept, ``(M,)`` bool."""
        return Pairs(
            self.camera[kept],
            self.distance[kept],
            self.truth[kept],
            self.label[kept],
            self.confidence[kept],
        )


@dataclass(frozen=True)
class PairCounts:
    """Histograms of pairs; they add up."""

    pairs: Counts
    """``(6, 5, 17, 19)``: by camera, ring, class of the return and 2D id of the pixel."""
    confidence: Counts
    """``(256, 2)``: labelled pairs by the pixel's confidence, wrong and right."""
    hidden: Counts
    """``(3,)``: pairs left out because the camera does not see the return; of these the labelled
    ones, and of these the right ones."""

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(
            self.pairs + other.pairs,
            self.confidence + other.confidence,
            self.hidden + other.hidden,
        )


def no_pairs() -> PairCounts:
    """The counts of nothing."""
    shape = (len(CAMERAS), len(RINGS), NUM_CLASSES, NUM_IDS_2D)
    return PairCounts(
        np.zeros(shape, np.int64), np.zeros((_BYTE + 1, 2), np.int64), np.zeros(3, np.int64)
    )


def count_pairs(pairs: Pairs, seen: NDArray[np.bool_]) -> PairCounts:
    """The counts of one frame.

    Args:
        pairs: all of it.
        seen: ``(M,)``, those whose return the camera sees; the others are in ``hidden`` alone.

    Raises:
        ValueError: a class or a 2D id does not exist.
    """
    if len(seen) and (pairs.truth.max() >= NUM_CLASSES or pairs.label.max() >= NUM_IDS_2D):
        raise ValueError(
            f"classes up to {pairs.truth.max()} and 2D ids up to {pairs.label.max()}: expected "
            f"0..{NUM_CLASSES - 1} and 0..{NUM_IDS_2D - 1}"
        )
    counted = pairs.where(seen)
    empty = no_pairs()
    ring = np.searchsorted(_RING_EDGES, counted.distance, side="right")
    place = np.ravel_multi_index(
        (counted.camera, ring, counted.truth, counted.label), empty.pairs.shape
    )
    labelled, right = _judged(counted)
    score = counted.confidence[labelled].astype(np.int64) * 2 + right[labelled]
    hidden = _judged(pairs.where(~seen))
    return PairCounts(
        _histogram(place, empty.pairs.shape),
        _histogram(score, empty.confidence.shape),
        np.array([hidden[0].size, hidden[0].sum(), hidden[1].sum()], np.int64),
    )


def merge(counts: Iterable[PairCounts]) -> PairCounts:
    """The sum."""
    return sum(counts, no_pairs())


def accuracy_figures(counts: PairCounts) -> dict[str, Any]:
    """What the counts say, JSON-ready; shares are 0..1, None where nothing was counted.

    ``labelled`` is the share of the pairs whose pixel has one of the 17 classes, ``accuracy`` the
    share of the labelled that have the right one, ``class_accuracy`` the mean of that over the
    classes, which does not change with how common they are, and a class's ``iou`` counts what is
    unlabelled or called sky as missed.
    """
    by_class = counts.pairs.sum((0, 1))
    confusion = _confusion(by_class)
    iou = class_iou(confusion)
    classes = {name: _class_figures(by_class[i], i, iou[i]) for i, name in enumerate(CLASSES)}
    present = iou[~np.isnan(iou)]
    return {
        **_figures_of(by_class),
        "called_sky": _number(ratio(by_class[:, SKY_2D].sum(), by_class.sum())),
        "miou": _mean(present),
        "classes_in_miou": int(present.size),
        "hidden": _shares(*counts.hidden),
        "classes": classes,
        "rings": dict(zip(RINGS, map(_figures_of, counts.pairs.sum(0)))),
        "cameras": dict(zip(CAMERAS, map(_figures_of, counts.pairs))),
        "confidence": calibration(counts.confidence),
        "confusion": confusion.tolist(),
    }


def calibration(confidence: Counts) -> dict[str, Any]:
    """How far confidence is the chance to be right.

    Args:
        confidence: of ``PairCounts``.

    Returns:
        ``bins``, and the expected calibration error: the mean over the labelled pairs of the gap
        between their bin's accuracy and its mean confidence (Guo et al., "On Calibration of Modern
        Neural Networks", 2017, Eq. 3).
    """
    level = np.arange(_BYTE + 1)
    bin_of = np.minimum(level * BINS // _BYTE, BINS - 1)
    pairs, right = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    total = np.zeros(BINS, np.int64)
    np.add.at(pairs, bin_of, confidence.sum(1))
    np.add.at(right, bin_of, confidence[:, 1])
    np.add.at(total, bin_of, confidence.sum(1) * level)
    accuracy, mean = ratio(right, pairs), ratio(total, pairs * _BYTE)
    gap = np.abs(right - total / _BYTE).sum()
    return {
        "expected_calibration_error": _number(ratio(gap, pairs.sum())),
        "mean_confidence": _number(ratio(total.sum(), pairs.sum() * _BYTE)),
        "bins": [
            {
                "from": i / BINS,
                "to": (i + 1) / BINS,
                "pairs": int(pairs[i]),
                "mean_confidence": _number(mean[i]),
                "accuracy": _number(accuracy[i]),
            }
            for i in range(BINS)
        ],
    }


def _judged(pairs: Pairs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pairs are labelled with one of the 17 classes, and which of them rightly."""
    labelled = (pairs.label != UNLABELLED_2D) & (pairs.label != SKY_2D)
    return labelled, pairs.label == to_2d(pairs.truth)


def _histogram(place: NDArray[np.integer[Any]], shape: tuple[int, ...]) -> Counts:
    counts = np.bincount(place, minlength=int(np.prod(shape)))
    return counts.reshape(shape).astype(np.int64)


def _confusion(by_class: Counts) -> Counts:
    """``(18, 18)``, rows = class of the return; the last column is unlabelled or sky."""
    confusion = np.zeros((NUM_CLASSES + 1, NUM_CLASSES + 1), np.int64)
    confusion[:NUM_CLASSES, :NUM_CLASSES] = by_class[:, _CLASSES_2D]
    confusion[:NUM_CLASSES, NUM_CLASSES] = by_class[:, UNLABELLED_2D] + by_class[:, SKY_2D]
    return confusion


def _figures_of(counts: Counts) -> dict[str, Any]:
    """The shares of counts ``(..., 17, 19)``, over all pairs and as the mean of the classes."""
    by_class = counts.reshape(-1, NUM_CLASSES, NUM_IDS_2D).sum(0)
    labelled = by_class[:, _CLASSES_2D]
    accuracy = ratio(np.diag(labelled), labelled.sum(1))
    return {
        **_shares(by_class.sum(), labelled.sum(), np.trace(labelled)),
        "class_accuracy": _mean(accuracy[~np.isnan(accuracy)]),
    }


def _class_figures(row: Counts, number: int, iou: np.float64) -> dict[str, Any]:
    """The figures of a class's row of 2D ids, ``(19,)``, and what it is most often taken for."""
    labelled = row[_CLASSES_2D]
    wrong = labelled.copy()
    wrong[number] = 0
    most = int(wrong.argmax())
    confused = bool(wrong[most])
    return {
        **_shares(row.sum(), labelled.sum(), labelled[number]),
        "called_sky": _number(ratio(row[SKY_2D], row.sum())),
        "iou": _number(iou),
        "confused_with": CLASSES[most] if confused else None,
        "confused_share": _number(ratio(wrong[most], labelled.sum())) if confused else None,
    }


def _shares(pairs: np.int64, labelled: np.int64, right: np.int64) -> dict[str, Any]:
    return {
        "pairs": int(pairs),
        "labelled": _number(ratio(labelled, pairs)),
        "accuracy": _number(ratio(right, labelled)),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return _number(ratio(values.sum(), values.size))


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
