"""Pseudo-labels lifted to 3D: each LiDAR return teaches its voxel the label of its pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minkocc.ops.point_sampling import project_points
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.taxonomy import NUM_CLASSES
from minkocc.structures.voxel_grid import VoxelGrid


def lift_labels(points: Tensor, sample: OccDataSample) -> tuple[Tensor, Tensor, Tensor]:
    """The pseudo-label of every (return, view) pair that has one.

    Args:
        points: ``(P, 3)`` in the augmented ego frame, metres.
        sample: gives the unaugmented cameras, ``ego_aug``, labels and confidence.

    Returns:
        Point index, Occ3D id and confidence, each ``(M,)``.
    """
    back = torch.linalg.inv(sample.ego_aug.double())
    raw_ego2img = (sample.cam2img.double() @ sample.ego2cam.double() @ back).to(points)
    height, width = (int(v) for v in sample.raw_size)
    uv, _, valid = project_points(points, raw_ego2img, (height, width))
    view, point = valid.nonzero(as_tuple=True)
    column, row = uv[view, point].floor().long().unbind(1)
    label = sample.img_semantics[view, row, column].long()
    labelled = (label > 0) & (label <= NUM_CLASSES)
    confidence = sample.img_confidence[view, row, column]
    return point[labelled], label[labelled] - 1, confidence[labelled]


def lifted_cross_entropy(
    logits: Tensor,
    coords: Tensor,
    points: list[Tensor],
    data_samples: list[OccDataSample],
    grid: VoxelGrid,
) -> Tensor:
    """``sum c CE / sum c`` over the current sweep's labelled returns whose voxel survived.

    Args:
        logits: ``(V, 17)``.
        coords: int32 ``(V, 4)``.
        points: per sample ``(P, 5)``; the last column is the time lag, 0 for the current sweep.
        data_samples: one a sample.
        grid: of ``coords``.
    """
    key, order = _keys(coords, grid).sort()
    cost, total = logits.sum() * 0.0, logits.new_tensor(1e-6)
    for b, (cloud, sample) in enumerate(zip(points, data_samples)):
        xyz = cloud[cloud[:, 4] == 0, :3]
        point, label, confidence = lift_labels(xyz, sample)
        index = grid.to_index(xyz[point])
        wanted = _keys(torch.cat([torch.full_like(index[:, :1], b), index], dim=1), grid)
        place = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
        found = (key[place] == wanted) & grid.contains(index)
        row = order[place[found]]
        weight = confidence[found].to(logits)
        picked = F.cross_entropy(logits[row], label[found], reduction="none")
        cost, total = cost + (picked * weight).sum(), total + weight.sum()
    return cost / total


def _keys(coords: Tensor, grid: VoxelGrid) -> Tensor:
    """One integer a voxel inside the grid."""
    b, x, y, z = coords.long().unbind(1)
    size_x, size_y, size_z = grid.shape
    return ((b * size_x + x) * size_y + y) * size_z + z
