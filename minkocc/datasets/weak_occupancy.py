"""Weak occupancy: accumulated LiDAR returns and ray-traversed free space (P_acc of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.transforms.loading import read_sweep
from minkocc.files.rig import Mount
from minkocc.ops.ray_cast import mark_rays
from minkocc.ops.see_through import SweepCounts, sweep_counts
from minkocc.structures.taxonomy import SKY_2D, WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN
from minkocc.structures.voxel_grid import VoxelGrid

_FEWEST_PASSES = 3
"""Sweeps that must have seen through a voxel before it is taken for free, however few hit it."""

_SKY_STRIDE = 8
_BEYOND = 1000.0
"""How far a ray of the sky goes, metres: out of any grid, so that it ends in no voxel of it."""


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
        if self.see_through is None:
            return
        if not self.see_through > 0:
            raise ValueError(
                f"see_through {self.see_through} is not positive: use None to keep every hit"
            )
        object.__setattr__(self, "see_through", float(self.see_through))  # 4 is 4.0


EVERY_HIT = WeakRules()
"""The paper's."""


def sweeps_around(
    frame: dict[str, Any],
    frame_of: Callable[[str], dict[str, Any] | None],
    keyframes: tuple[int, int],
) -> list[dict[str, Any]]:
    """The sweeps around a frame with their transforms into its ego frame, its own first.

    Args:
        frame: what an info file says of it. Frames are linked by ``prev`` and ``next``; each
            contributes its keyframe and the sweeps since the keyframe before it.
        frame_of: gives the frame of a token, None if there is none.
        keyframes: how many (past, future) beside its own.

    Returns:
        ``lidar_path`` and ``lidar2ego`` (4x4) of each sweep, as ``accumulate_sweeps`` takes them.
    """
    sources: dict[str, dict[str, Any]] = {}
    for member, member2ego in keyframes_around(frame, frame_of, keyframes):
        lidar = member["lidar_points"]
        own = [(lidar["lidar_path"], lidar["lidar2ego"])]
        own += [(sweep["lidar_path"], sweep["sweep2ego"]) for sweep in member["lidar_sweeps"]]
        for path, to_member in own:
            sources.setdefault(path, {"lidar_path": path, "lidar2ego": member2ego @ to_member})
    return list(sources.values())


def keyframes_around(
    frame: dict[str, Any],
    frame_of: Callable[[str], dict[str, Any] | None],
    keyframes: tuple[int, int],
) -> list[tuple[dict[str, Any], NDArray[np.float64]]]:
    """The keyframes around a frame, its own first, each with its 4x4 into this one's ego frame.

    Arguments are those of ``sweeps_around``.
    """
    past, future = keyframes
    members = [frame, *_follow(frame, "prev", past, frame_of)]
    members += _follow(frame, "next", future, frame_of)
    global2ego = np.linalg.inv(frame["ego2global"])
    return [(member, global2ego @ member["ego2global"]) for member in members]


def _follow(
    frame: dict[str, Any],
    link: str,
    count: int,
    frame_of: Callable[[str], dict[str, Any] | None],
) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    while len(chain) < count and (found := frame_of(frame[link])) is not None:
        frame = found
        chain.append(frame)
    return chain


@dataclass(frozen=True)
class Accumulated:
    """What the sweeps saw."""

    weak: NDArray[np.uint8]
    """``(X, Y, Z)``: 0 free, 1 occupied, 255 unknown, where every hit counts."""
    counts: SweepCounts | None = None
    """How often, if it was counted."""
    present: NDArray[np.int64] | None = None
    """``(M, 3)`` the voxels that the present sweep hits, if it was counted."""

    def under(self, rules: WeakRules) -> NDArray[np.uint8]:
        """The target, ``(X, Y, Z)`` uint8, without the hits that rules do not believe.

        Raises:
            ValueError: the rules need counts, and there are none.
        """
        weak = self.weak.copy()
        if rules == EVERY_HIT:
            return weak
        if self.counts is None or self.present is None:
            raise ValueError(f"{rules} needs counts: accumulate with count=True")
        weak[(weak == WEAK_OCCUPIED) & (self.counts.returns < rules.min_hits)] = WEAK_UNKNOWN
        if rules.see_through is not None:
            enough = np.maximum(_FEWEST_PASSES, rules.see_through * self.counts.hits)
            gone = (self.counts.hits > 0) & (self.counts.passes >= enough)
            gone[tuple(self.present.T)] = False
            weak[gone] = WEAK_FREE
        return weak


