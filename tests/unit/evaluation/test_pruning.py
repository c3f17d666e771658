"""What is reached, kept and cut by each level: a scene worked by hand."""

import numpy as np
import pytest
import torch

from minkocc.evaluation.protocols import add_counts
from minkocc.evaluation.pruning import (
    LEVEL_FIGURES,
    count_level,
    count_pruning,
    judge_cells,
    summarise_pruning,
    sweep_thresholds,
)
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

FREE, CAR = 17, 4
HALF = VoxelGrid(OCC3D_GRID.point_cloud_range, 0.2)


def scene():
    """Voxels in the cells of stride 2 at x = 0, 2, 4, 6 and 8.

    0: a car that is seen; 2: a car that is not, beside a seen free voxel; 4: seen and free;
    6: a car that is not seen; 8: free and not seen.
    """
    label = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    mask = np.zeros(label.shape, bool)
    label[0, 0, 0], mask[0, 0, 0] = CAR, True
    label[2, 0, 0], mask[3, 1, 1] = CAR, True
    mask[4:6, :2, :2] = True
    label[6, 1, 1] = CAR
    return label, mask


def record(rows, stride=2, cut=0, threshold=0.5):
    """Candidates along x at y = z = 0 from (x, logit, kept)."""
    x, logits, kept = zip(*rows)
    coords = torch.tensor([[i, 0, 0] for i in x], dtype=torch.int32)
    return LevelRecord(stride, coords, torch.tensor(logits), torch.tensor(kept), cut, threshold)


def lists(counts):
    return {name: values.tolist() for name, values in counts.items() if name != "histogram"}


def test_cells_by_hand():
    cells = judge_cells(*scene(), 1, 2)
    assert cells.shape == (100, 100, 8)
    assert cells[:5, 0, 0].tolist() == [7, 3, 2, 1, 0]
    assert np.count_nonzero(cells) == 4
    coarse = judge_cells(*scene(), 1, 8)
    assert (coarse.shape, coarse[0, 0, 0], np.count_nonzero(coarse)) == ((25, 25, 2), 7, 1)


def test_cells_of_a_finer_grid_take_their_voxels_label():
    label, mask = scene()
    fine = judge_cells(label, mask, 2, 1)
    assert fine.shape == (400, 400, 32)
    assert np.array_equal(fine[::2, 1::2, ::2], judge_cells(label, mask, 1, 1))
    assert np.array_equal(judge_cells(label, mask, 2, 4), judge_cells(label, mask, 1, 2))


def test_a_level_by_hand():
    level = record(
        [
            (0, 2.0, True),
            (2, 1.0, True),  # neither right nor wrong: its car is not seen
            (4, -0.5, True),  # above a threshold of 0.3
            (8, 0.5, True),
            (10, -3.0, False),
            (-2, 4.0, False),  # outside the grid
            (200, 4.0, False),
        ],
        cut=3,
        threshold=0.3,
    )
    counts = count_level(level, *scene(), OCC3D_GRID)
    assert lists(counts) == {
        "visible_occupied": [1, 1, 1, 1],
        "occupied": [3, 2, 2, 2],  # the one at x = 6 was never reached
        "judged": [1, 1],
        "kept": [3, 1],
        "candidates": [7],
        "cap": [1, 3],
        "threshold": [300_000],
    }
    # sigmoid(2) = 0.88 is occupied, sigmoid(-0.5) = 0.378 is free; nothing else is either.
    assert np.argwhere(counts["histogram"]).tolist() == [[0, 88], [1, 37]]
    assert all(values.dtype == np.int64 for values in counts.values())


def test_a_pruned_car_is_reached_likely_and_lost():
    level = record([(0, 0.5, False), (6, -1.0, False)], threshold=0.7)
    counts = count_level(level, *scene(), OCC3D_GRID)
    assert counts["visible_occupied"].tolist() == [1, 1, 1, 0]
    assert counts["occupied"].tolist() == [3, 2, 1, 0]
    assert counts["cap"].tolist() == [0, 0]


def test_a_finer_grid_counts_its_own_cells():
    """Of the eight cells of the car's voxel, in a grid of 0.2 m, one is reached."""
    level = record([(1, 2.0, True), (2, 2.0, True)], stride=1)
    counts = count_level(level, *scene(), HALF)
    assert counts["visible_occupied"].tolist() == [8, 1, 1, 1]
    assert counts["kept"].tolist() == [1, 1]


