"""A level's counts against loops over voxels, their children, and candidates."""

from itertools import product

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.evaluation.pruning import count_level, judge_cells
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

STRIDES = st.sampled_from([1, 2, 4, 8])


def loop_over_voxels(label, mask, split, stride):
    """The sets of occupied, visible, and visible occupied cells."""
    sets = set(), set(), set()
    for voxel in np.argwhere((label < 17) | mask).tolist():
        filled, seen = label[tuple(voxel)] < 17, mask[tuple(voxel)]
        for child in product(range(split), repeat=3):
            cell = tuple((v * split + c) // stride for v, c in zip(voxel, child))
            for members, belongs in zip(sets, (filled, seen, filled and seen)):
                if belongs:
                    members.add(cell)
    return sets


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    split=st.integers(1, 4),
    stride=STRIDES,
    seed=st.integers(0, 2**32 - 1),
)
def test_cells_are_those_of_a_loop(shape, split, stride, seed):
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(shape) < 0.1, 4, 17).astype(np.uint8)
    mask = rng.random(shape) < 0.2
    cells = judge_cells(label, mask, split, stride)
    assert cells.shape == tuple(-(-n * split // stride) for n in shape)
    for bit, members in zip((1, 2, 4), loop_over_voxels(label, mask, split, stride)):
        assert {tuple(cell) for cell in np.argwhere(cells & bit).tolist()} == members


@settings(max_examples=30, deadline=None)
@given(split=st.sampled_from([1, 2]), stride=STRIDES, seed=st.integers(0, 2**32 - 1))
def test_counts_are_those_of_a_loop(split, stride, seed):
    rng = np.random.default_rng(seed)
    label, mask = np.full(OCC3D_GRID.shape, 17, np.uint8), np.zeros(OCC3D_GRID.shape, bool)
    corner = (slice(6), slice(6), slice(6))
    label[corner][rng.random((6, 6, 6)) < 0.2] = 4
    mask[corner] = rng.random((6, 6, 6)) < 0.3
    reach = np.stack(np.meshgrid(*[np.arange(-1, 6 * split // stride + 2)] * 3), -1).reshape(-1, 3)
    index = reach[rng.random(len(reach)) < 0.5]
    logits = rng.normal(size=len(index)).astype(np.float32)
    kept = rng.random(len(index)) < 0.5
    level = LevelRecord(
        stride,
        torch.from_numpy(index * stride).int(),
        torch.from_numpy(logits),
        torch.from_numpy(kept),
        int(rng.integers(3)),
        0.4,
    )
    grid = VoxelGrid(OCC3D_GRID.point_cloud_range, 0.4 / split)
    counts = count_level(level, label, mask, grid)

    occupied, visible, both = loop_over_voxels(label, mask, split, stride)
    expected = {
        "visible_occupied": [len(both), 0, 0, 0],
        "occupied": [len(occupied), 0, 0, 0],
        "judged": [0, 0],
        "kept": [0, 0],
    }
    histogram = np.zeros((2, 100), int)
    for cell, logit, keep in zip(map(tuple, index.tolist()), logits.tolist(), kept.tolist()):
        for name, members in (("visible_occupied", both), ("occupied", occupied)):
            for place, counted in ((1, True), (2, logit > 0), (3, keep)):
                expected[name][place] += cell in members and counted
        expected["kept"][cell not in visible] += keep
        if cell in both or cell in visible - occupied:
            histogram[int(cell not in both), int(100 / (1 + np.exp(-logit)))] += 1
            expected["judged"][cell not in both] += keep
    for name, values in expected.items():
        assert counts[name].tolist() == values, name
    assert np.array_equal(counts["histogram"], histogram)
    assert counts["cap"].tolist() == [level.cut > 0, level.cut]
