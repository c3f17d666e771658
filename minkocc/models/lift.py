"""Pseudo-labels lifted to 3D: each LiDAR return teaches its voxel the label of its pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minkocc.models.group_index import GroupIndex
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.voxel_grid import VoxelGrid


def lifted_cross_entropy(
    logits: Tensor,
    coords: Tensor,
    points: list[Tensor],
    data_samples: list[OccDataSample],
    grid: VoxelGrid,
    classes: GroupIndex,
) -> Tensor:
    """``sum c CE / sum c`` over the current sweep's labelled returns whose voxel survived.

    Args:
        logits: ``(V, K)``.
        coords: int32 ``(V, 4)``.
        points: per sample ``(P, 5)``, augmented ego frame, metres.
        data_samples: with what ``LiftPseudoLabels`` writes.
        grid: of ``coords``.
        classes: of ``logits``.

    Raises:
        ValueError: a sample has no lifted labels.
    """
    key, order = _keys(coords, grid).sort()
    cost, total = logits.sum() * 0.0, logits.new_full((), 1e-6)
    for b, (cloud, sample) in enumerate(zip(points, data_samples)):
        if "lift_point" not in sample:
            raise ValueError(
                "the data samples have no lifted labels: the pipeline needs LiftPseudoLabels, and "
                "both it and the model the knob lift_weight"
            )
        index = grid.to_index(cloud[sample.lift_point, :3])
        wanted = _keys(torch.cat([torch.full_like(index[:, :1], b), index], dim=1), grid)
        place = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
        found = (key[place] == wanted) & grid.contains(index)
        weight = sample.lift_confidence.to(logits) / 255.0 * found
        label = classes.index_of(sample.lift_label).long()
        picked = F.cross_entropy(logits[order[place]], label, reduction="none")
        cost, total = cost + (picked * weight).sum(), total + weight.sum()
    return cost / total


def _keys(coords: Tensor, grid: VoxelGrid) -> Tensor:
    """One integer a voxel inside the grid."""
    b, x, y, z = coords.long().unbind(1)
    size_x, size_y, size_z = grid.shape
    return ((b * size_x + x) * size_y + y) * size_z + z
