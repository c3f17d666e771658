"""The losses of the paper's Eqs. 4-6 and their targets, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minkocc.structures.taxonomy import (
    FREE,
    NUM_CLASSES,
    UNLABELLED_2D,
    WEAK_FREE,
    WEAK_OCCUPIED,
    WEAK_UNKNOWN,
)


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Eq. 4's ``(1 - beta) / (1 - beta^n)``.

    Args:
        counts: n of each class, ``(C,)``: mean visible voxels per labelled frame. Below one voxel
            a frame the weight is that of one voxel, so that a class without labels keeps a finite
            weight.
        beta: in [0, 1); 0 gives ones.

    Raises:
        ValueError: ``beta`` is outside [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta {beta} is outside [0, 1): the paper uses 0.9")
    n = counts.double().clamp(min=1.0)
    return ((1 - beta) / (1 - beta**n)).float()


def class_balanced_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Eq. 4, L_3D.ce, normalised by the sum of the weights.

    Args:
        logits: ``(V, 17)``.
        labels: ``(V,)`` Occ3D ids; voxels with another value than 0..16 are left out.
        weights: ``(17,)``.

    Returns:
        Scalar; 0 with a gradient path when no voxel is labelled.
    """
    used = labels < NUM_CLASSES
    if not bool(used.any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits[used], labels[used].long(), weight=weights.to(logits))


def soft_cross_entropy_2d(log_probs: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """Eq. 5, L_2D.ce: ``sum c_i CE_i / sum c_i`` over labelled pixels.

    Args:
        log_probs: ``(N, 17, h, w)`` log of the predicted class probabilities.
        labels: ``(N, h, w)`` 2D ids; 0 (unlabelled) and 18 (sky) are ignored.
        confidence: ``(N, h, w)`` in [0, 1].

    Returns:
        Scalar; 0 with a gradient path when no pixel is labelled.
    """
    used = (labels != UNLABELLED_2D) & (labels <= NUM_CLASSES)
    weight = confidence * used
    target = (labels.long() - 1).clamp(0, NUM_CLASSES - 1)
    picked = log_probs.gather(1, target[:, None]).squeeze(1)
    cost = -torch.where(used, picked, torch.zeros_like(picked)) * weight
    return cost.sum() / weight.sum().clamp(min=1e-6)


def occupancy_bce(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """L_bce: binary cross-entropy of each decoder level before pruning, averaged over levels.

    Args:
        logits: per level ``(V_l,)``.
        targets: per level ``(V_l,)`` uint8: 0 free, 1 occupied, 255 in no loss.
    """
    terms = []
    for logit, target in zip(logits, targets):
        known = target != WEAK_UNKNOWN
        if bool(known.any()):
            wanted = target[known].to(logit.dtype)
            terms.append(F.binary_cross_entropy_with_logits(logit[known], wanted))
        else:
            terms.append(logit.sum() * 0.0)
    return torch.stack(terms).mean()


def dense_occupancy(semantics: Tensor, mask: Tensor | None) -> Tensor:
    """Occupancy target of a dense label.

    Args:
        semantics: uint8 Occ3D ids; 255 marks voxels that are in no loss.
        mask: bool, voxels that may be used (the paper: mask_camera), or None for all.

    Returns:
        uint8: 0 free, 1 occupied, 255 unknown.
    """
    # Filled in place: where() on plain numbers would make an int64 volume, eight times as large.
    target = torch.full_like(semantics, WEAK_FREE, dtype=torch.uint8)
    target.masked_fill_(semantics < FREE, WEAK_OCCUPIED)
    target.masked_fill_(semantics > FREE, WEAK_UNKNOWN)
    return target if mask is None else target.masked_fill_(~mask, WEAK_UNKNOWN)


def occupancy_pyramid(target: Tensor, levels: int) -> list[Tensor]:
    """The occupancy targets of the decoder levels, at strides 1, 2, 4, ...

    A coarse voxel is occupied if any child is; else free if at least half of its children inside
    the grid are known free; else unknown. (A maximum over {0, 1, 255} would turn nearly all
    occupied cells into unknown.) Children are counted at stride 1, whatever the level.

    Args:
        target: uint8 ``(B, X, Y, Z)`` of 0, 1 and 255.
        levels: how many strides.

    Returns:
        ``target`` itself, then per stride uint8 ``(B, ceil(X / stride), ...)``.
    """
    pyramid = [target]
    occupied = target == WEAK_OCCUPIED  # bool, whose sum is "any"
    free = (target == WEAK_FREE).byte()
    for level in range(1, levels):
        # A byte holds the counts of the first sums alone, which are of 8.
        occupied, free = _sum_octants(occupied), _sum_octants(free).int()
        known_free = 2 * free >= _children_inside(target, 2**level)
        coarse = torch.full_like(occupied, WEAK_UNKNOWN, dtype=torch.uint8)
        coarse.masked_fill_(known_free, WEAK_FREE).masked_fill_(occupied, WEAK_OCCUPIED)
        pyramid.append(coarse)
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


def lookup(volume: Tensor, coords: Tensor, fill: int) -> Tensor:
    """Values of a dense volume at sparse coordinates.

    Args:
        volume: ``(B, X, Y, Z)``.
        coords: ``(V, 4)`` = (batch, x, y, z) indices of the volume, possibly outside it.
        fill: value outside.

    Returns:
        ``(V,)`` of the volume's type.
    """
    index = coords.long()
    size = index.new_tensor(volume.shape[1:])
    inside = ((index[:, 1:] >= 0) & (index[:, 1:] < size)).all(1)
    safe = index[:, 1:].clamp(min=0).minimum(size - 1)
    values = volume[index[:, 0], safe[:, 0], safe[:, 1], safe[:, 2]]
    return torch.where(inside, values, torch.full_like(values, fill))
