"""Occupancy labels of other benchmarks, brought to Occ3D's grid, frame and classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minkocc.files.occupancy import LabelError
from minkocc.files.reading import require_regular
from minkocc.structures.taxonomy import FREE, IGNORED
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid


class LabelFormat(NamedTuple):
    """Where a benchmark's rows of voxels stand, and in what order they say it."""

    grid: VoxelGrid
    """In the frame of the LiDAR at the keyframe."""
    columns: tuple[int, int, int, int]
    """Of a row: where x, y, z and the class stand. Classes 1 to 16 are Occ3D's; 0 is noise, which
    is in no loss and no metric; what is not listed is free."""


FORMATS: Mapping[str, LabelFormat] = {
    "surroundocc": LabelFormat(VoxelGrid((-50, -50, -5, 50, 50, 3), 0.5), (0, 1, 2, 3)),
    "openoccupancy": LabelFormat(VoxelGrid((-51.2, -51.2, -5, 51.2, 51.2, 3), 0.2), (2, 1, 0, 3)),
}
"""By name: SurroundOcc's (200 x 200 x 16 of 0.5 m), and nuScenes-Occupancy's of OpenOccupancy
(512 x 512 x 40 of 0.2 m)."""


def read_rows(path: Path, form: LabelFormat) -> NDArray[np.uint8]:
    """A label's classes on its own grid, ``form.grid.shape``; ``FREE`` and ``IGNORED`` beside them.

    Args:
        path: a ``.npy`` of rows ``(N, 4)``.
        form: of the label.

    Raises:
        LabelError: the file is missing, damaged, or not of that format.
    """
    try:
        require_regular(path)
        rows = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged file fails in many ways
        raise LabelError(f"label {path} cannot be read ({error}): fetch it again") from error
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iuf":
        raise LabelError(f"label {path} is {rows.dtype} {rows.shape}, expected rows of 4 numbers")
    index = rows[:, form.columns[:3]].astype(np.int64)
    classes = rows[:, form.columns[3]].astype(np.int64)
    if not np.array_equal(rows[:, form.columns], np.column_stack([index, classes])):
        raise LabelError(f"label {path} holds numbers that are no whole ones")
    if not form.grid.contains(index).all() or ((classes < 0) | (classes >= FREE)).any():
        raise LabelError(
            f"label {path} holds voxels to {index.max(0).tolist() if len(index) else []} and "
            f"classes to {classes.max(initial=0)}, expected {form.grid.shape} and 0 to 16: another "
            "--format?"
        )
    volume = np.full(form.grid.shape, FREE, np.uint8)
    volume[tuple(index.T)] = np.where(classes == 0, IGNORED, classes)
    return volume


def to_occ3d(
    volume: NDArray[np.uint8], form: LabelFormat, lidar2ego: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """The arrays of an Occ3D label: each voxel takes what holds its centre.

    Args:
        volume: of ``read_rows``.
        form: of the label.
        lidar2ego: 4x4 at the keyframe.

    Returns:
        ``semantics`` uint8, and ``mask_camera`` and ``mask_lidar``, which those formats do not
        have: both are where the label says something.
    """
    index = np.stack(np.meshgrid(*map(np.arange, OCC3D_GRID.shape), indexing="ij"), -1)
    ego2lidar = np.linalg.inv(lidar2ego)
    centres = OCC3D_GRID.to_centre(index) @ ego2lidar[:3, :3].T + ego2lidar[:3, 3]
    source = form.grid.to_index(centres)
    inside = form.grid.contains(source)
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    semantics[inside] = volume[tuple(source[inside].T)]
    known = inside & (semantics != IGNORED)
    semantics[~known] = FREE
    mask = known.astype(np.uint8)
    return {"semantics": semantics, "mask_camera": mask, "mask_lidar": mask.copy()}


def surroundocc_path(folder: Path, frame: Mapping[str, Any]) -> Path:
    """Where SurroundOcc keeps the label of a frame: it is called after the LiDAR file."""
    return folder / f"{Path(frame['lidar_points']['lidar_path']).name}.npy"
