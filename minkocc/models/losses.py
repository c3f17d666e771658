"""The losses of the paper's Eqs. 4-6, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minkocc.ops.row_sums import count_rows
from minkocc.structures.taxonomy import WEAK_DROPPED, WEAK_IGNORED, WEAK_OCCUPIED, WEAK_UNKNOWN


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
    check_beta(beta)
    n = counts.double().clamp(min=1.0)
    return ((1 - beta) / (1 - beta**n)).float()


def check_beta(beta: float) -> None:
    """Refuse a beta of Eq. 4 that is no share.

    Raises:
        ValueError: it is outside [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta {beta} is outside [0, 1): the paper uses 0.9")


def class_balanced_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Eq. 4, L_3D.ce, normalised by the sum of the weights.

    Args:
        logits: ``(V, K)``.
        labels: ``(V,)`` class indices; voxels with another value than 0..K-1 are left out.
        weights: ``(K,)``.

    Returns:
        Scalar; 0 with a gradient path when no voxel is labelled.
    """
    num_classes = logits.shape[1]
    used = labels < num_classes
    target = labels.long().clamp(max=num_classes - 1)
    weight = weights.to(logits)[target] * used
    cost = F.cross_entropy(logits, target, reduction="none") * weight
    return cost.sum() / weight.sum().clamp(min=1e-6)


def soft_cross_entropy_2d(
    log_probs: Tensor, labels: Tensor, confidence: Tensor, beta: float = 0.0
) -> Tensor:
    """Eq. 5, L_2D.ce: ``sum c_i CE_i / sum c_i`` over labelled pixels.

    Args:
        log_probs: ``(N, K, h, w)`` log of the predicted class probabilities.
        labels: ``(N, h, w)`` class indices plus 1; other values than 1..K are ignored.
        confidence: ``(N, h, w)`` in [0, 1].
        beta: of Eq. 4's weight, by which the confidence of a class is multiplied, n being its
            labelled pixels in these views; 0, as the paper has it, weighs all pixels alike.

    Returns:
        Scalar; 0 with a gradient path when no pixel is labelled.

    Raises:
        ValueError: ``beta`` is outside [0, 1).
    """
    num_classes = log_probs.shape[1]
    used = (labels > 0) & (labels <= num_classes)
    weight = confidence * used
    target = (labels.long() - 1).clamp(0, num_classes - 1)
    if beta:
        counts = count_rows(target.flatten(), num_classes, weight.flatten() > 0)
        weight = weight * effective_number_weights(counts, beta)[target]
    picked = log_probs.gather(1, target[:, None]).squeeze(1)
    cost = -torch.where(used, picked, torch.zeros_like(picked)) * weight
    return cost.sum() / weight.sum().clamp(min=1e-6)


def occupancy_bce(
    logits: Sequence[Tensor],
    targets: Sequence[Tensor],
    unknown_weight: float = 0.0,
    occupied_weight: float = 1.0,
) -> Tensor:
    """L_bce: binary cross-entropy of each decoder level before pruning, averaged over levels.

    Args:
        logits: per level ``(V_l,)``.
        targets: per level ``(V_l,)`` uint8: 0 free, 1 occupied, 255 unknown, 254 and
            253 in no loss.
        unknown_weight: with which the unknown is taught to be free, beside 1 for what is known;
            0 leaves it out.
        occupied_weight: of the occupied, beside 1 for what is known to be free.
    """
    weights = (unknown_weight, occupied_weight)
    terms = [_weighted_bce(logit, target, *weights) for logit, target in zip(logits, targets)]
    return torch.stack(terms).mean()


def _weighted_bce(
    logit: Tensor, target: Tensor, unknown_weight: float, occupied_weight: float
) -> Tensor:
    """One level; 0 with a gradient path when it has nothing to teach."""
    weight = torch.ones_like(logit)
    weight.masked_fill_(target == WEAK_UNKNOWN, unknown_weight)
    weight.masked_fill_(target == WEAK_OCCUPIED, occupied_weight)
    weight.masked_fill_((target == WEAK_IGNORED) | (target == WEAK_DROPPED), 0.0)
    wanted = (target == WEAK_OCCUPIED).to(logit.dtype)
    cost = F.binary_cross_entropy_with_logits(logit, wanted, weight, reduction="sum")
    return cost / weight.sum().clamp(min=1e-6)
