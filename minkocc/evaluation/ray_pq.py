"""RayPQ: panoptic quality over the rays of RayIoU, each ray a point of a segment.

After SparseOcc's panoptic evaluation; a segment is a class, or one instance of a *thing* class.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from minkocc.evaluation.ray_iou import THRESHOLDS, RayHits
from minkocc.evaluation.voxel_iou import ratio
from minkocc.structures.taxonomy import FREE, NUM_CLASSES, OCC3D

THINGS = OCC3D.ids("things")
MIN_RAYS = 10
"""Unmatched segments of fewer rays are no error."""

IOU_UNIT = 2**32
"""Sums of IoU are kept as integers of this unit, so that no order of adding frames changes them."""


class _Segments(NamedTuple):
    classes: NDArray[np.int64]
    """Of every segment."""
    of_ray: NDArray[np.int64]
    """The segment of every ray."""
    size: NDArray[np.int64]
    """The rays of every segment."""


def connected_instances(
    semantics: NDArray[np.uint8], things: Collection[int] = THINGS
) -> NDArray[np.int32]:
    """Instances where none are given: connected voxels of one thing class, corners included.

    Args:
        semantics: Occ3D ids ``(X, Y, Z)``.
        things: ids of the classes that have instances.

    Returns:
        ``(X, Y, Z)``: 1, 2, ... for things, 0 for everything else.
    """
    out = np.zeros(semantics.shape, np.int32)
    total = 0
    for thing in things:
        members = semantics == thing
        if not members.any():
            continue
        found, count = ndimage.label(members, structure=np.ones((3, 3, 3)))
        out[members] = found[members] + total
        total += count
    return out


def count_segments(
    pred: RayHits,
    target: RayHits,
    pred_instances: NDArray[np.integer[Any]],
    target_instances: NDArray[np.integer[Any]],
    things: Collection[int] = THINGS,
) -> NDArray[np.int64]:
    """True positives, false positives, false negatives and summed IoU.

    Two segments of a class match when the rays that they share, with depths closer than the
    threshold, are more than half of their union.

    Instance ids are any integers of 0 or more, 0 being none. As published, a predicted class of
    stuff is one segment only if all its voxels carry the same id.

    Args:
        pred: what the rays hit in the prediction, those that the label stops.
        target: and in the label.
        pred_instances: ``(X, Y, Z)`` instance ids of the prediction.
        target_instances: of the label; an id shared by several classes counts as none.
        things: ids of the classes that have instances.

    Returns:
        ``(3, 17, 4)``; the last column in units of ``1 / IOU_UNIT``.
    """
    pred_ids = pred_instances.reshape(-1)[pred.voxels]
    target_ids = _own_class_only(target, target_instances.reshape(-1)[target.voxels], things)
    found, truth = _segments(pred.classes, pred_ids), _segments(target.classes, target_ids)
    error = np.abs(pred.depth - target.depth)
    same = pred.classes == target.classes
    return np.stack([_match(found, truth, same & (error < limit)) for limit in THRESHOLDS])


def panoptic_quality(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """PQ at each threshold, ``(3, 17)``; NaN for a class without any segment that counts."""
    right, wrong, missed, iou = np.moveaxis(counts, -1, 0)
    return ratio(iou / IOU_UNIT, right + 0.5 * wrong + 0.5 * missed)


def _own_class_only(
    hits: RayHits, ids: NDArray[np.integer[Any]], things: Collection[int]
) -> NDArray[np.integer[Any]]:
    """Ids of things; 0 for the others and for ids that occur with several classes."""
    known, rank = np.unique(ids, return_inverse=True)
    pairs = np.unique(rank * (FREE + 1) + hits.classes)
    mixed = np.bincount(pairs // (FREE + 1), minlength=len(known)) > 1
    keep = np.isin(hits.classes, list(things)) & ~mixed[rank]
    return np.where(keep, ids, ids.dtype.type(0))


def _segments(classes: NDArray[np.uint8], ids: NDArray[np.integer[Any]]) -> _Segments:
    # Ids may be any integers: their rank takes their place.
    known, rank = np.unique(ids, return_inverse=True)
    names, of_ray, size = np.unique(
        classes.astype(np.int64) * len(known) + rank, return_inverse=True, return_counts=True
    )
    return _Segments(names // len(known), of_ray, size)


def _match(pred: _Segments, target: _Segments, near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(17, 4)`` of one threshold; ``near`` says which rays two segments may share."""
    pairs = target.of_ray[near] * len(pred.size) + pred.of_ray[near]
    shared = np.bincount(pairs, minlength=len(target.size) * len(pred.size))
    shared = shared.reshape(len(target.size), len(pred.size))
    union = target.size[:, None] + pred.size[None] - shared
    matched = 2 * shared > union
    iou = np.rint(shared[matched] * (IOU_UNIT / union[matched])).astype(np.int64)
    out = np.zeros((NUM_CLASSES + 1, 4), np.int64)
    rows = target.classes[np.nonzero(matched)[0]]
    np.add.at(out[:, 0], rows, 1)
    np.add.at(out[:, 3], rows, iou)
    np.add.at(out[:, 1], pred.classes[~matched.any(0) & (pred.size >= MIN_RAYS)], 1)
    np.add.at(out[:, 2], target.classes[~matched.any(1) & (target.size >= MIN_RAYS)], 1)
    return out[:NUM_CLASSES]
