"""The ray caster of RayIoU on scenes worked by hand, in a grid of 10 x 8 x 6 voxels of 0.5 m."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from minkocc.ops.first_hit import (
    NEVER_INSIDE,
    VoxelRays,
    first_hits,
    first_hits_torch,
    voxel_rays,
)
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

GRID = VoxelGrid((-2.5, -2.0, -1.0, 2.5, 2.0, 2.0), 0.5)


@pytest.fixture(params=["numba", "torch"])
def cast(request):
    """Voxel index and distance in voxels of one ray, by either implementation."""

    def one(occupied, start, direction):
        start = np.array([start], np.float32)
        rays = VoxelRays(start, start + np.array([direction], np.float32))
        if request.param == "numba":
            index, distance = first_hits(rays, occupied)
        else:
            index, distance = first_hits_torch(rays, torch.from_numpy(occupied))
        return np.unravel_index(int(index[0]), occupied.shape), float(distance[0])

    return one


def empty():
    return np.zeros(GRID.shape, bool)


@pytest.mark.parametrize(
    ("direction", "voxel", "distance"),
    [
        ((1, 0, 0), (8, 3, 2), 4.5),  # from x = 4.5; the wall's far side is x = 9
        ((-1, 0, 0), (1, 3, 2), 3.5),  # leaves voxel 1 at x = 1
        ((0, 1, 0), (4, 6, 2), 3.5),  # y = 3.5 -> 7
        ((0, -1, 0), (4, 1, 2), 2.5),
        ((0, 0, 1), (4, 3, 4), 2.5),  # z = 2.5 -> 5
        ((0, 0, -1), (4, 3, 0), 2.5),
    ],
)
def test_depth_is_where_the_ray_leaves_the_wall(cast, direction, voxel, distance):
    shell = np.ones(GRID.shape, bool)
    shell[2:8, 2:6, 1:4] = False  # a box of walls around the start
    assert cast(shell, (4.5, 3.5, 2.5), direction) == (voxel, distance)


def test_a_slanted_ray_leaves_through_the_side(cast):
    occupied = empty()
    occupied[6] = True  # a wall at x = 6 .. 7
    # Slope 3/4 from (0.5, 0.5): at x = 6 the ray is at y = 4.625, voxel 4; y = 5 comes at x = 6.5.
    voxel, distance = cast(occupied, (0.5, 0.5, 2.5), (4, 3, 0))
    assert voxel == (6, 4, 2)
    assert distance == pytest.approx(4.5 * 5 / 3)  # y runs 4.5, the ray 5/3 as far


def test_start_inside_an_occupied_voxel_hits_it(cast):
    occupied = empty()
    occupied[4, 3, 2] = True
    assert cast(occupied, (4.25, 3.5, 2.5), (1, 0, 0)) == ((4, 3, 2), 0.75)


def test_no_hit_gives_the_last_voxel_and_the_grids_face(cast):
    assert cast(empty(), (4.5, 3.5, 2.5), (1, 0, 0)) == ((9, 3, 2), 5.5)


def test_a_ray_that_never_enters(cast):
    occupied = np.ones(GRID.shape, bool)
    assert cast(occupied, (4.5, 3.5, 7.5), (1, 0, 0)) == ((0, 0, 0), NEVER_INSIDE)


def test_a_ray_from_above_enters_and_hits(cast):
    occupied = empty()
    occupied[:, :, 0] = True
    assert cast(occupied, (4.5, 3.5, 8.5), (0, 0, -1)) == ((4, 3, 0), 8.5)


def test_the_start_is_truncated_towards_zero(cast):
    """Half a voxel below the grid counts as its lowest layer: as published, not as geometry."""
    occupied = empty()
    occupied[7, 3, 0] = True
    assert cast(occupied, (4.5, 3.5, -0.5), (1, 0, 0)) == ((7, 3, 0), 3.5)
    assert cast(occupied, (4.5, 3.5, -1.5), (1, 0, 0)) == ((0, 0, 0), NEVER_INSIDE)


def test_a_thousand_steps_are_the_limit(cast):
    tunnel = np.zeros((1100, 1, 1), bool)
    tunnel[1000] = True  # the voxel before the thousandth step's end
    assert cast(tunnel, (0.5, 0.5, 0.5), (1, 0, 0)) == ((1000, 0, 0), 1000.5)
    tunnel[1000], tunnel[1001] = False, True
    assert cast(tunnel, (0.5, 0.5, 0.5), (1, 0, 0)) == ((1000, 0, 0), 1000.5)


def test_a_tie_goes_to_the_later_axis(cast):
    occupied = empty()
    occupied[5, 3, 2] = occupied[4, 4, 2] = occupied[4, 3, 3] = True
    diagonal = 0.5 * 3**0.5
    # From a voxel's middle along (1, 1, 1) all three faces are equally near: z is crossed first.
    voxel, distance = cast(occupied, (4.5, 3.5, 2.5), (1, 1, 1))
    assert voxel == (4, 3, 3)
    assert distance == pytest.approx(diagonal)  # and left at once, through y
    voxel, _ = cast(occupied, (4.5, 3.5, 2.5), (1, 1, 0))
    assert voxel == (4, 4, 2)
    voxel, _ = cast(occupied, (4.5, 3.5, 2.5), (1, 0, 1))
    assert voxel == (4, 3, 3)


@pytest.mark.gpu
def test_cuda_gives_the_same_bits():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = voxel_rays(GRID, [[0.1, 0.2, 0.3], [5.0, 5.0, 5.0]], directions.astype(np.float32))
    occupied = rng.random(GRID.shape) < 0.05
    index, distance = first_hits(rays, occupied)
    cuda_index, cuda_distance = first_hits_torch(rays, torch.from_numpy(occupied).cuda())
    np.testing.assert_array_equal(cuda_index.cpu().numpy(), index)
    np.testing.assert_array_equal(cuda_distance.cpu().numpy(), distance)


def test_voxel_rays_are_all_directions_from_each_origin():
    directions = np.array([[1, 0, 0], [0, 0, -1]], np.float32)
    rays = voxel_rays(GRID, [[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]], directions)
    np.testing.assert_array_equal(rays.starts, [[5, 4, 2], [5, 4, 2], [7, 0, 3], [7, 0, 3]])
    np.testing.assert_array_equal(rays.ends, [[7, 4, 2], [5, 4, 0], [9, 0, 3], [7, 0, 1]])
    assert rays.starts.dtype == rays.ends.dtype == np.float32
    kept = rays.where(np.array([False, True, False, True]))
    np.testing.assert_array_equal(kept.ends, [[5, 4, 0], [7, 0, 1]])


def test_positions_are_divided_in_double_by_a_voxel_of_single_precision():
    """Of three plausible roundings the published one; they differ in the last bit of float32."""
    x = 22.39366798
    rays = voxel_rays(OCC3D_GRID, [[x, 0.0, 0.0]], np.array([[0, 0, 1]], np.float32))
    in_double = np.float32((x + 40) / 0.4)
    in_single = np.float32(x + 40) / np.float32(0.4)
    published = np.float32((x + 40) / float(np.float32(0.4)))
    assert published not in (in_double, in_single)
    assert rays.starts[0, 0] == published


@pytest.mark.parametrize("origins", [[0, 0, 0], [[0, 0]], [[0, 0, np.nan]]])
def test_bad_origins_are_named(origins):
    with pytest.raises(ValueError, match=r"origins of shape .* expected finite \(T, 3\)"):
        voxel_rays(GRID, origins, np.ones((1, 3), np.float32))


def test_torch_keeps_its_number_of_threads():
    # Numba's pool counts all cores, and sums of another number of threads differ in the last bits.
    code = (
        "import numpy as np, torch; from minkocc.ops.first_hit import VoxelRays, first_hits;"
        "rays = VoxelRays(np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32));"
        "first_hits(rays, np.ones((2, 2, 2), bool)); assert torch.get_num_threads() == 1"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
