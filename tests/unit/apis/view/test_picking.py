"""Clicks against a march in small steps."""

import numpy as np
import pytest

from minkocc.apis.view.picking import first_voxel
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.4)


def marched(shown, origin, direction):
    for far in np.arange(0, 40, 0.001):
        index = GRID.to_index(np.array(origin) + far * np.array(direction))
        if GRID.contains(index) and shown[tuple(index)]:
            return tuple(index.tolist())
    return None


@pytest.mark.parametrize("seed", range(12))
def test_the_first_voxel_that_is_shown(seed):
    rng = np.random.default_rng(seed)
    shown = rng.random(GRID.shape) < 0.02
    origin = rng.uniform(-9, 9, 3)
    direction = rng.uniform(-3, 3, 3) - origin
    direction /= np.linalg.norm(direction)
    assert first_voxel(shown, GRID, origin, 5 * direction) == marched(shown, origin, direction)


def test_a_click_beside_the_grid_meets_nothing():
    shown = np.ones(GRID.shape, bool)
    assert first_voxel(shown, GRID, (0, 0, 9), (0, 0, 1)) is None
    assert first_voxel(shown, GRID, (0.1, 0.1, 9), (0, 0, -1)) == (10, 10, 4)
