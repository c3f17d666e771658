"""What is set after training, from training frames: statistics of batch norm, and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from numpy.typing import NDArray

from minkocc.engine.inference_statistics import (
    Statistics,
    inference_statistics,
    learning_layers,
    set_statistics,
)
from minkocc.engine.runner import unwrapped
from minkocc.models.mink_genunet import DecoderLevel
from minkocc.models.targets import level_targets, occupancy_pyramid, phase_of
from minkocc.registry import HOOKS
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN

_LOGITS = torch.linspace(-8.0, 8.0, 321)
"""Edges of the histogram bins: thresholds are looked for among them."""

_VALUES = (WEAK_OCCUPIED, WEAK_FREE, WEAK_UNKNOWN)
"""The targets that are counted, in the order of the histogram's rows."""


def coarse_threshold(occupied: NDArray[np.int64], recall: float, lowest: float) -> float:
    """The highest threshold that keeps a share of a level's occupied candidates.

    Args:
        occupied: ``(322,)`` candidates by logit: below, between and above the edges ``_LOGITS``.
        recall: the share.
        lowest: of the thresholds that may be chosen.
    """
    enough = np.flatnonzero(_above(occupied) >= recall * occupied.sum())
    best = _LOGITS[enough[-1] if len(enough) else 0]
    return max(float(best.sigmoid()), lowest)


def finest_threshold(
    occupied: NDArray[np.int64],
    free: NDArray[np.int64],
    unseen: NDArray[np.int64],
    missed: int,
    unseen_weight: float,
) -> float:
    """The threshold with the best IoU of what is kept.

    Args:
        occupied: ``(322,)`` occupied candidates by logit.
        free: free ones, alike.
        unseen: those of which nothing is known, alike.
        missed: occupied voxels that are no candidates.
        unseen_weight: weight of unseen voxels as false positives; free ones weigh 1. At 0 the
            thickest surfaces are best, because hardly anything behind them is known.
    """
    wrong = _above(free) + unseen_weight * _above(unseen)
    iou = _above(occupied) / np.maximum(occupied.sum() + missed + wrong, 1)
    return float(_LOGITS[int(iou.argmax())].sigmoid())


