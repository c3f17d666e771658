"""Everything that the voxels are taught: which label counts where, and its pyramid of targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase
from minkocc.structures.taxonomy import (
    DROPPED,
    FREE,
    IGNORED,
    OUTSIDE,
    UNKNOWN,
    UNVOTED,
    WEAK_DROPPED,
    WEAK_FREE,
    WEAK_IGNORED,
    WEAK_OCCUPIED,
    WEAK_UNKNOWN,
)


@dataclass(frozen=True)
class TrainingTargets:
    """What the network is taught of a batch, from the labels that its samples carry.

    The arguments are those of ``MinkOcc`` of the same names.

    Raises:
        ValueError: a choice or a weight is none that there is.
    """

    train_mask: str | None = "camera"
    outside: str = "label"
    unknown: str = "free"
    unknown_weight: float = 0.1
    occupied_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("outside", self.outside, OUTSIDE),
            ("unknown", self.unknown, UNKNOWN),
            ("train_mask", self.train_mask, ("camera", None)),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(map(str, known))}")
        if not 0 < self.unknown_weight <= 1:
            raise ValueError(
                f"unknown_weight {self.unknown_weight} is not in (0, 1]: use unknown='ignore' for "
                "none"
            )
        if not (math.isfinite(self.occupied_weight) and self.occupied_weight > 0):
            raise ValueError(
                f"occupied_weight {self.occupied_weight} is no weight above 0: 1 is usual"
            )

    @property
    def weight_of_unknown(self) -> float:
        """Loss weight of unknown voxels, which are taught as free; 0 if ignored."""
        return self.unknown_weight if self.unknown == "free" else 0.0

    def occupancy(self, data_samples: Sequence[OccDataSample], phase: Phase) -> Tensor:
        """uint8 ``(B, X, Y, Z)``: dense occupancy in warm and strong, weak occupancy in weak.

        Args:
            data_samples: of the batch.
            phase: of the batch.
        """
        if not phase.needs_dense:
            return _stacked("weak_occupancy", data_samples)
        semantics = _stacked("voxel_semantics", data_samples)
        return dense_occupancy(semantics, _stacked("mask_camera", data_samples), self.outside)

    def scored_occupancy(self, data_samples: Sequence[OccDataSample], phase: Phase) -> Tensor:
        """``occupancy`` for the calibration of thresholds.

        A dense target is unknown outside ``mask_camera``, unless ``train_mask`` is None.

        Args:
            data_samples: of the batch.
            phase: of the batch.
        """
        target = self.occupancy(data_samples, phase)
        if phase.needs_dense and self.train_mask:
            mask = _stacked("mask_camera", data_samples)
            target = target.masked_fill(~mask & (target != WEAK_IGNORED), WEAK_UNKNOWN)
        return target

    def semantics(self, coords: Tensor, data_samples: Sequence[OccDataSample]) -> Tensor:
        """Occ3D id of every voxel ``(V,)``; 255 outside the grid and the training mask.

        Args:
            coords: ``(V, 4)`` = (batch, x, y, z).
            data_samples: of the batch, with dense labels.
        """
        labels = _stacked("voxel_semantics", data_samples)
        if self.train_mask:
            labels = labels.masked_fill(~_stacked("mask_camera", data_samples), IGNORED)
        return lookup(labels, coords, IGNORED)

    def votes(self, coords: Tensor, data_samples: Sequence[OccDataSample]) -> Tensor:
        """Occ3D id that the pseudo-labels of several keyframes voted for, ``(V,)``.

        Args:
            coords: ``(V, 4)`` = (batch, x, y, z).
            data_samples: of the batch, with voted labels.

        Returns:
            255 where nobody voted, and outside the grid.
        """
        return lookup(_stacked("voted_labels", data_samples), coords, UNVOTED)


def phase_of(data_samples: Sequence[OccDataSample]) -> Phase:
    """The one phase of a batch.

    Raises:
        ValueError: the batch mixes phases, or a sample has none.
    """
    phases = {sample.phase for sample in data_samples}
    if len(phases) != 1 or None in phases:
        raise ValueError(
            f"a training batch needs one phase, got {sorted(map(str, phases))}: use "
            "WarmStartSampler in the train_dataloader"
        )
    return phases.pop()


def _stacked(name: str, data_samples: Sequence[OccDataSample]) -> Tensor:
    return torch.stack([sample.get(name) for sample in data_samples])


def dense_occupancy(semantics: Tensor, mask_camera: Tensor, outside: str) -> Tensor:
    """Occupancy target of a dense label.

    Differs from the paper, which only says that masks are used "to occlude camera out-of-view
    voxels": leaving them out of the occupancy loss too (``'ignore'``) teaches nothing to be empty
    there, and the network floods it.

    Args:
        semantics: uint8 Occ3D ids; 255 and, where dropped, 254 mark voxels that are in no loss.
        mask_camera: bool, the voxels that a camera sees.
        outside: what is taught of the others: ``'label'`` what the label says, ``'free'`` that
            they are free, ``'ignore'`` nothing.

    Returns:
        uint8: 0 free, 1 occupied, 254 in no loss, 253 dropped.
    """
    # Filled in place: where() on plain numbers would make an int64 volume, eight times as large.
    target = torch.full_like(semantics, WEAK_FREE, dtype=torch.uint8)
    target.masked_fill_(semantics < FREE, WEAK_OCCUPIED)
    target.masked_fill_(semantics == DROPPED, WEAK_DROPPED)
    if outside != "label":
        target.masked_fill_(~mask_camera, WEAK_FREE if outside == "free" else WEAK_IGNORED)
    return target.masked_fill_(semantics == IGNORED, WEAK_IGNORED)


def occupancy_pyramid(target: Tensor, levels: int) -> list[Tensor]:
    """The occupancy targets of the decoder levels, at strides 1, 2, 4, ...

    A coarse voxel is occupied if any child is; else in no loss if any (occupied) child was dropped;
    else free if at least half of its children inside the grid are known free; else unknown if at
    least half of them are free or unknown; else ignored. (A maximum over {0, 1, 255} would turn
    nearly all occupied cells into unknown.) Children are counted at stride 1, whatever the level.

    Args:
        target: uint8 ``(B, X, Y, Z)`` of 0, 1, 255, 254 and 253.
        levels: how many strides.

    Returns:
        ``target`` itself, then per stride uint8 ``(B, ceil(X / stride), ...)``.
    """
    pyramid = [target]
    occupied = target == WEAK_OCCUPIED  # bool, whose sum is "any"
    dropped = target == WEAK_DROPPED
    free = (target == WEAK_FREE).byte()
    open_ = free + (target == WEAK_UNKNOWN)
    for level in range(1, levels):
        # A byte holds the counts of the first sums alone, which are of 8.
        occupied, dropped = _sum_octants(occupied), _sum_octants(dropped)
        free, open_ = _sum_octants(free).int(), _sum_octants(open_).int()
        children = _children_inside(target, 2**level)
        coarse = torch.full_like(occupied, WEAK_IGNORED, dtype=torch.uint8)
        coarse.masked_fill_(2 * open_ >= children, WEAK_UNKNOWN)
        coarse.masked_fill_(2 * free >= children, WEAK_FREE)
        coarse.masked_fill_(dropped, WEAK_DROPPED)
        pyramid.append(coarse.masked_fill_(occupied, WEAK_OCCUPIED))
    return pyramid


def _sum_octants(values: Tensor) -> Tensor:
    """Sums over blocks of 2 x 2 x 2 voxels of ``(B, X, Y, Z)``, in the type of ``values``."""
    x, y, z = (size % 2 for size in values.shape[1:])
    if x or y or z:
        values = F.pad(values, (0, z, 0, y, 0, x))
    values = values[:, 0::2] + values[:, 1::2]
    values = values[:, :, 0::2] + values[:, :, 1::2]
    return values[..., 0::2] + values[..., 1::2]


def _children_inside(target: Tensor, stride: int) -> Tensor:
    """How many voxels of ``target`` each coarse voxel holds: fewer at an edge that cuts it."""
    x, y, z = (
        torch.arange(size, 0, -stride, dtype=torch.int32, device=target.device).clamp(max=stride)
        for size in target.shape[1:]
    )
    return x[:, None, None] * y[:, None] * z


def level_targets(volume: Tensor, coords: Tensor, stride: int) -> Tensor:
    """What a decoder level's candidates are taught; nothing outside the grid.

    Args:
        volume: uint8 ``(B, X, Y, Z)``, the volume of ``occupancy_pyramid`` at ``stride``.
        coords: ``(V, 4)`` = (batch, x, y, z) in stride-1 voxels.
        stride: of the level.

    Returns:
        uint8 ``(V,)``.
    """
    index = coords.clone()
    index[:, 1:] = index[:, 1:].div(stride, rounding_mode="floor")
    return lookup(volume, index, WEAK_IGNORED)


def known_free(target: Tensor, coords: Tensor) -> Tensor:
    """Which voxels an occupancy target knows to be free; none outside the grid.

    Args:
        target: uint8 ``(B, X, Y, Z)``.
        coords: ``(V, 4)`` = (batch, x, y, z).

    Returns:
        bool ``(V,)``.
    """
    return lookup(target, coords, WEAK_UNKNOWN) == WEAK_FREE


def lookup(volume: Tensor, coords: Tensor, fill: int) -> Tensor:
    """Values of a dense volume at sparse coordinates.

    Args:
        volume: ``(B, X, Y, Z)``.
        coords: ``(V, 4)`` = (batch, x, y, z) indices of the volume, possibly outside it.
        fill: value outside.

    Returns:
        ``(V,)`` of the volume's type.
    """
    batch, *axes = coords.long().unbind(1)
    safe = [axis.clamp(0, size - 1) for axis, size in zip(axes, volume.shape[1:])]
    x, y, z = (axis == within for axis, within in zip(axes, safe))
    values = volume[batch, safe[0], safe[1], safe[2]]
    return torch.where(x & y & z, values, fill)
