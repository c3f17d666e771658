"""mmengine's side of the metrics: integers of each frame, gathered so that none counts twice."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from minkocc.evaluation.grouped import by_group, summarise_groups
from minkocc.evaluation.image_iou import count_pixels, summarise_images
from minkocc.evaluation.protocols import Counts, Frame, Summary, add_counts, protocol_named
from minkocc.evaluation.pruning import count_pruning, summarise_pruning, sweep_thresholds
from minkocc.evaluation.report import figures, table
from minkocc.files.npz import npz_bytes
from minkocc.files.occupancy import groups_stamp
from minkocc.files.writing import atomic_write
from minkocc.registry import METRICS
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import FREE, Taxonomy
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid


class FrameMetric(BaseMetric):
    """A metric of integers that add up over frames, whatever process saw which frame.

    mmengine's own gathering sends every frame's result and cuts off what is padded by its place in
    the order, which is right for its own sampler alone. Here a frame goes by its token: it counts
    once, in the first process that holds it, and each process sends one sum.

    Args:
        collect_device: mmengine's; what is sent is small, and goes the way of the process group.
        prefix: put before the reported names.
    """

    default_prefix = ""
    target = "target"
    """What a frame without counts lacks, in words."""

    def __init__(self, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.summaries: list[Summary] = []
        """What the last evaluation found, one for each protocol."""

    @abstractmethod
    def count(self, sample: dict[str, Any]) -> Counts | None:
        """The integers of one frame, None where it has no target to be measured against."""

    @abstractmethod
    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """Figures of the sums over all processes."""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count the frames of a batch."""
        self.results += [(sample["token"], self.count(sample)) for sample in data_samples]

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures over all processes, the same in each of them.

        Args:
            size: of the data set.
        """
        frames: dict[str, Counts | None] = {}
        for token, counts in self.results:
            frames.setdefault(token, counts)
        self.results.clear()
        by_process = all_gather_object(list(frames))
        taken = {token for tokens in by_process[: get_rank()] for token in tokens}
        own = [counts for token, counts in frames.items() if token not in taken]
        measured = [counts for counts in own if counts is not None]
        sums = all_gather_object((len(own), *_sum_or_problem(measured)))
        metrics = self.compute_metrics(sums)
        self._warn_of_unseen(sum(part[0] for part in sums), size)
        return {f"{self.prefix}/{k}" if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(
        self, results: list[tuple[int, int, Counts, str | None]]
    ) -> dict[str, float]:
        """Figures from each process's number of frames, of measured frames, sum, and problem.

        Raises:
            ValueError: the counts of a process do not add up; raised in all of them.
        """
        for *_, problem in results:
            if problem:
                raise ValueError(problem)
        seen, measured = sum(part[0] for part in results), sum(part[1] for part in results)
        if measured < seen:
            print_log(f"{seen - measured} of {seen} frames have no {self.target}", logger="current")
        if not measured:
            self.summaries = []
            return {}
        total = add_counts(part[2] for part in results if part[1])
        self.summaries = self.summarise(total, measured)
        for summary in self.summaries:
            print_log("\n" + table(summary), logger="current")
        return {
            f"{summary['protocol']}/{name}": float("nan") if value is None else value
            for summary in self.summaries
            for name, value in figures(summary).items()
        }

    @staticmethod
    def _warn_of_unseen(seen: int, size: int) -> None:
        if seen < size:
            print_log(
                f"{seen} of {size} frames were measured: the others reached no process",
                logger="current",
                level=logging.WARNING,
            )


@METRICS.register_module()
class OccupancyMetric(FrameMetric):
    """Voxel and ray figures on the 0.4 m Occ3D grid.

    Args:
        protocols: names of ``PROTOCOLS``; a frame's rays are cast on the GPU where predictions are.
        training: how the model was trained, printed with every figure: ``train_mask`` and
            ``image_pretrained``.
        class_groups: of the model, as ``ClassGroups.of`` takes them: labels are grouped alike.
        taxonomy: of the labels, as ``Taxonomy.of`` takes it.
        collect_device: mmengine's.
        prefix: put before the reported names, which begin with the protocol's.

    Raises:
        ValueError: a protocol is unknown, or none is named, or the groups make no sense.
    """

    target = "dense label"

    def __init__(
        self,
        protocols: Sequence[str] = ("occ3d",),
        training: dict[str, Any] | None = None,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        taxonomy: Mapping[str, Any] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if isinstance(protocols, str) or not protocols:
            raise ValueError(f"protocols {protocols!r}: expected a list such as ['occ3d']")
        self.protocols = [protocol_named(name) for name in protocols]
        self.training = dict(training or {})
        self.groups = ClassGroups.of(class_groups, Taxonomy.of(taxonomy))

    def names(self) -> list[str]:
        """Names of all figures that ``evaluate`` reports, found on an empty frame."""
        free = np.full(OCC3D_GRID.shape, FREE, np.uint8)
        frame = {
            "pred_semantics": free,
            "voxel_semantics": free,
            "mask_camera": np.zeros(OCC3D_GRID.shape, bool),
            "ray_origins": np.zeros((1, 3)),
            "classes": self.groups,
        }
        counts = self.count(frame)
        assert counts is not None
        start = f"{self.prefix}/" if self.prefix else ""
        return [
            f"{start}{summary['protocol']}/{name}"
            for summary in self.summarise(counts, 1)
            for name in figures(summary)
        ]

    def count(self, sample: dict[str, Any]) -> Counts | None:
        """Those of every protocol, under ``<protocol>/<name>``.

        Raises:
            UserError: the network, whose samples say its ``classes``, tells others apart.
        """
        if "voxel_semantics" not in sample:
            return None
        told = sample.get("classes", OCC3D_CLASSES)
        if not told.same_ids(self.groups):
            raise UserError(
                f"the network's classes are {told.described}, OccupancyMetric's are "
                f"{self.groups.described}: set both by the knobs class_groups and taxonomy, the "
                "evaluators with class_groups='${class_groups}', taxonomy='${taxonomy}'"
            )
        pred = sample["pred_semantics"]
        frame = Frame(
            _array(pred),
            self.groups.grouped(_array(sample["voxel_semantics"])),
            _array(sample["mask_camera"]),
            sample.get("ray_origins"),
            device=pred.device if isinstance(pred, torch.Tensor) else None,
            groups=self.groups,
        )
        return {
            f"{protocol.name}/{name}": counts
            for protocol in self.protocols
            for name, counts in protocol.count(frame).items()
        }

    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """One for each protocol."""
        return [
            {
                **summarise_groups(protocol, _of(protocol.name, counts), num_frames, self.groups),
                "training": self.training,
            }
            for protocol in self.protocols
        ]


@METRICS.register_module()
class RenderedIoUMetric(FrameMetric):
    """2D mIoU of the rendered semantics against the pseudo-labels (``tools/test.py --render``).

    Args:
        groups: the classes of the model: pseudo-labels are grouped alike.
    """

    target = "pseudo-label"

    def __init__(self, groups: ClassGroups = OCC3D_CLASSES) -> None:
        super().__init__()
        self.groups = groups

    def count(self, sample: dict[str, Any]) -> Counts | None:
        """Pixels of the tied and of the shader path."""
        if "rendered_target" not in sample:
            return None
        target = self.groups.grouped_2d(_array(sample["rendered_target"]))
        paths = ("tied", "shader")
        return {path: count_pixels(_array(sample[f"rendered_{path}"]), target) for path in paths}

    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """One: both paths side by side."""
        return [by_group(summarise_images(counts, num_frames), self.groups)]


class PruningMetric(FrameMetric):
    """What each level of the decoder reaches, keeps and cuts, see ``evaluation.pruning``.

    A model that records it leaves ``decoder_levels``, a list of ``LevelRecord`` from coarse to
    fine, in its samples.

    Args:
        grid: the model's.
        sweep: add recall, precision and IoU by threshold, a diagnosis: nothing is chosen by it.
    """

    target = "dense label to judge the decoder's levels by, or no record of the levels"

    def __init__(self, grid: VoxelGrid, sweep: bool = False) -> None:
        super().__init__()
        self.grid = grid
        self.sweep = sweep

    def count(self, sample: dict[str, Any]) -> Counts | None:
        """Those of every level, under ``<stride>/<name>``."""
        if "voxel_semantics" not in sample or "decoder_levels" not in sample:
            return None
        label, mask = _array(sample["voxel_semantics"]), _array(sample["mask_camera"])
        return count_pruning(sample["decoder_levels"], label, mask, self.grid)

    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """One: all levels side by side."""
        summary = summarise_pruning(counts, num_frames, self.grid.voxel_size)
        if self.sweep:
            summary["sweep"] = sweep_thresholds(counts, num_frames)
        return [summary]


class FramesWithoutPoints(FrameMetric):
    """Names the frames without a LiDAR point in range, of which nothing could be predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []
        """Those of the last evaluation, over all processes."""

    def count(self, sample: dict[str, Any]) -> Counts | None:
        """Nothing: it is the name that matters."""
        return {}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the names."""
        self.results += [sample["token"] for sample in data_samples if sample.get("no_points")]

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the names and log them; no figure.

        Args:
            size: of the data set.
        """
        self.tokens = sorted({token for part in all_gather_object(self.results) for token in part})
        self.results.clear()
        if self.tokens:
            print_log(
                f"{len(self.tokens)} of {size} frames have no LiDAR point in range and were "
                f"predicted free everywhere: {', '.join(self.tokens)}",
                logger="current",
                level=logging.WARNING,
            )
        return {}

    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """Nothing is measured."""
        return []


