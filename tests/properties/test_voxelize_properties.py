"""Voxelisation does not depend on the order of the points."""

from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops import voxelize
from minkocc.ops.voxelize import DROPPED, dynamic_voxelize, scatter_max, scatter_mean
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((-2.0, -2.0, -1.0, 2.0, 2.0, 1.0), 0.5)
SAMPLES = 3


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 200), seed=st.integers(0, 2**31 - 1))
def test_voxels_and_their_features_ignore_the_order_of_points(count, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 4, generator=generator, dtype=torch.float64) * 6 - 3
    points[torch.rand(count, generator=generator) < 0.05, 0] = torch.nan
    batch = torch.randint(0, 3, (count,), generator=generator)
    coords, voxel = dynamic_voxelize(points, batch, GRID, SAMPLES)

    rows = [tuple(row) for row in coords.tolist()]
    assert rows == sorted(set(rows))
    assert set(voxel.tolist()) - {DROPPED} == set(range(len(coords)))
    index = GRID.to_index(points[:, :3].nan_to_num(99.0))
    assert torch.equal(voxel != DROPPED, GRID.contains(index))
    kept = voxel != DROPPED
    assert torch.equal(coords[voxel[kept], 1:].long(), index[kept])
    assert torch.equal(coords[voxel[kept], 0].long(), batch[kept])

    order = torch.randperm(count, generator=generator)
    shuffled_coords, shuffled = dynamic_voxelize(points[order], batch[order], GRID, SAMPLES)
    assert torch.equal(coords, shuffled_coords)
    assert torch.equal(voxel[order], shuffled)
    with mock.patch.object(voxelize, "_TABLE_LIMIT", 0):  # sorted instead of by a table
        again, of_points = dynamic_voxelize(points, batch, GRID, SAMPLES)
    assert torch.equal(again, coords)
    assert torch.equal(of_points, voxel)
    feats = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    for scatter in (scatter_mean, scatter_max):
        one, two = (
            scatter(f, i, len(coords)) for f, i in ((feats, voxel), (feats[order], shuffled))
        )
        torch.testing.assert_close(one, two)
    for row in range(len(coords)):
        members = feats[voxel == row]
        torch.testing.assert_close(scatter_max(feats, voxel, len(coords))[row], members.amax(0))
        torch.testing.assert_close(scatter_mean(feats, voxel, len(coords))[row], members.mean(0))
