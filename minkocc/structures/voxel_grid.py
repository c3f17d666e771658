"""The one place that turns metres into voxel indices and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

# Processes that only work with arrays, such as those that write data, start without torch.
if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

    ArrayT = TypeVar("ArrayT", NDArray[Any], torch.Tensor)

_TOLERANCE = 1e-4  # of a voxel; ranges such as -1 .. 5.4 m are not exact in binary


@dataclass(frozen=True)
class VoxelGrid:
    """A regular grid in the ego frame.

    Index ``i`` covers ``[min + i * s, min + (i + 1) * s)`` and its centre lies at ``i + 0.5``.
    Arrays over the grid are indexed ``[x, y, z]``.

    Args:
        point_cloud_range: ``(x0, y0, z0, x1, y1, z1)`` in metres.
        voxel_size: edge length in metres.

    Raises:
        ValueError: the range is empty or the voxel size does not divide it.
    """

    point_cloud_range: Sequence[float]
    voxel_size: float

    def __post_init__(self) -> None:
        bounds = tuple(float(v) for v in self.point_cloud_range)
        if len(bounds) != 6 or not all(lo < hi for lo, hi in zip(bounds[:3], bounds[3:])):
            raise ValueError(
                f"point_cloud_range {self.point_cloud_range} is not (x0, y0, z0, x1, y1, z1) "
                "with x0 < x1, y0 < y1, z0 < z1"
            )
        object.__setattr__(self, "point_cloud_range", bounds)
        if not self.voxel_size > 0:
            raise ValueError(f"voxel_size {self.voxel_size} is not positive")
        for lo, hi in zip(bounds[:3], bounds[3:]):
            cells = (hi - lo) / self.voxel_size
            if abs(cells - round(cells)) > _TOLERANCE * max(1.0, cells):
                raise ValueError(
                    f"voxel_size {self.voxel_size} does not divide the range {lo} .. {hi} m: "
                    f"use one that does, e.g. {(hi - lo) / round(cells):.6g}"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        lo, hi = self.point_cloud_range[:3], self.point_cloud_range[3:]
        x, y, z = (round((b - a) / self.voxel_size) for a, b in zip(lo, hi))
        return x, y, z

    @property
    def num_voxels(self) -> int:
        """Number of voxels in the grid."""
        x, y, z = self.shape
        return x * y * z

    def to_index(self, points: ArrayT) -> ArrayT:
        """Voxel indices of metric points; may lie outside the grid.

        Args:
            points: ``(..., 3)`` metres, ego frame.

        Returns:
            ``(..., 3)`` int64.
        """
        if _is_tensor(points):
            exact = points.double()
            origin = _on_device(self.point_cloud_range[:3], exact.dtype, exact.device)
            return ((exact - origin) / self.voxel_size).floor().long()
        offset = np.asarray(points, np.float64) - np.asarray(self.point_cloud_range[:3])
        return np.floor(offset / self.voxel_size).astype(np.int64)

    def contains(self, index: ArrayT) -> ArrayT:
        """Which ``(..., 3)`` indices lie inside the grid, ``(...)`` bool."""
        if _is_tensor(index):
            size = _on_device(self.shape, index.dtype, index.device)
            return ((index >= 0) & (index < size)).all(-1)
        return ((index >= 0) & (index < np.asarray(self.shape))).all(-1)

    def to_centre(self, index: ArrayT) -> ArrayT:
        """Centres in metres of ``(..., 3)`` indices; float32 tensors, float64 arrays."""
        if _is_tensor(index):
            exact = index.double()
            origin = _on_device(self.point_cloud_range[:3], exact.dtype, exact.device)
            return ((exact + 0.5) * self.voxel_size + origin).float()
        return (index + 0.5) * self.voxel_size + np.asarray(self.point_cloud_range[:3])

    def ratio_to(self, coarse: VoxelGrid) -> int:
        """How many voxels of this grid lie along one edge of a voxel of ``coarse``.

        Raises:
            ValueError: the ranges differ or the sizes are not an integer multiple.
        """
        ratio = coarse.voxel_size / self.voxel_size
        if self.point_cloud_range != coarse.point_cloud_range:
            raise ValueError(
                f"grids cover different ranges: {self.point_cloud_range} and "
                f"{coarse.point_cloud_range}"
            )
        if ratio < 1 - _TOLERANCE or abs(ratio - round(ratio)) > _TOLERANCE:
            raise ValueError(
                f"voxel_size {self.voxel_size} must divide {coarse.voxel_size}: use "
                f"{coarse.voxel_size}, {coarse.voxel_size / 2:g} or {coarse.voxel_size / 4:g}"
            )
        return round(ratio)


def _is_tensor(values: Any) -> TypeIs[torch.Tensor]:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


@lru_cache
def _on_device(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A constant, copied to a device once."""
    import torch

    with torch.inference_mode(False):  # its tensors could not serve training later
        return torch.tensor(values, dtype=dtype, device=device)


OCC3D_GRID = VoxelGrid((-40.0, -40.0, -1.0, 40.0, 40.0, 5.4), 0.4)
"""The fixed grid of Occ3D-nuScenes labels and of every metric: 200 x 200 x 16."""
