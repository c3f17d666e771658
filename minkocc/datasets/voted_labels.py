"""Voted labels: what the pseudo-labels of several keyframes say of a voxel together.

Differs from the paper, which renders the voxels into the images of the frame alone: here each
return of a keyframe's own sweep takes the pseudo-label of its pixel, and all returns in a voxel
vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.transforms.loading import read_sweep
from minkocc.datasets.transforms.pseudo_labels import lift_labels, read_views
from minkocc.files.rig import camera_matrices, mount_of
from minkocc.structures.taxonomy import NUM_CLASSES, UNVOTED
from minkocc.structures.voxel_grid import VoxelGrid

MIN_SHARE = 0.5
"""Of a voxel's votes that the winner must have, where nothing else is said."""


@dataclass(frozen=True)
class LiftedReturns:
    """The labelled returns of one keyframe's own sweep; one that two cameras see is there twice.

    Args:
        points: ``(M, 3)`` float32, ego frame of the keyframe, metres.
        label: ``(M,)`` uint8 Occ3D ids.
        confidence: ``(M,)`` uint8, 255 = 1.0.
    """

    points: NDArray[np.float32]
    label: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


def lift_keyframe(frame: dict[str, Any], data_root: Path, folder: Path) -> LiftedReturns:
    """Give the returns of a keyframe's sweep the pseudo-labels of their pixels.

    Args:
        frame: what an info file says of it.
        data_root: what its paths are relative to.
        folder: of the pseudo-labels.

    Raises:
        InputError: the sweep or a pseudo-label is missing or cannot be used.
    """
    lidar = frame["lidar_points"]
    path = data_root / lidar["lidar_path"]
    points = read_sweep(path, lidar["lidar2ego"], mount_of(frame))[:, :3]
    maps = [read_views(folder, kind, frame) for kind in ("labels", "confidence")]
    cam2img, ego2cam = camera_matrices(frame)
    row, label, confidence = lift_labels(points, cam2img @ ego2cam, *maps)
    return LiftedReturns(points[row], label, confidence)


def vote(
    grid: VoxelGrid,
    returns: Sequence[tuple[NDArray[np.floating], LiftedReturns]],
    min_share: float,
) -> NDArray[np.uint8]:
    """The class of every voxel that labelled returns agree on.

    Args:
        grid: of the result.
        returns: each with the 4x4 that moves it into the grid's frame. A vote weighs its
            confidence.
        min_share: of a voxel's votes that the winner must have; of equal winners the first id wins.

    Returns:
        uint8 ``(X, Y, Z)``: Occ3D ids, 255 where nothing is known or agreed on.
    """
    voxel, label, weight = [], [], []
    for to_ego, lifted in returns:
        points = lifted.points.astype(np.float64) @ to_ego[:3, :3].T + to_ego[:3, 3]
        index = grid.to_index(points)
        inside = grid.contains(index)
        voxel.append(np.ravel_multi_index(tuple(index[inside].T), grid.shape))
        label.append(lifted.label[inside])
        weight.append(lifted.confidence[inside])
    out = np.full(grid.shape, UNVOTED, np.uint8)
    if not voxel or not sum(map(len, voxel)):
        return out
    ballot = np.concatenate(voxel) * NUM_CLASSES + np.concatenate(label)
    options, which = np.unique(ballot, return_inverse=True)
    votes = np.bincount(which, np.concatenate(weight).astype(np.float64))
    place, choice = np.divmod(options, NUM_CLASSES)
    first = np.flatnonzero(np.diff(place, prepend=-1))  # options are sorted by voxel
    total = np.add.reduceat(votes, first)
    most = np.maximum.reduceat(votes, first)
    own = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(place))))
    wins = (votes == most[own]) & (votes > 0) & (votes >= min_share * total[own])
    # From the last to the first, so that of equals the first id stays.
    out.reshape(-1)[place[wins][::-1]] = choice[wins][::-1]
    return out
