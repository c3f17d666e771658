"""Voxelisation and scattering, by hand."""

import pytest
import torch

from minkocc.ops.voxelize import DROPPED, dynamic_voxelize, scatter_max, scatter_mean
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((-1.0, 0.0, 0.0, 1.0, 1.5, 1.0), 0.5)  # 4 x 3 x 2
SAMPLES = 2


def test_points_go_to_their_voxels():
    points = torch.tensor(
        [
            [0.9, 1.4, 0.9, 7.0],
            [-1.0, 0.0, 0.0, 7.0],  # lower corner: inside
            [1.0, 0.2, 0.2, 7.0],  # upper face: outside
            [-0.6, 0.4, 0.1, 7.0],  # same voxel as the second
            [-0.6, 0.4, 0.1, 7.0],  # of another sample
        ]
    )
    coords, point2voxel = dynamic_voxelize(points, torch.tensor([0, 0, 0, 0, 1]), GRID, SAMPLES)
    assert coords.tolist() == [[0, 0, 0, 0], [0, 3, 2, 1], [1, 0, 0, 0]]
    assert coords.dtype == torch.int32
    assert point2voxel.tolist() == [1, 0, DROPPED, 0, 2]
    assert point2voxel.dtype == torch.long


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("column", [0, 2, 3])
def test_points_that_are_not_finite_are_dropped(bad, column):
    points = torch.full((2, 4), 0.25)
    points[1, column] = bad
    coords, point2voxel = dynamic_voxelize(points, torch.zeros(2, dtype=torch.int32), GRID, SAMPLES)
    assert coords.tolist() == [[0, 2, 0, 0]]
    assert point2voxel.tolist() == [0, DROPPED]


@pytest.mark.parametrize("points", [torch.zeros(0, 5), torch.full((3, 5), 9.0)])
def test_no_point_inside(points):
    coords, point2voxel = dynamic_voxelize(points, torch.zeros(len(points)).long(), GRID, SAMPLES)
    assert coords.shape == (0, 4)
    assert (point2voxel == DROPPED).all()
    assert scatter_mean(points, point2voxel, 0).shape == (0, 5)
    assert scatter_max(points, point2voxel, 0).shape == (0, 5)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="batch_idx"):
        dynamic_voxelize(torch.zeros(3, 4), torch.zeros(2).long(), GRID, SAMPLES)
    with pytest.raises(ValueError, match="C >= 3"):
        dynamic_voxelize(torch.zeros(3, 2), torch.zeros(3).long(), GRID, SAMPLES)


def test_scatter_by_hand():
    feats = torch.tensor([[1.0, -4.0], [3.0, -2.0], [9.0, 9.0], [-5.0, 0.0]])
    index = torch.tensor([2, 2, DROPPED, 0])
    assert scatter_mean(feats, index, 4).tolist() == [[-5, 0], [0, 0], [2, -3], [0, 0]]
    assert scatter_max(feats, index, 4).tolist() == [[-5, 0], [0, 0], [3, -2], [0, 0]]


@pytest.mark.parametrize("scatter", [scatter_mean, scatter_max])
def test_scatter_gradients(scatter):
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(12, 3, generator=generator, dtype=torch.float64).requires_grad_()
    index = torch.randint(-1, 4, (12,), generator=generator)
    assert torch.autograd.gradcheck(lambda x: scatter(x, index, 6), feats)


def test_maximum_of_zero_keeps_its_gradient():
    # After a ReLU most maxima are 0.
    feats = torch.tensor([[0.0], [-1.0], [2.0], [2.0]], requires_grad=True)
    out = scatter_max(feats, torch.tensor([0, 0, 1, 1]), 3)
    out.sum().backward()
    assert out[:, 0].tolist() == [0, 2, 0]
    assert feats.grad[:, 0].tolist() == [1, 0, 0.5, 0.5]


def test_mean_of_many_in_half_precision():
    feats = torch.ones(5000, 1, dtype=torch.bfloat16)
    mean = scatter_mean(feats, torch.zeros(5000).long(), 1)
    assert mean.item() == 1
    assert mean.dtype == torch.bfloat16
    assert scatter_max(feats, torch.zeros(5000).long(), 1).dtype == torch.bfloat16
