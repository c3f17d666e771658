import subprocess
import sys

import numpy as np
import pytest
import torch

from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid


def test_occ3d_grid_has_its_published_shape():
    assert OCC3D_GRID.shape == (200, 200, 16)
    assert OCC3D_GRID.num_voxels == 640_000


def test_index_covers_half_open_cells():
    grid = VoxelGrid((0, 0, 0, 4, 4, 4), 1.0)
    points = np.array([[0.0, 0.999, 1.0], [3.999, 4.0, -0.001]])
    index = grid.to_index(points)
    assert index.tolist() == [[0, 0, 1], [3, 4, -1]]
    assert grid.contains(index).tolist() == [True, False]


def test_numpy_and_torch_agree_and_centres_invert():
    rng = np.random.default_rng(0)
    points = rng.uniform(-45, 45, (1000, 3)).astype(np.float32)
    index = OCC3D_GRID.to_index(points)
    assert np.array_equal(OCC3D_GRID.to_index(torch.from_numpy(points)).numpy(), index)
    assert np.array_equal(OCC3D_GRID.to_index(OCC3D_GRID.to_centre(index)), index)
    centres = OCC3D_GRID.to_centre(torch.from_numpy(index))
    np.testing.assert_allclose(centres, OCC3D_GRID.to_centre(index), atol=1e-5)


def test_size_that_does_not_divide_the_range_is_refused():
    with pytest.raises(ValueError, match=r"voxel_size 0\.3 does not divide"):
        VoxelGrid((-40, -40, -1, 40, 40, 5.4), 0.3)


@pytest.mark.parametrize(("size", "ratio"), [(0.4, 1), (0.2, 2), (0.1, 4)])
def test_ratio_to_the_label_grid(size, ratio):
    assert VoxelGrid(OCC3D_GRID.point_cloud_range, size).ratio_to(OCC3D_GRID) == ratio


def test_coarser_model_is_refused():
    with pytest.raises(ValueError, match=r"must divide 0\.4"):
        VoxelGrid(OCC3D_GRID.point_cloud_range, 0.8).ratio_to(OCC3D_GRID)


def test_what_only_works_with_arrays_starts_without_torch():
    code = "import sys, minkocc.synthetic.writing.writer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
