"""Voxels as triangle meshes of the faces that can be seen, one mesh a class."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import VoxelGrid

# The corners of a unit voxel's faces, by axis and side, counter-clockwise as seen from outside.
_FACES = {
    (0, 1): ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)),
    (0, -1): ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
    (1, 1): ((0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)),
    (1, -1): ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),
    (2, 1): ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
    (2, -1): ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)),
}
_TWO_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


class Mesh(NamedTuple):
    """Triangles in the ego frame."""

    vertices: NDArray[np.float32]
    """``(V, 3)`` metres; no two are the same."""
    triangles: NDArray[np.uint32]
    """``(T, 3)`` rows of ``vertices``, counter-clockwise as seen from outside."""


def class_meshes(semantics: NDArray[np.uint8], grid: VoxelGrid) -> dict[int, Mesh]:
    """The surface of each class: faces to whatever is not of the same class.

    Faces between two classes are drawn too, so that a class can be hidden without leaving holes in
    its neighbours; on Occ3D labels these are a tenth of all.

    Args:
        semantics: ``(X, Y, Z)`` ids, 17 and above = free.
        grid: of ``semantics``.

    Returns:
        A mesh by id, for every id below 17 that occurs.
    """
    # One border of free voxels, so that every voxel has six neighbours.
    padded = np.pad(np.minimum(semantics, FREE), 1, constant_values=FREE)
    corners: list[NDArray[np.int64]] = []
    classes: list[NDArray[np.uint8]] = []
    for (axis, side), offsets in _FACES.items():
        neighbour = np.roll(padded, -side, axis)
        index = np.argwhere((padded < FREE) & (padded != neighbour))
        corners.append(index[:, None] - 1 + np.array(offsets))
        classes.append(padded[tuple(index.T)])
    all_corners, all_classes = np.concatenate(corners), np.concatenate(classes)
    return {
        int(number): _mesh(all_corners[all_classes == number], grid)
        for number in np.unique(all_classes)
    }


def _mesh(quads: NDArray[np.int64], grid: VoxelGrid) -> Mesh:
    """The mesh of faces ``(F, 4, 3)``, whose corners are indices of the grid's lattice points."""
    size = np.array(grid.shape) + 1
    flat = np.ravel_multi_index(tuple(quads.reshape(-1, 3).T), tuple(size))
    found, row = np.unique(flat, return_inverse=True)
    lattice: NDArray[Any] = np.stack(np.unravel_index(found, tuple(size)), axis=1)
    vertices = grid.to_centre(lattice - 0.5)
    triangles = row.reshape(-1, 4)[:, _TWO_TRIANGLES].reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))
