"""Sweeps that see through voxels, against every ray tried on every voxel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops.see_through import sweep_counts
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((-1.0, -1.0, -0.5, 1.0, 1.5, 1.0), 0.5)
LOW = np.array(GRID.point_cloud_range[:3])


def voxel_of(point):
    index = np.floor((point - LOW) / 0.5).astype(int)
    return tuple(index) if (index >= 0).all() and (index < GRID.shape).all() else None


def crosses(origin, end, voxel):
    """Whether the segment is inside the voxel for some of its length."""
    low = LOW + np.array(voxel) * 0.5
    with np.errstate(divide="ignore"):
        a, b = (low - origin) / (end - origin), (low + 0.5 - origin) / (end - origin)
    first, last = np.minimum(a, b).max(), np.maximum(a, b).min()
    return max(first, 0.0) < min(last, 1.0)


def sees_through(origin, end, voxel, top):
    length = np.linalg.norm(end - origin)
    direction = (end - origin) / length
    centre = LOW + (np.array(voxel) + 0.5) * 0.5
    along = (centre - origin) @ direction
    nearest = origin + along * direction
    return (
        crosses(origin, end, voxel)
        and np.linalg.norm(centre - nearest) <= 0.25  # half a voxel
        and nearest[2] <= top - 0.05  # a tenth of one
        and along <= length - 0.75  # one and a half
    )


def brute_force(origins, sweeps):
    top, returns = np.full(GRID.shape, -np.inf), np.zeros(GRID.shape, int)
    own = []
    for ends in sweeps:
        own.append(set())
        for end in ends:
            voxel = voxel_of(end)
            if voxel is not None:
                own[-1].add(voxel)
                returns[voxel] += 1
                top[voxel] = max(top[voxel], end[2])
    hits, passes = np.zeros((2, *GRID.shape), int)
    for origin, ends, hit in zip(origins, sweeps, own):
        for voxel in map(tuple, np.argwhere(returns)):
            if voxel in hit:
                hits[voxel] += 1
            elif any(sees_through(origin, end, voxel, top[voxel]) for end in ends):
                passes[voxel] += 1
    return returns, hits, passes


@st.composite
def recordings(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 4))
    origins = rng.uniform(-2.5, 2.5, (count, 3))
    return origins, [rng.uniform(-1.6, 2.0, (rng.integers(0, 7), 3)) for _ in range(count)]


@settings(max_examples=150)
@given(recordings())
def test_counts_equal_those_of_every_ray_tried_on_every_voxel(recording):
    counts = sweep_counts(GRID, *recording)
    for got, expected in zip(counts, brute_force(*recording)):
        assert np.array_equal(got, expected)


@given(recordings(), st.randoms())
def test_the_order_of_sweeps_and_of_rays_does_not_matter(recording, random):
    origins, sweeps = recording
    order = list(range(len(sweeps)))
    random.shuffle(order)
    shuffled = [sweeps[i][::-1] for i in order]
    for a, b in zip(
        sweep_counts(GRID, origins, sweeps), sweep_counts(GRID, origins[order], shuffled)
    ):
        assert np.array_equal(a, b)
