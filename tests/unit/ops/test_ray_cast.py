"""Rays on grids small enough to work out by hand."""

import numpy as np
import pytest

from minkocc.ops.ray_cast import mark_rays, ray_hits_and_passes, visible_voxels
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 5.0, 4.0, 3.0), 1.0)


def cells(counts):
    return {tuple(map(int, i)): int(counts[tuple(i)]) for i in np.argwhere(counts)}


@pytest.mark.parametrize("sign", [1, -1])
def test_axis_aligned_ray_passes_the_voxels_before_its_end(sign):
    a, b = (0.5, 1.5, 2.5), (3.5, 1.5, 2.5)
    hits, passes = ray_hits_and_passes(GRID, *([[a], [b]] if sign > 0 else [[b], [a]]))
    assert cells(hits) == {((3 if sign > 0 else 0), 1, 2): 1}
    assert cells(passes) == {(x, 1, 2): 1 for x in ((0, 1, 2) if sign > 0 else (3, 2, 1))}
    assert hits.dtype == passes.dtype == np.int32


def test_diagonal_ray_by_hand():
    # y = 0.25 + x / 2: crosses x = 1 at y 0.75, y = 1 at x 1.5, x = 2 at y 1.25.
    hits, passes = ray_hits_and_passes(GRID, [[0.0, 0.25, 0.5]], [[2.5, 1.5, 0.5]])
    assert cells(hits) == {(2, 1, 0): 1}
    assert cells(passes) == {(0, 0, 0): 1, (1, 0, 0): 1, (1, 1, 0): 1}


def test_end_in_the_voxel_of_the_origin_is_a_hit_and_no_pass():
    hits, passes = ray_hits_and_passes(GRID, [[1.2, 1.2, 1.2]], [[1.7, 1.9, 1.1]])
    assert cells(hits) == {(1, 1, 1): 1}
    assert not passes.any()
    hits, passes = ray_hits_and_passes(GRID, [[1.2, 1.2, 1.2]], [[1.2, 1.2, 1.2]])
    assert cells(hits) == {(1, 1, 1): 1}
    assert not passes.any()


def test_ray_between_boundaries():
    hits, passes = ray_hits_and_passes(GRID, [[1.0, 0.5, 0.5]], [[3.0, 0.5, 0.5]])
    assert cells(hits) == {(3, 0, 0): 1}
    assert cells(passes) == {(1, 0, 0): 1, (2, 0, 0): 1}


def test_ray_along_a_face_stays_on_its_upper_side():
    hits, passes = ray_hits_and_passes(GRID, [[0.5, 2.0, 1.0]], [[2.5, 2.0, 1.0]])
    assert cells(hits) == {(2, 2, 1): 1}
    assert cells(passes) == {(0, 2, 1): 1, (1, 2, 1): 1}


def test_ray_is_clipped_to_the_grid():
    hits, passes = ray_hits_and_passes(GRID, [[-7.0, 0.5, 0.5]], [[99.0, 0.5, 0.5]])
    assert not hits.any()
    assert cells(passes) == {(x, 0, 0): 1 for x in range(5)}
    hits, passes = ray_hits_and_passes(GRID, [[9.0, 0.5, 0.5]], [[3.5, 0.5, 0.5]])
    assert cells(hits) == {(3, 0, 0): 1}
    assert cells(passes) == {(4, 0, 0): 1}
    hits, passes = ray_hits_and_passes(GRID, [[1.5, 1.5, 1.5]], [[1.5, 1.5, -1e12]])
    assert not hits.any()
    assert cells(passes) == {(1, 1, 1): 1, (1, 1, 0): 1}


@pytest.mark.parametrize(
    ("origin", "end"),
    [
        ((-1.0, 9.0, 0.5), (9.0, 4.5, 0.5)),  # passes a corner
        ((-1.0, 0.5, 3.0), (9.0, 0.5, 3.0)),  # along the upper face, which is not in the grid
        ((-3.0, 0.5, 0.5), (-1.0, 0.5, 0.5)),  # ends before the grid
    ],
)
def test_ray_that_misses_counts_nowhere(origin, end):
    hits, passes = ray_hits_and_passes(GRID, [origin], [end])
    assert not hits.any()
    assert not passes.any()


def test_end_on_the_lower_corner_of_the_grid_is_a_hit():
    hits, passes = ray_hits_and_passes(GRID, [[-0.3, -0.7, -0.1]], [[0.0, 0.0, 0.0]])
    assert cells(hits) == {(0, 0, 0): 1}
    assert not passes.any()


def test_rays_add_up_and_one_origin_serves_all():
    ends = [[2.5, 0.5, 0.5], [2.6, 0.5, 0.5], [4.5, 0.5, 0.5]]
    hits, passes = ray_hits_and_passes(GRID, [[0.5, 0.5, 0.5]], ends)
    assert cells(hits) == {(2, 0, 0): 2, (4, 0, 0): 1}
    assert cells(passes) == {(0, 0, 0): 3, (1, 0, 0): 3, (2, 0, 0): 1, (3, 0, 0): 1}