def test_certain_logits_fall_into_the_outer_bins():
    counts = count_level(record([(0, 1e4, True), (4, -1e4, False)]), *scene(), OCC3D_GRID)
    assert np.argwhere(counts["histogram"]).tolist() == [[0, 99], [1, 0]]


def test_a_level_without_candidates():
    empty = LevelRecord(
        1, torch.zeros(0, 3).int(), torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0, 0.5
    )
    counts = count_level(empty, *scene(), OCC3D_GRID)
    assert counts["visible_occupied"].tolist() == [1, 0, 0, 0]
    (level,) = summarise_pruning(count_pruning([empty], *scene(), OCC3D_GRID), 1, 0.4)["levels"]
    assert (level["visible_kept"], level["precision"], level["cut_by_cap"]) == (0.0, None, None)


def two_frames():
    """A frame that meets the cap and one that does not, of two levels each."""
    first = [record([(0, 2.0, True), (4, 1.0, True), (8, 1.0, True)], 2, cut=1, threshold=0.3)]
    first += [record([(0, -1.0, False), (4, 3.0, True)], 1, threshold=0.6)]
    second = [record([(4, -2.0, False)], 2, threshold=0.3), record([(0, 1.0, True)], 1, 0, 0.6)]
    return [count_pruning(levels, *scene(), OCC3D_GRID) for levels in (first, second)]


def test_summary_by_hand():
    summary = summarise_pruning(add_counts(two_frames()), 2, 0.4)
    assert (summary["protocol"], summary["num_frames"]) == ("pruning", 2)
    coarse, fine = summary["levels"]
    assert coarse == {
        "stride": 2,
        "cell_metres": 0.8,
        "threshold": 0.3,
        "visible_cells": 1.0,
        "visible_reached": 50.0,
        "visible_likely": 50.0,
        "visible_kept": 50.0,
        "occupied_cells": 3.0,
        "occupied_reached": 16.6667,
        "occupied_likely": 16.6667,
        "occupied_kept": 16.6667,
        "precision": 50.0,
        "candidates": 2.0,
        "kept_inside": 1.0,
        "kept_outside": 0.5,
        "frames_at_cap": 50.0,
        "cut_by_cap": 25.0,
    }
    assert (fine["stride"], fine["cell_metres"], fine["threshold"]) == (1, 0.4, 0.6)
    assert (fine["visible_reached"], fine["visible_likely"], fine["visible_kept"]) == (100, 50, 50)
    assert list(coarse)[2:] == list(LEVEL_FIGURES)


def test_sweep_by_hand():
    """sigmoid: 2.0 is 0.88, 1.0 is 0.73, -1.0 is 0.27, 3.0 is 0.95, -2.0 is 0.12."""
    coarse, fine = sweep_thresholds(add_counts(two_frames()), 2)
    assert (coarse["stride"], coarse["threshold_in_use"]) == (2, 0.3)
    assert (fine["stride"], fine["threshold_in_use"]) == (1, 0.6)
    assert coarse["threshold"] == [round(i / 100, 2) for i in range(100)]
    at = {t: i for i, t in enumerate(coarse["threshold"])}
    values = [
        (coarse, 0.0, 50.0, 33.3333, 25.0),  # 1 of 2 cells, 2 free ones
        (coarse, 0.5, 50.0, 50.0, 33.3333),
        (coarse, 0.8, 50.0, 100.0, 50.0),
        (coarse, 0.95, 0.0, None, 0.0),
        (fine, 0.2, 100.0, 66.6667, 66.6667),
        (fine, 0.5, 50.0, 50.0, 33.3333),
        (fine, 0.9, 0.0, 0.0, 0.0),
    ]
    for level, threshold, *expected in values:
        found = [level[name][at[threshold]] for name in ("recall", "precision", "iou")]
        assert found == expected, (level["stride"], threshold)


def test_labels_of_another_grid_are_refused():
    label, mask = scene()
    with pytest.raises(ValueError, match=r"semantics has shape \(100, 200, 16\), expected"):
        count_level(record([(0, 1.0, True)]), label[:100], mask, OCC3D_GRID)
    with pytest.raises(ValueError, match=r"mask has shape"):
        count_level(record([(0, 1.0, True)]), label, mask[:100], OCC3D_GRID)
