"""Named protocols: which voxels, rays and classes a figure is made of. Printed with every figure.

A protocol counts one frame at a time, in integers that add up in any order, and summarises the
sums. Everything that reports a figure goes through here: ``tools/evaluate.py``, ``tools/test.py``
and the demo.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minkocc.evaluation.ray_iou import THRESHOLDS, RayHits, count_rays, hits_of_frame, ray_iou
from minkocc.evaluation.ray_pq import (
    connected_instances,
    count_segments,
    panoptic_quality,
)
from minkocc.evaluation.voxel_iou import (
    RINGS,
    class_iou,
    confusion_matrix,
    geometric_iou,
    geometric_precision,
    geometric_recall,
    ring_of_voxels,
)
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.taxonomy import CLASSES, FREE
from minkocc.structures.voxel_grid import OCC3D_GRID

Counts = dict[str, NDArray[np.int64]]
Summary = dict[str, Any]

COUNTED = ("voxels_inside", "voxels_outside")
"""The figures of a summary that are means of counts a frame, where all others are percent."""

_RINGS = ring_of_voxels(OCC3D_GRID)


@dataclass(frozen=True)
class Frame:
    """A prediction beside its label, on the Occ3D grid."""

    pred: NDArray[np.uint8]
    """``(200, 200, 16)`` Occ3D ids."""
    semantics: NDArray[np.uint8]
    """The label, alike."""
    mask_camera: NDArray[np.bool_]
    """Voxels that a camera sees."""
    ray_origins: NDArray[np.float64] | None = None
    """``(T, 3)``: the LiDAR at all keyframes of the scene, in this frame's ego frame, metres."""
    pred_instances: NDArray[np.integer[Any]] | None = None
    """``(200, 200, 16)``; None takes connected voxels of a class for an instance."""
    instances: NDArray[np.integer[Any]] | None = None
    """Of the label, alike."""
    device: torch.device | None = None
    """Where rays are cast; None or a CPU uses numba."""
    groups: ClassGroups = OCC3D_CLASSES
    """Whose ids prediction and label hold."""

    @cached_property
    def hits(self) -> tuple[RayHits, RayHits]:
        """What the frame's rays hit in prediction and label, cast once for all protocols.

        Raises:
            ValueError: the frame has no ray origins.
        """
        if self.ray_origins is None:
            raise ValueError("this protocol needs the frame's ray origins")
        return hits_of_frame(self.pred, self.semantics, self.ray_origins, self.device)


class Protocol(ABC):
    """How a figure is made.

    Args:
        name: what is printed.
        rule: the same in words.
    """

    needs_origins = False
    """Whether frames without ray origins are refused."""

    def __init__(self, name: str, rule: str) -> None:
        self.name = name
        self.rule = rule

    @abstractmethod
    def count(self, frame: Frame) -> Counts:
        """Integers of one frame."""

    @abstractmethod
    def summarise(
        self, counts: Counts, num_frames: int, groups: ClassGroups = OCC3D_CLASSES
    ) -> Summary:
        """Figures from the sums over frames, in percent but for those of ``COUNTED``.

        A group of classes is left out where all of its classes are, and moves where all do.

        None stands for what is undefined.
        ``classes_averaged`` says of every mean how many classes it is made of.
        """


