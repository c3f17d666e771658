"""Ray walking against an exact slab test of every voxel."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minkocc.ops.ray_cast import ray_hits_and_passes, visible_voxels
from minkocc.structures.voxel_grid import VoxelGrid

TOUCH = 1e-9  # shorter overlaps are edges and corners, which may count or not


def overlap(grid, origin, end):
    """Length of the parameter interval in which the segment is inside each voxel, and its start."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    low = index * grid.voxel_size + np.array(grid.point_cloud_range[:3])
    high = low + grid.voxel_size
    first, last = np.zeros(grid.shape), np.ones(grid.shape)
    for axis in range(3):
        d = end[axis] - origin[axis]
        if d == 0:
            # A segment inside a face belongs to the cell that the grid puts its points into;
            # comparing with `low` would round otherwise than the grid does.
            inside = index[..., axis] == grid.to_index(np.asarray(origin))[axis]
            last = np.where(inside, last, -1.0)
            continue
        a, b = (low[..., axis] - origin[axis]) / d, (high[..., axis] - origin[axis]) / d
        first, last = np.maximum(first, np.minimum(a, b)), np.minimum(last, np.maximum(a, b))
    return last - first, first


def _along_a_face(cells):
    """1.4 - 1.0 is a little less than 0.4, so x = 1.4 m lies in the cell below."""
    grid = VoxelGrid((1.0, 0.0, 0.0, 1.0 + 0.4 * cells, 0.4, 0.4), 0.4)
    return grid, np.array([[1.4, 0.0, 0.0]]), np.array([[1.4, 0.0, 0.2 if cells == 2 else -0.2]])


@st.composite
def scenes(draw):
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    size = draw(st.sampled_from([0.4, 0.5, 1.0]))
    low = draw(st.tuples(*[st.integers(-3, 1)] * 3))
    grid = VoxelGrid((*low, *(a + n * size for a, n in zip(low, shape))), size)
    rays = draw(st.integers(1, 4))
    if draw(st.booleans()):  # on voxel corners, edges and faces
        cell = st.integers(-2, 7)
        units = draw(st.lists(st.tuples(*[cell] * 6), min_size=rays, max_size=rays))
        units = np.array(units, float) * 0.5
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        units = rng.uniform(-2, 7, (rays, 6))
    points = units.reshape(-1, 2, 3) * size + np.array(low)
    return grid, points[:, 0], points[:, 1]


@example(_along_a_face(2))
@example(_along_a_face(1))
@settings(max_examples=150)
@given(scenes())
def test_counts_equal_the_slab_test_of_every_voxel(scene):
    grid, origins, ends = scene
    for origin, end in zip(origins, ends):
        hits, passes = ray_hits_and_passes(grid, [origin], [end])
        end_voxel = np.zeros(grid.shape, bool)
        index = grid.to_index(end)
        if grid.contains(index):
            end_voxel[tuple(index)] = True
        np.testing.assert_array_equal(hits, end_voxel)
        length, _ = overlap(grid, origin, end)
        if np.array_equal(origin, end):
            length = np.full(grid.shape, -1.0)
        assert (passes[(length > TOUCH) & ~end_voxel] == 1).all()
        assert not passes[(length < -TOUCH) | end_voxel].any()
        assert passes.max() <= 1


@settings(max_examples=50)
@given(scenes())
def test_counts_are_the_sum_over_rays(scene):
    grid, origins, ends = scene
    one_by_one = [ray_hits_and_passes(grid, [a], [b]) for a, b in zip(origins, ends)]
    together = ray_hits_and_passes(grid, origins, ends)
    np.testing.assert_array_equal(together, np.sum(one_by_one, axis=0))


@settings(max_examples=100)
@given(scenes(), st.integers(0, 2**32 - 1))
def test_visible_voxels_end_at_the_first_occupied_one(scene, seed):
    grid, origins, ends = scene
    rng = np.random.default_rng(seed)
    # A generic origin: on edges the order of voxels of zero overlap is not defined.
    origin, end = origins[0] + rng.uniform(0.01, 0.02, 3), ends[0] + rng.uniform(0.03, 0.05, 3)
    occupied = rng.random(grid.shape) < 0.2
    reach = float(np.linalg.norm(end - origin))
    visible = visible_voxels(grid, occupied, [origin], [(end - origin) * 3], reach)
    length, first = overlap(grid, origin, end)
    crossed = length > TOUCH
    stop = first[crossed & occupied].min(initial=np.inf)
    expected = crossed & (first <= stop)
    certain = np.abs(length) > TOUCH
    np.testing.assert_array_equal(visible[certain], expected[certain])
