"""Depths that a weak target knows, by hand: three rays along the grid's x axis."""

import numpy as np
import pytest
import torch

from minkocc.evaluation.depth_quality import count_depths, depth_figures
from minkocc.structures.taxonomy import FREE, WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR = 4


def rays(count):
    """Side by side at z = 1 m, each in a row of voxels of its own."""
    eyes = torch.tensor([[0.1, 0.1 + 0.4 * row, 1.1] for row in range(count)]).double()
    return eyes, torch.tensor([1.0, 0.0, 0.0]).double().expand(count, 1, 3)


def scene(weak, truth):
    """Each row's voxels by their distance in metres."""
    seen = np.full(OCC3D_GRID.shape, WEAK_FREE, np.uint8)
    label = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    for array, rows in ((seen, weak), (label, truth)):
        for row, voxels in enumerate(rows):
            for distance, value in voxels.items():
                place = OCC3D_GRID.to_index(np.array([distance, 0.1 + 0.4 * row, 1.1]))
                array[tuple(place)] = value
    return seen, label


@pytest.mark.parametrize(
    ("weak", "truth", "known", "right", "near"),
    [
        ({10: WEAK_OCCUPIED}, {10: CAR}, 1, 1, 0),
        ({10: WEAK_OCCUPIED}, {20: CAR}, 1, 0, 1),
        ({10: WEAK_OCCUPIED}, {}, 1, 0, 1),
        ({20: WEAK_OCCUPIED}, {10: CAR}, 1, 0, 0),
        ({5: WEAK_UNKNOWN, 10: WEAK_OCCUPIED}, {10: CAR}, 0, 0, 0),
        ({10: WEAK_OCCUPIED, 20: WEAK_UNKNOWN}, {10: CAR}, 1, 1, 0),
        ({}, {10: CAR}, 0, 0, 0),
        ({0.5: WEAK_OCCUPIED, 10: WEAK_OCCUPIED}, {10: CAR}, 1, 1, 0),
        ({35: WEAK_OCCUPIED}, {35: CAR}, 0, 0, 0),
    ],
)
def test_one_ray(weak, truth, known, right, near):
    """From 1 to 30 m: what is nearer or further is not met by either."""
    counts = count_depths(*scene([weak], [truth]), *rays(1), (1.0, 30.0))
    assert counts.tolist() == [1, known, right, near]


def test_figures_are_shares_of_what_is_known():
    weak = [{10: WEAK_OCCUPIED}, {10: WEAK_OCCUPIED}, {10: WEAK_UNKNOWN}]
    truth = [{10: CAR}, {20: CAR}, {10: CAR}]
    figures = depth_figures(count_depths(*scene(weak, truth), *rays(3), (1.0, 60.0)))
    assert figures == {"depth_known": 66.67, "depth_right": 50.0, "depth_too_near": 50.0}
    nothing = depth_figures(count_depths(*scene([{}], [{}]), *rays(1), (1.0, 60.0)))
    assert nothing == {"depth_known": 0.0, "depth_right": None, "depth_too_near": None}
