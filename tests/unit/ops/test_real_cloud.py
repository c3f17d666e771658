"""Voxels and sparse operations of a real cloud of ten sweeps, beside what they replaced."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from minkocc.ops.ray_cast import ray_hits_and_passes
from minkocc.ops.see_through import sweep_counts
from minkocc.ops.sparse import get_backend, voxel_set
from minkocc.ops.voxelize import dynamic_voxelize
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.ops import search_reference as former

CLOUD = Path(__file__).parents[4] / "shared/data/nuscenes_10_sweeps/points_f16_xyzit.bin"
RANGE = (-40.0, -40.0, -1.0, 40.0, 40.0, 5.4)
LIDAR_HEIGHT = 1.84
BACKENDS = ["torch", "torch, searching"] + ["minkowski"] * bool(find_spec("MinkowskiEngine"))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not CLOUD.is_file(), reason="the real cloud is not on this machine"),
]


@pytest.fixture(scope="module", params=[0.4, 0.2, 0.1])
def voxels(request):
    """(grid, points, voxelization)"""
    points = torch.from_numpy(np.fromfile(CLOUD, np.float16).reshape(-1, 5).astype(np.float32))
    points[:, 2] += LIDAR_HEIGHT
    grid = VoxelGrid(RANGE, request.param)
    return grid, points, dynamic_voxelize(points, torch.zeros(len(points)).long(), grid, 1)


def test_voxels_are_those_of_sorting(voxels):
    grid, points, found = voxels
    coords, point2voxel = former.voxelize(points, grid)
    assert torch.equal(found.coords[:, 1:].long(), coords)
    assert torch.equal(found.point2voxel, point2voxel)


@pytest.fixture(scope="module")
def searched(voxels):
    """Down, up with a skip, and pruned, by searching.

    Returns:
        (features and kernels, coordinates in the order of their keys, values, gradients)
    """
    grid, _, found = voxels
    generator = torch.Generator().manual_seed(0)
    shapes = ((len(found.coords), 2), (27, 2, 3), (8, 3, 3), (27, 3, 3))
    inputs = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
    feats, stem, down, up = inputs
    coords = found.coords.long()
    _, x = former.convolve(feats, coords, stem, 3, 1, 1)
    low, x_low = former.convolve(x, coords, down, 2, 1, 2)
    fine, x_fine = former.generate(x_low, low, up, 3, 2, grid.shape)
    union, out = former.add(x_fine, fine, x, coords)
    rows = (union.sum(1) % 3 == 0).nonzero().squeeze(1)
    rows = rows[former.keys_of(union[rows]).argsort()]
    kept, values = union[rows], out[rows]
    gradients = torch.autograd.grad((values * pattern(kept, values.shape[1])).sum(), inputs)
    return inputs, kept, values.detach(), gradients


@pytest.mark.parametrize("name", BACKENDS)
def test_sparse_operations_are_those_of_searching(voxels, searched, name, monkeypatch):
    """The ways of the network, values and gradients."""
    grid, _, found = voxels
    (feats, *kernels), coords, values, gradients = searched
    backend = get_backend(name.partition(",")[0])
    stem, down = backend.Conv3d(2, 3, 3), backend.Conv3d(3, 3, 2, stride=2)
    up = backend.GenerativeConvTranspose3d(3, 3, 3)
    with torch.no_grad():
        for layer, kernel in zip((stem, down, up), kernels):
            layer.kernel.copy_(kernel)
    if name.endswith("searching"):
        monkeypatch.setattr(voxel_set, "TABLE_LIMIT", 0)
    x = stem(backend.tensor(feats, found.coords, bounds=grid.shape))
    out = backend.add(up(down(x)), x)
    kept = backend.prune(out, out.coords.sum(1) % 3 == 0)
    order = former.keys_of(kept.coords).argsort()
    assert torch.equal(kept.coords[order].long(), coords)
    scale = values.abs().max()
    torch.testing.assert_close(kept.feats[order], values, rtol=0, atol=1e-5 * scale)
    weights = pattern(kept.coords, kept.feats.shape[1])
    inputs = [feats, stem.kernel, down.kernel, up.kernel]
    got = torch.autograd.grad((kept.feats * weights).sum(), inputs)
    for mine, reference in zip(got, gradients):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4 * reference.abs().max())


def pattern(coords, channels):
    """Output weights that depend on the place alone, not on the order of the rows."""
    phase = former.keys_of(coords)[:, None] % 9973 + torch.arange(channels)
    return torch.sin(phase.float())


def test_see_through_leaves_a_real_map_alone():
    """Ten sweeps of half a second: what stands still is hit in each, and rays cross most of it."""
    cloud = np.fromfile(CLOUD, np.float16).reshape(-1, 5).astype(np.float64)
    lags = np.unique(cloud[:, 4])
    sweeps = [cloud[cloud[:, 4] == lag, :3] + (0, 0, LIDAR_HEIGHT) for lag in lags]
    grid = VoxelGrid(RANGE, 0.4)
    origins = np.tile([0.0, 0.0, LIDAR_HEIGHT], (len(sweeps), 1))
    counts = sweep_counts(grid, origins, sweeps)
    _, crossed = ray_hits_and_passes(grid, origins[:1], np.concatenate(sweeps))
    hit = counts.hits > 0
    assert (hit & (crossed > 0)).sum() > 0.85 * hit.sum()
    gone = hit & (counts.passes >= np.maximum(3, 4 * counts.hits))
    assert gone.sum() <= 0.02 * hit.sum()
