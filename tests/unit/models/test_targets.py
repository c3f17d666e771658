import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from minkocc.models.targets import dense_occupancy, level_targets, lookup, occupancy_pyramid


def test_dense_occupancy_inside_and_outside_the_mask():
    semantics = torch.tensor([3, 17, 255, 254, 3, 17, 255, 254], dtype=torch.uint8)
    mask = torch.tensor([True] * 4 + [False] * 4)
    expected = {
        "label": [1, 0, 254, 253, 1, 0, 254, 253],
        "free": [1, 0, 254, 253, 0, 0, 254, 0],
        "ignore": [1, 0, 254, 253, 254, 254, 254, 254],
    }
    for outside, values in expected.items():
        target = dense_occupancy(semantics, mask, outside)
        assert target.tolist() == values
        assert target.dtype == torch.uint8
    assert semantics.tolist() == [3, 17, 255, 254, 3, 17, 255, 254]


def brute_coarse(target, stride):
    shape = [-(-n // stride) for n in target.shape]
    out = np.full(shape, 254, np.uint8)
    for cell in np.ndindex(*shape):
        block = target[tuple(slice(i * stride, (i + 1) * stride) for i in cell)]
        if (block == 1).any():
            out[cell] = 1
        elif (block == 253).any():
            out[cell] = 253
        elif (block == 0).sum() * 2 >= block.size:
            out[cell] = 0
        elif np.isin(block, (0, 255)).sum() * 2 >= block.size:
            out[cell] = 255
    return out


@st.composite
def occupancies(draw):
    """One or two samples on a small grid, mostly of odd sizes, with few occupied voxels."""
    shape = draw(st.tuples(st.integers(1, 2), *[st.integers(1, 11)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    known = draw(st.floats(0.3, 0.7))  # around half of the children, where the rule turns
    occupied = draw(st.sampled_from([0.0, 0.002, 0.1]))
    free, unknown = (1 - occupied) * known, (1 - occupied) * (1 - known)
    ignored = draw(st.floats(0.0, 1.0))
    if draw(st.booleans()):  # around half of the children free or unknown
        free, unknown = free / 2, free / 2
        ignored = 1.0
    dropped = occupied * draw(st.sampled_from([0.0, 0.3]))
    share = [occupied - dropped, dropped, free, unknown * (1 - ignored)]
    values = np.array([1, 253, 0, 255, 254], np.uint8)
    return rng.choice(values, size=shape, p=[*share, 1 - sum(share)])


@given(occupancies())
def test_occupancy_pyramid_against_nested_loops(target):
    kept = target.copy()
    pyramid = occupancy_pyramid(torch.from_numpy(target), 4)
    assert len(pyramid) == 4
    for level, got in enumerate(pyramid):
        assert got.dtype == torch.uint8
        expected = np.stack([brute_coarse(sample, 2**level) for sample in kept])
        assert np.array_equal(got, expected)
    assert np.array_equal(target, kept)


def test_exactly_half_of_the_children_known_free_is_free():
    target = torch.full((1, 8, 8, 8), 255, dtype=torch.uint8)
    target[0, :4] = 0
    assert [int(volume[0, 0, 0, 0]) for volume in occupancy_pyramid(target, 4)] == [0, 0, 0, 0]
    target[0, 3, 7, 7] = 255
    assert int(occupancy_pyramid(target, 4)[3]) == 255
    target[0, 4:] = 254
    assert int(occupancy_pyramid(target, 4)[3]) == 255
    target[0, 3, 7, 7] = 254
    assert int(occupancy_pyramid(target, 4)[3]) == 254


def test_a_coarse_voxel_of_a_dropped_one_is_never_free():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[0, 5, 0, 3] = 253
    assert [int((volume == 253).sum()) for volume in occupancy_pyramid(target, 4)] == [1, 1, 1, 1]
    target[0, 0, 0, 0] = 1  # in the coarsest voxel alone it has company
    assert [int((volume == 253).sum()) for volume in occupancy_pyramid(target, 4)] == [1, 1, 1, 0]


def test_lookup_inside_and_outside():
    volume = torch.arange(16).view(2, 2, 2, 2)
    coords = torch.tensor([[1, 0, 1, 1], [0, 0, 0, -1], [0, 2, 0, 0]], dtype=torch.int32)
    assert lookup(volume, coords, 99).tolist() == [11, 99, 99]


def test_level_targets_are_those_of_the_cell():
    volume = torch.arange(8, dtype=torch.uint8).view(1, 2, 2, 2)
    coords = torch.tensor([[0, 4, 0, 4], [0, 0, 4, 0], [0, -4, 0, 0], [0, 8, 0, 0]])
    assert level_targets(volume, coords.int(), 4).tolist() == [5, 2, 254, 254]
