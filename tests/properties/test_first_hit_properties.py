"""The ray caster of RayIoU against a marcher that shares nothing with it, on random grids."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops.first_hit import NEVER_INSIDE, VoxelRays, first_hits, first_hits_torch
from tests.golden import brute_force_rays

SHAPE = (6, 5, 4)
grids = st.builds(
    lambda seed, share: np.random.default_rng(seed).random(SHAPE) < share,
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.05, 0.3, 0.9]),
)


@st.composite
def random_rays(draw, low=-3.0):
    """Rays from in and around the grid, some of them along one or two axes only."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 20))
    starts = rng.uniform(low, np.array(SHAPE) + 3.0, (count, 3)).astype(np.float32)
    axes = np.array(draw(st.tuples(*(st.booleans(),) * 3).filter(any)))
    steps = rng.uniform(0.2, 1.0, (count, 3)) * rng.choice([-1.0, 1.0], (count, 3)) * axes
    return VoxelRays(starts, (starts + steps).astype(np.float32))


# The published caster begins in int(start), which is towards zero: beyond the grid's low faces that
# is another voxel than the start's own. Starts there have their own test.
@given(grids, random_rays(low=0.0))
def test_first_voxel_and_exit_face(occupied, rays):
    index, distance, gap = brute_force_rays.first_hits(occupied, *rays)
    got, depth = first_hits(rays, occupied)
    clear = gap > 1e-6  # where faces are crossed in one point, either voxel is right
    entered = clear & (distance != NEVER_INSIDE)
    voxels = np.stack(np.unravel_index(got, SHAPE), axis=1)
    np.testing.assert_array_equal(voxels[entered], index[entered])
    np.testing.assert_allclose(depth[entered], distance[entered], rtol=1e-5, atol=1e-5)
    assert (got[clear & ~entered] == 0).all()
    assert (depth[clear & ~entered] == NEVER_INSIDE).all()


@settings(max_examples=30)
@given(grids, random_rays())
def test_torch_gives_the_same_bits(occupied, rays):
    index, distance = first_hits(rays, occupied)
    torch_index, torch_distance = first_hits_torch(rays, torch.from_numpy(occupied))
    assert np.array_equal(torch_index.numpy(), index)
    assert np.array_equal(torch_distance.numpy(), distance)
