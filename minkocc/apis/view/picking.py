"""Which voxel a click meets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.ops.ray_cast import segments, trace
from minkocc.structures.voxel_grid import VoxelGrid

_FAR = 1000.0  # metres


def first_voxel(
    shown: NDArray[np.bool_], grid: VoxelGrid, origin: Sequence[float], direction: Sequence[float]
) -> tuple[int, int, int] | None:
    """The first voxel that is shown on a ray.

    Args:
        shown: ``(X, Y, Z)``.
        grid: of ``shown``.
        origin: of the ray, metres, ego frame; may lie outside the grid.
        direction: of any length but zero, ego frame.

    Returns:
        Its index; None where the ray meets none.
    """
    start = np.asarray(origin, np.float64)
    unit: NDArray[Any] = np.asarray(direction, np.float64)
    unit = unit / np.linalg.norm(unit)
    starts, ends = segments(grid, start[None], (start + _FAR * unit)[None])
    path = np.empty(sum(grid.shape) + 3, np.int64)
    length, _ = trace(starts[0], ends[0], np.array(grid.shape, np.int64), path)
    met = path[:length][shown.ravel()[path[:length]]]
    if not len(met):
        return None
    x, y, z = np.unravel_index(int(met[0]), grid.shape)
    return int(x), int(y), int(z)
