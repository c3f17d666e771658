"""Weak occupancy: accumulated LiDAR returns and ray-traversed free space (P_acc of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.transforms.loading import read_sweep
from minkocc.ops.ray_cast import mark_rays
from minkocc.ops.see_through import sweep_counts
from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN
from minkocc.structures.voxel_grid import VoxelGrid

_FEWEST_PASSES = 3
"""Sweeps that must have seen through a voxel before it is taken for free, however few hit it."""


@dataclass(frozen=True)
class WeakRules:
    """How returns become occupied voxels; by default every one does, as in the paper.

    Args:
        min_hits: returns that make a voxel occupied; with fewer it is unknown.
        see_through: a hit voxel becomes free where the sweeps that see through it
            (``minkocc.ops.see_through``) are at least so many times those that hit it, and three.
            What the present sweep hits stays. None keeps every hit.

    Raises:
        ValueError: a value makes no sense.
    """

    min_hits: int = 1
    see_through: float | None = None

    def __post_init__(self) -> None:
        if self.min_hits < 1:
            raise ValueError(f"min_hits {self.min_hits} is not positive: 1 keeps every hit")
        if self.see_through is not None and not self.see_through > 0:
            raise ValueError(
                f"see_through {self.see_through} is not positive: use None to keep every hit"
            )


def accumulate_sweeps(
    sources: Sequence[dict[str, Any]],
    data_root: Path,
    mount: NDArray[np.floating],
    grid: VoxelGrid,
    rules: WeakRules = WeakRules(),  # noqa: B008  frozen
) -> NDArray[np.uint8]:
    """Occupancy as the sweeps saw it: hit voxels occupied, crossed ones free, the rest unknown.

    Args:
        sources: ``lidar_path`` and ``lidar2ego`` (4x4, into the current ego frame) of each sweep,
            the present one first.
        data_root: what the paths are relative to.
        mount: the sensor's ``lidar2ego`` on its own vehicle.
        grid: the grid to fill.
        rules: which hits count.

    Returns:
        uint8 ``(X, Y, Z)``: 0 free, 1 occupied, 255 unknown.

    Raises:
        InputError: a sweep is missing, truncated or not finite.
    """
    weak = np.full(grid.shape, WEAK_UNKNOWN, np.uint8)
    kept: list[NDArray[np.float32]] = []
    for source in sources:
        lidar2ego = source["lidar2ego"]
        ends = read_sweep(data_root / source["lidar_path"], lidar2ego, mount)[:, :3]
        mark_rays(grid, lidar2ego[None, :3, 3].astype(np.float32), ends, weak)
        kept.append(ends)
    if rules != WeakRules():
        origins = np.array([source["lidar2ego"][:3, 3] for source in sources], np.float32)
        _doubt_hits(weak, grid, origins, kept, rules)
    return weak


def _doubt_hits(
    weak: NDArray[np.uint8],
    grid: VoxelGrid,
    origins: NDArray[np.float32],
    ends: list[NDArray[np.float32]],
    rules: WeakRules,
) -> None:
    """Take hits away that the rules do not believe, in place."""
    counts = sweep_counts(grid, origins, ends)
    weak[(weak == WEAK_OCCUPIED) & (counts.returns < rules.min_hits)] = WEAK_UNKNOWN
    if rules.see_through is not None:
        enough = np.maximum(_FEWEST_PASSES, rules.see_through * counts.hits)
        gone = (counts.hits > 0) & (counts.passes >= enough)
        gone[tuple(_voxels(grid, ends[0]).T)] = False
        weak[gone] = WEAK_FREE


def _voxels(grid: VoxelGrid, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """The voxels that hold points, ``(M, 3)``."""
    index = grid.to_index(points.astype(np.float64))
    return index[grid.contains(index)]