def accumulate(
    sources: Sequence[dict[str, Any]],
    data_root: Path,
    mount: Mount,
    grid: VoxelGrid,
    count: bool,
) -> Accumulated:
    """What sweeps saw: hit voxels are occupied, crossed ones free, the rest unknown.

    Args:
        sources: ``lidar_path`` and ``lidar2ego`` (4x4, into the current ego frame) of each sweep,
            the present one first.
        data_root: what the paths are relative to.
        mount: of the sensor on its own vehicle.
        grid: the grid to fill.
        count: count too, which takes longer than all the rest.

    Raises:
        InputError: a sweep is missing, truncated or not finite.
    """
    weak = np.full(grid.shape, WEAK_UNKNOWN, np.uint8)
    kept = []
    for source in sources:
        lidar2ego = source["lidar2ego"]
        ends = read_sweep(data_root / source["lidar_path"], lidar2ego, mount)[:, :3]
        mark_rays(grid, lidar2ego[None, :3, 3].astype(np.float32), ends, weak)
        if count:
            kept.append(ends)
    if not count:
        return Accumulated(weak)
    origins = np.array([source["lidar2ego"][:3, 3] for source in sources], np.float32)
    return Accumulated(weak, sweep_counts(grid, origins, kept), _voxels(grid, kept[0]))


def accumulate_sweeps(
    sources: Sequence[dict[str, Any]],
    data_root: Path,
    mount: Mount,
    grid: VoxelGrid,
    rules: WeakRules = EVERY_HIT,
) -> NDArray[np.uint8]:
    """The target of a frame under rules, uint8 ``(X, Y, Z)``; arguments as of ``accumulate``."""
    return accumulate(sources, data_root, mount, grid, rules != EVERY_HIT).under(rules)


def _voxels(grid: VoxelGrid, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """The voxels that hold points, ``(M, 3)``."""
    index = grid.to_index(points.astype(np.float64))
    return index[grid.contains(index)]


def mark_sky(
    weak: NDArray[np.uint8],
    grid: VoxelGrid,
    labels: NDArray[np.uint8],
    cam2img: NDArray[np.floating],
    ego2cam: NDArray[np.floating],
) -> None:
    """What the rays of one camera's sky pixels cross is free where it was unknown, in place.

    One pixel in 8 x 8 is used, and only if everything within 8 pixels of it is sky: labels fray.

    Args:
        weak: ``(X, Y, Z)`` uint8.
        grid: of ``weak``.
        labels: ``(H, W)`` 2D ids of the raw image.
        cam2img: ``(3, 3)``.
        ego2cam: ``(4, 4)``.
    """
    window = np.ones((2 * _SKY_STRIDE + 1,) * 2, np.uint8)
    sky = cv2.erode((labels == SKY_2D).astype(np.uint8), window)
    v, u = np.nonzero(sky[::_SKY_STRIDE, ::_SKY_STRIDE])
    pixels = np.stack([u * _SKY_STRIDE + 0.5, v * _SKY_STRIDE + 0.5, np.ones(len(u))], 1)
    cam2ego = np.linalg.inv(ego2cam)
    rays = pixels @ np.linalg.inv(cam2img).T @ cam2ego[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    mark_rays(grid, cam2ego[None, :3, 3], cam2ego[:3, 3] + _BEYOND * rays, weak)