def test_rows_that_are_not_finite_are_dropped():
    origins = [[0.5, 0.5, 0.5], [np.nan, 0.5, 0.5], [0.5, 0.5, 0.5]]
    ends = [[np.nan, 0.5, 0.5], [2.5, 0.5, 0.5], [np.inf, 0.5, 0.5]]
    hits, passes = ray_hits_and_passes(GRID, origins, ends)
    assert not hits.any()
    assert not passes.any()


def test_no_rays():
    hits, passes = ray_hits_and_passes(GRID, np.zeros((0, 3)), np.zeros((0, 3)))
    assert hits.shape == passes.shape == GRID.shape
    assert not hits.any()


def test_float32_end_hits_the_voxel_of_to_index():
    rng = np.random.default_rng(0)
    ends = rng.uniform((-39, -39, -0.9), (39, 39, 5.3), (2000, 3)).astype(np.float32)
    hits, _ = ray_hits_and_passes(OCC3D_GRID, np.float32([[0.9, 0.1, 1.8]]), ends)
    expected = np.zeros_like(hits)
    np.add.at(expected, tuple(OCC3D_GRID.to_index(ends).T), 1)
    np.testing.assert_array_equal(hits, expected)


@pytest.mark.parametrize(
    ("origins", "ends", "match"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "2 rows for 3 ends"),
        (np.zeros((3, 2)), np.zeros((3, 3)), "origins has shape"),
        (np.zeros((3, 3)), np.zeros(3), "ends has shape"),
    ],
)
def test_wrong_shapes_are_named(origins, ends, match):
    with pytest.raises(ValueError, match=match):
        ray_hits_and_passes(GRID, origins, ends)


@pytest.mark.parametrize("order", [1, -1])
def test_occupied_wins_over_free_in_any_order(order):
    target = np.full(GRID.shape, 255, np.uint8)
    ends = np.array([[2.5, 0.5, 0.5], [3.5, 0.5, 0.5]])[::order]
    mark_rays(GRID, [[0.5, 0.5, 0.5]], ends, target)
    assert target[:4, 0, 0].tolist() == [0, 0, 1, 1]
    assert (target == 255).sum() == target.size - 4


@pytest.mark.parametrize(
    "target",
    [
        np.zeros((1, 2, 3), np.uint8),
        np.zeros(GRID.shape, np.int32),
        np.zeros(GRID.shape, np.uint8, order="F"),
    ],
)
def test_a_target_that_cannot_be_marked_is_refused(target):
    with pytest.raises(ValueError, match="expected contiguous uint8"):
        mark_rays(GRID, [[0.5, 0.5, 0.5]], [[2.5, 0.5, 0.5]], target)


def test_a_wall_hides_what_is_behind_it():
    occupied = np.zeros(GRID.shape, bool)
    occupied[2, 1, 1] = occupied[3, 1, 1] = True
    visible = visible_voxels(GRID, occupied, [[-1.0, 1.5, 1.5]], [[7.0, 0.0, 0.0]], 100.0)
    assert cells(visible) == {(0, 1, 1): 1, (1, 1, 1): 1, (2, 1, 1): 1}
    assert visible.dtype == bool


@pytest.mark.parametrize("length", [1e-200, 1.0, 1e200])
def test_range_is_in_metres_whatever_the_length_of_the_direction(length):
    grid = VoxelGrid((0.0, 0.0, 0.0, 2.5, 2.0, 1.5), 0.5)
    empty = np.zeros(grid.shape, bool)
    visible = visible_voxels(grid, empty, [[0.25, 0.25, 0.25]], [[length, 0, 0]], 0.9)
    assert cells(visible) == {(0, 0, 0): 1, (1, 0, 0): 1, (2, 0, 0): 1}


def test_directions_that_point_nowhere_are_dropped():
    occupied = np.zeros(GRID.shape, bool)
    rays = [[0.0, 0.0, 0.0], [np.nan, 1.0, 0.0], [np.inf, 1.0, 0.0]]
    assert not visible_voxels(GRID, occupied, [[0.5, 0.5, 0.5]], rays, 5.0).any()
    assert not visible_voxels(GRID, occupied, [[0.5, 0.5, 0.5]], np.zeros((0, 3)), 5.0).any()


@pytest.mark.parametrize(
    ("occupied", "origins", "max_range", "match"),
    [
        (np.zeros((1, 2, 3)), np.zeros((1, 3)), 1.0, "occupied has shape"),
        (np.zeros(GRID.shape), np.zeros((2, 3)), 1.0, "2 rows for 1 directions"),
        (np.zeros(GRID.shape), np.zeros((1, 3)), np.inf, "max_range"),
        (np.zeros(GRID.shape), np.zeros((1, 3)), 0.0, "max_range"),
    ],
)
def test_wrong_visibility_arguments_are_named(occupied, origins, max_range, match):
    with pytest.raises(ValueError, match=match):
        visible_voxels(GRID, occupied, origins, np.ones((1, 3)), max_range)
