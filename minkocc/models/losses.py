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
    target = torch.where(semantics < FREE, WEAK_OCCUPIED, WEAK_FREE).to(torch.uint8)
    unknown = semantics > FREE
    if mask is not None:
        unknown = unknown | ~mask
    return target.masked_fill(unknown, WEAK_UNKNOWN)


def coarse_occupancy(target: Tensor, stride: int) -> Tensor:
    """The occupancy target of a decoder level.

    A coarse voxel is occupied if any child is; else free if at least half of its children inside
    the grid are known free; else unknown. (A maximum over {0, 1, 255} would turn nearly all
    occupied cells into unknown.)

    Args:
        target: uint8 ``(B, X, Y, Z)`` of 0, 1 and 255.
        stride: voxels of the target along one edge of a coarse voxel.

    Returns:
        uint8 ``(B, ceil(X / stride), ...)``.
    """
    if stride == 1:
        return target
    pad: list[int] = []
    for size in reversed(target.shape[1:]):
        pad += [0, -size % stride]
    # Outside the grid is neither occupied, free nor a child.
    states = torch.stack([target == WEAK_OCCUPIED, target == WEAK_FREE, target <= WEAK_UNKNOWN], 1)
    pooled = F.avg_pool3d(F.pad(states.float(), pad), stride)
    occupied, free, inside = pooled.unbind(1)
    out = torch.full_like(occupied, WEAK_UNKNOWN, dtype=torch.uint8)
    out[free >= 0.5 * inside - 1e-6] = WEAK_FREE
    out[occupied > 0] = WEAK_OCCUPIED
    return out


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