class VoxelProtocol(Protocol):
    """IoU over the voxels in ``mask_camera``.

    Args:
        name: what is printed.
        rule: the same in words.
        excluded: names of classes that are left out of the means, where a taxonomy has them.
    """

    def __init__(self, name: str, rule: str, excluded: tuple[str, ...] = ()) -> None:
        super().__init__(name, rule)
        self.excluded = excluded

    def count(self, frame: Frame) -> Counts:
        """``confusion``, ``(3, 18, 18)``, one matrix a ring; ``predicted_outside``, ``(1,)``.

        The latter are the voxels predicted occupied outside the mask: no figure of the confusion
        knows them.
        """
        matrix = confusion_matrix(frame.pred, frame.semantics, frame.mask_camera, _RINGS)
        outside = np.count_nonzero(frame.pred[~frame.mask_camera] < FREE)
        return {"confusion": matrix, "predicted_outside": np.array([outside], np.int64)}

    def summarise(
        self, counts: Counts, num_frames: int, groups: ClassGroups = OCC3D_CLASSES
    ) -> Summary:
        """mIoU, geometric IoU, precision and recall, mIoU of dynamic classes, per class and ring.

        With ``predicted_outside`` also how many voxels are predicted occupied in a frame, inside
        the mask and outside of it: means, not percent.
        """
        whole = counts["confusion"].sum(0)
        taxonomy = groups.taxonomy
        left_out = groups.within([i for i, n in enumerate(taxonomy.classes) if n in self.excluded])
        averaged = [i for i in range(len(CLASSES)) if i not in left_out]
        dynamic = list(groups.within(taxonomy.ids("moving")))
        iou = class_iou(whole)
        return {
            "protocol": self.name,
            "rule": self.rule,
            "miou": percent(mean_of(iou[averaged])),
            **_geometry(whole),
            "miou_dynamic": percent(mean_of(iou[dynamic])),
            **_predicted_a_frame(counts, num_frames),
            "iou": by_class(iou),
            "rings": {
                name: self._of_ring(matrix, averaged)
                for name, matrix in zip(RINGS, counts["confusion"])
            },
            "num_frames": num_frames,
            "num_voxels": int(whole.sum()),
            "classes_averaged": {
                "miou": count_defined(iou[averaged]),
                "miou_dynamic": count_defined(iou[dynamic]),
            },
            "confusion": whole.tolist(),
        }

    @staticmethod
    def _of_ring(matrix: NDArray[np.int64], averaged: list[int]) -> Summary:
        iou = class_iou(matrix)
        return {
            "miou": percent(mean_of(iou[averaged])),
            **_geometry(matrix),
            "iou": by_class(iou),
            "classes_averaged": {"miou": count_defined(iou[averaged])},
        }


class RayProtocol(Protocol):
    """RayIoU at 1, 2 and 4 m."""

    needs_origins = True

    def count(self, frame: Frame) -> Counts:
        """``rays``, ``(5, 17)``, see ``count_rays``."""
        return {"rays": count_rays(*frame.hits)}

    def summarise(
        self, counts: Counts, num_frames: int, groups: ClassGroups = OCC3D_CLASSES
    ) -> Summary:
        """RayIoU, its mean over the thresholds, and per class."""
        iou = ray_iou(counts["rays"])
        return {
            "protocol": self.name,
            "rule": self.rule,
            **_by_threshold("rayiou", "iou", iou),
            "num_frames": num_frames,
            "num_rays": int(counts["rays"][0].sum()),
        }


class RayPQProtocol(Protocol):
    """RayPQ at 1, 2 and 4 m."""

    needs_origins = True

    def count(self, frame: Frame) -> Counts:
        """``segments``, ``(3, 17, 4)``, and how many frames gave instances: prediction, label."""
        pred, target = frame.hits
        given = [frame.pred_instances is not None, frame.instances is not None]
        things = frame.groups.within(frame.groups.taxonomy.ids("things"))
        pred_ids, target_ids = (
            connected_instances(semantics, things) if ids is None else ids
            for semantics, ids in (
                (frame.pred, frame.pred_instances),
                (frame.semantics, frame.instances),
            )
        )
        return {
            "segments": count_segments(pred, target, pred_ids, target_ids, things),
            "instances_given": np.array(given, np.int64),
        }

    def summarise(
        self, counts: Counts, num_frames: int, groups: ClassGroups = OCC3D_CLASSES
    ) -> Summary:
        """RayPQ, its mean over the thresholds, and per class."""
        quality = panoptic_quality(counts["segments"])
        given = dict(zip(("prediction", "label"), counts["instances_given"].tolist()))
        return {
            "protocol": self.name,
            "rule": self.rule,
            **_by_threshold("raypq", "pq", quality),
            "num_frames": num_frames,
            "frames_with_instance_ids": given,
            "notes": [
                f"instance ids are given in {given['prediction']} of {num_frames} predictions and "
                f"{given['label']} of {num_frames} labels; elsewhere connected voxels of a class "
                "stand for an instance"
            ],
        }