class DumpPredictions(FrameMetric):
    """Writes one ``<token>.npz`` (key ``pred``, uint8 ``(200, 200, 16)``) a frame.

    Of a model with groups of classes each file says which, for whoever measures it.

    Args:
        out_dir: where to.
        groups: the classes of the model.
    """

    def __init__(self, out_dir: str | Path, groups: ClassGroups = OCC3D_CLASSES) -> None:
        super().__init__()
        self.out_dir = Path(out_dir)
        self.stamp = groups_stamp(groups)

    def count(self, sample: dict[str, Any]) -> Counts | None:
        """Write a frame."""
        with atomic_write(self.out_dir / f"{sample['token']}.npz") as sink:
            sink.write(npz_bytes(pred=_array(sample["pred_semantics"]), **self.stamp))
        return {}

    def summarise(self, counts: Counts, num_frames: int) -> list[Summary]:
        """Nothing is measured."""
        print_log(f"{num_frames} predictions are in {self.out_dir}", logger="current")
        return []


def summaries_of(metrics: Iterable[BaseMetric]) -> list[Summary]:
    """What all metrics found in the last evaluation; those of others keep no summaries."""
    return [summary for metric in metrics for summary in getattr(metric, "summaries", [])]


def _sum_or_problem(measured: list[Counts]) -> tuple[int, Counts, str | None]:
    """The sum, or the error as data: raising here would leave the other processes waiting."""
    try:
        return len(measured), add_counts(measured), None
    except ValueError as error:
        return len(measured), {}, str(error)


def _array(values: Any) -> NDArray[Any]:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _of(protocol: str, counts: Counts) -> Counts:
    """One protocol's counts under their own names."""
    start = f"{protocol}/"
    return {name[len(start) :]: value for name, value in counts.items() if name.startswith(start)}
