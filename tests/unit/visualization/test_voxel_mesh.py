"""Meshes against every face looked up voxel by voxel."""

import numpy as np
import pytest

from minkocc.structures.voxel_grid import VoxelGrid
from minkocc.visualization.voxel_mesh import class_meshes

GRID = VoxelGrid((-2.0, -1.0, 0.0, 2.0, 1.0, 1.2), 0.4)
FREE = 17
SIDES = [(axis, side) for axis in range(3) for side in (-1, 1)]


def quads_of(mesh):
    """Centre and outward normal of every face of two triangles, rounded, as a sorted list."""
    corners = mesh.vertices[mesh.triangles].reshape(-1, 2, 3, 3).astype(np.float64)
    for first, second in corners:
        assert np.allclose(first[0], second[0])
        assert np.allclose(first[2], second[1])
    normals = np.cross(corners[:, 0, 1] - corners[:, 0, 0], corners[:, 0, 2] - corners[:, 0, 0])
    assert np.allclose(np.linalg.norm(normals, axis=1), 0.16, atol=1e-6)  # 0.4 m squared
    centres = (corners[:, 0, 0] + corners[:, 0, 2]) / 2
    return sorted(map(tuple, np.round(np.concatenate([centres, normals / 0.16], 1), 4) + 0.0))


def reference(semantics, number):
    """The same by looking at each voxel's six neighbours."""
    faces = []
    for index in np.ndindex(*semantics.shape):
        if semantics[index] != number:
            continue
        for axis, side in SIDES:
            other = np.array(index)
            other[axis] += side
            inside = (other >= 0).all() and (other < semantics.shape).all()
            if inside and semantics[tuple(other)] == number:
                continue
            normal = np.eye(3)[axis] * side
            centre = GRID.to_centre(np.array(index)) + 0.2 * normal
            faces.append(tuple(np.round(np.concatenate([centre, normal]), 4) + 0.0))
    return sorted(faces)


@pytest.mark.parametrize("seed", range(4))
def test_faces_are_those_to_other_classes_and_look_outwards(seed):
    rng = np.random.default_rng(seed)
    semantics = rng.choice([0, 4, 16, FREE, FREE, 255], size=GRID.shape).astype(np.uint8)
    meshes = class_meshes(semantics, GRID)
    assert set(meshes) == {0, 4, 16}
    for number, mesh in meshes.items():
        assert quads_of(mesh) == reference(semantics, number)
        assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
        assert mesh.triangles.max() == len(mesh.vertices) - 1


def test_a_hidden_class_leaves_no_hole_in_its_neighbour():
    semantics = np.full(GRID.shape, FREE, np.uint8)
    semantics[3, 2, 1], semantics[4, 2, 1] = 4, 11
    meshes = class_meshes(semantics, GRID)
    assert [len(mesh.triangles) for mesh in meshes.values()] == [12, 12]  # closed cubes


def test_nothing_has_no_mesh():
    assert class_meshes(np.full(GRID.shape, FREE, np.uint8), GRID) == {}