class PaperRepoProtocol(Protocol):
    """What the public code named after the paper computes: predicting the unseen is wrong."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(name, rule)
        self._parts = (_AllVoxels(name, rule), RayProtocol(name, rule))

    def count(self, frame: Frame) -> Counts:
        """Those of both parts; without ray origins those of voxels alone."""
        voxels, rays = self._parts
        target = np.where(frame.mask_camera, frame.semantics, np.uint8(FREE))
        as_seen = Frame(
            frame.pred, target, frame.mask_camera, frame.ray_origins, device=frame.device,
            groups=frame.groups,
        )  # fmt: skip
        counts = voxels.count(as_seen)
        return counts if frame.ray_origins is None else {**counts, **rays.count(as_seen)}

    def summarise(
        self, counts: Counts, num_frames: int, groups: ClassGroups = OCC3D_CLASSES
    ) -> Summary:
        """The figures of ``occ3d`` and, with ray origins, those of ``rayiou``."""
        voxels, rays = self._parts
        summary = voxels.summarise(counts, num_frames, groups)
        if "rays" in counts:
            ray_summary = rays.summarise(counts, num_frames, groups)
            averaged = {**summary["classes_averaged"], **ray_summary["classes_averaged"]}
            summary = {**summary, **ray_summary, "classes_averaged": averaged}
        return summary


class _AllVoxels(VoxelProtocol):
    """IoU over every voxel."""

    def count(self, frame: Frame) -> Counts:
        return {"confusion": confusion_matrix(frame.pred, frame.semantics, None, _RINGS)}


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        VoxelProtocol(
            "occ3d",
            "voxels in mask_camera; mean over the classes that the labels hold there",
        ),
        RayProtocol(
            "rayiou",
            "14,040 rays from up to 8 origins a frame, no mask, rays that the label lets through "
            "left out; mean over the classes that a ray hits in prediction or label",
        ),
        RayPQProtocol(
            "raypq",
            "the rays of rayiou as points of segments, matched above IoU 0.5, unmatched ones under "
            "10 rays left out; mean over the classes with a segment",
        ),
        PaperRepoProtocol(
            "paper-repo",
            "all voxels and rays, the label free outside mask_camera: what is predicted there is "
            "wrong",
        ),
        VoxelProtocol(
            "selfsup15",
            "as occ3d, without others and other_flat in the mean",
            excluded=("others", "other_flat"),
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """A protocol of ``PROTOCOLS``.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r}: expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def add_counts(parts: Iterable[Counts]) -> Counts:
    """The sum of counts, name by name.

    Raises:
        ValueError: the parts do not hold the same names: some frames had ray origins, some not.
    """
    total: Counts = {}
    for number, part in enumerate(parts):
        if number and part.keys() != total.keys():
            raise ValueError(
                f"counts of {sorted(total)} and of {sorted(part)} do not add up: give ray origins "
                "for all frames or for none"
            )
        total = {name: total[name] + part[name] if number else part[name] for name in part}
    return total


def percent(value: float) -> float | None:
    """A share in percent, four decimals; None for NaN."""
    return round(100.0 * float(value), 4) if value == value else None


def mean_of(values: NDArray[np.float64]) -> float:
    """The mean of what is defined, NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def count_defined(values: NDArray[np.float64]) -> int:
    """How many values a mean is made of."""
    return int((~np.isnan(values)).sum())


def by_class(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Percent of each 3D id, under the names of Occ3D's classes."""
    return {name: percent(value) for name, value in zip(CLASSES, values)}


def _geometry(confusion: NDArray[np.int64]) -> Summary:
    """Occupied against free, classes collapsed, in percent."""
    return {
        "geometric_iou": percent(geometric_iou(confusion)),
        "geometric_precision": percent(geometric_precision(confusion)),
        "geometric_recall": percent(geometric_recall(confusion)),
    }


def _predicted_a_frame(counts: Counts, num_frames: int) -> Summary:
    """Voxels predicted occupied in a frame; nothing for a protocol that knows no mask."""
    if "predicted_outside" not in counts:
        return {}
    inside, outside = counts["confusion"][..., :FREE].sum(), counts["predicted_outside"].sum()
    return {
        "voxels_inside": round(float(inside) / num_frames, 1),
        "voxels_outside": round(float(outside) / num_frames, 1),
    }


def _by_threshold(figure: str, of_class: str, values: NDArray[np.float64]) -> Summary:
    """The mean of all ``(3, 17)`` values; at each threshold the mean, its classes, and each one."""
    rows = list(zip(THRESHOLDS, values))
    return {
        figure: percent(mean_of(values)),
        **{f"{figure}@{t}": percent(mean_of(row)) for t, row in rows},
        **{f"{of_class}@{t}": by_class(row) for t, row in rows},
        "classes_averaged": {f"{figure}@{t}": count_defined(row) for t, row in rows},
    }