def _above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many candidates have a logit above each edge."""
    return counts[::-1].cumsum()[::-1][1:]


@HOOKS.register_module()
class CalibrateHook(Hook):
    """Fits the network to inference before the last checkpoint and before every validation.

    First batch norm's statistics, to what the layers get at inference (``inference_statistics``),
    from frames of the whole training set, of which nothing but sensor data is read.

    Then the thresholds of the decoder levels. What a level throws away is lost to all finer ones:
    0.5 at four levels keeps half of what is visible. So each coarse level's threshold keeps nearly
    all occupied voxels that reach it, but is never below the threshold of training, because finer
    levels never saw such voxels. Then the finest level takes the threshold of the best IoU. This
    reads labelled frames, which the budget allows and the audit notes, or weak targets where alpha
    is 0.

    All frames are training frames without augmentation. With an ``EMAHook`` the averaged weights
    are calibrated, which are what is tested and saved.

    Args:
        frames: at most so many for each of the two, spread evenly over those that may be read.
        recall: share of the occupied candidates that all coarse levels together keep.
        unseen_weight: of ``finest_threshold``.
        statistics: whether to set those of batch norm.
    """

    priority = "LOW"  # after the average of the weights is updated, before the checkpoint

    def __init__(
        self,
        frames: int = 24,
        recall: float = 0.98,
        unseen_weight: float = 0.15,
        statistics: bool = True,
    ) -> None:
        if frames < 1:
            raise ValueError(f"frames {frames} is not positive: 24 is usual")
        if not 0 <= unseen_weight <= 1:
            raise ValueError(f"unseen_weight {unseen_weight} is not in [0, 1]: 0.15 is usual")
        if not 0 < recall < 1:
            raise ValueError(f"recall {recall} is not in (0, 1): 0.98 is usual")
        self.frames = frames
        self.recall = recall
        self.unseen_weight = unseen_weight
        self.with_statistics = statistics

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Calibrate after the last iteration, whatever saves the checkpoint."""
        if runner.iter + 1 == runner.max_iters:
            self._calibrate(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Calibrate where a validation follows."""
        loop = runner.train_loop
        due = runner.epoch + 1 >= loop.val_begin and (runner.epoch + 1) % loop.val_interval == 0
        if runner.val_loop is not None and due and runner.iter < runner.max_iters:
            self._calibrate(runner)

    def _calibrate(self, runner: Any) -> None:
        model, dataset = unwrapped(runner.model), runner.train_dataloader.dataset
        layers = learning_layers(model) if self.with_statistics else []
        with _weights_that_are_tested(runner) as models, _evaluating(model):
            statistics = self.statistics(model, dataset, layers)
            set_statistics(model, statistics)
            thresholds = self.thresholds(model, dataset)
        for each in models:
            set_statistics(each, statistics)
            each.genunet.set_thresholds(thresholds)
        told = ", ".join(f"{threshold:.3f}" for threshold in thresholds)
        print_log(f"thresholds of the decoder levels, coarse to fine: {told}", logger="current")

    def statistics(self, model: Any, dataset: Any, layers: list[str]) -> Statistics:
        """Batch norm's statistics for a model in evaluation mode, at its thresholds of training.

        Args:
            model: ``MinkOcc``; its thresholds are changed on the way.
            dataset: the training set.
            layers: names of the layers.
        """
        if not layers:
            return {}
        model.genunet.set_thresholds(model.genunet.train_thresholds.tolist())
        own = _spread(range(len(dataset)), self.frames)
        batches = (_batch(model, dataset.bare_sample(number)) for number in own)
        return inference_statistics(model, layers, batches)

    def thresholds(self, model: Any, dataset: Any) -> list[float]:
        """The thresholds for a model in evaluation mode, from training frames.

        Args:
            model: ``MinkOcc``; its thresholds are changed on the way.
            dataset: the training set.
        """
        phase = Phase.WARM if dataset.labelled_indices() else Phase.WEAK
        members = dataset.labelled_indices() or range(len(dataset))
        own = [TrainIndex(number, 0, phase) for number in _spread(members, self.frames)]
        trained = model.genunet.train_thresholds.tolist()
        model.genunet.set_thresholds(trained)
        each = self.recall ** (1 / max(1, len(trained) - 1))
        coarse = [
            coarse_threshold(occupied, each, lowest) if occupied.sum() else lowest
            for (occupied, *_), lowest in zip(_counts(model, dataset, own)[:-1, :, :-1], trained)
        ]
        model.genunet.set_thresholds([*coarse, trained[-1]])
        counts = _counts(model, dataset, own)[-1]
        (occupied, free, unseen), missed = counts[:, :-1], int(counts[0, -1])
        finest = trained[-1]  # stays where there is nothing to learn from
        if occupied.sum():
            finest = finest_threshold(occupied, free, unseen, missed, self.unseen_weight)
        return [*coarse, finest]


def _spread(members: Sequence[int], frames: int) -> list[int]:
    """At most so many members, evenly spread, that are this process's share."""
    picked = np.linspace(0, len(members) - 1, min(frames, len(members))).round()
    return [members[int(i)] for i in picked][get_rank() :: get_world_size()]


def _batch(model: Any, sample: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = model.data_preprocessor(pseudo_collate([sample]))
    return data


@torch.no_grad()
def _counts(model: Any, dataset: Any, own: list[TrainIndex]) -> NDArray[np.int64]:
    """Candidates of all processes' frames by level, target and logit, last those not reached."""
    nothing = np.zeros((len(model.genunet.thresholds), len(_VALUES), len(_LOGITS) + 2), np.int64)
    total = sum((_counts_of(model, dataset.plain_sample(index)) for index in own), nothing)
    return sum(all_gather_object(total), nothing)


def _counts_of(model: Any, sample: dict[str, Any]) -> NDArray[np.int64]:
    """Those of one frame."""
    data = _batch(model, sample)
    samples = data["data_samples"]
    _, levels = model.extract_feat(data["inputs"], samples)
    pyramid = occupancy_pyramid(
        model.targets.scored_occupancy(samples, phase_of(samples)), len(levels)
    )
    return np.stack([_histogram(*each) for each in zip(levels, reversed(pyramid))])


def _histogram(level: DecoderLevel, volume: torch.Tensor) -> NDArray[np.int64]:
    """One level's candidates by target and logit, last those not reached."""
    targets = level_targets(volume, level.coords, level.stride)
    bins = torch.bucketize(level.logits, _LOGITS.to(level.logits))
    out = np.zeros((len(_VALUES), len(_LOGITS) + 2), np.int64)
    for row, value in enumerate(_VALUES):
        counted = torch.bincount(bins[targets == value], minlength=len(_LOGITS) + 1)
        out[row, :-1] = counted.cpu().numpy()
        out[row, -1] = int((volume == value).sum()) - int(counted.sum())
    return out


@contextmanager
def _weights_that_are_tested(runner: Any) -> Iterator[list[Any]]:
    """Swap in the averaged weights, if any; yields the models to calibrate."""
    model = unwrapped(runner.model)
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for hook in averages:
        hook._swap_ema_parameters()
    try:
        yield [model, *(hook.ema_model.module for hook in averages)]
    finally:
        for hook in averages:
            hook._swap_ema_parameters()


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
