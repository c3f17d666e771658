"""Other benchmarks' labels on Occ3D's grid, by hand and against a rotated copy."""

import numpy as np
import pytest

from minkocc.datasets.foreign_labels import FORMATS, read_rows, to_occ3d
from minkocc.files.occupancy import LabelError
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, ROAD = 4, 11
# nuScenes' LiDAR looks with its y axis ahead and stands 1.84 m up.
LIDAR2EGO = np.array([[0, 1, 0, 0.94], [-1, 0, 0, 0.0], [0, 0, 1, 1.84], [0, 0, 0, 1.0]])


def rows_of(form, points, classes):
    """The rows of a format for points in the LiDAR's frame."""
    index = form.grid.to_index(np.array(points))
    rows = np.zeros((len(index), 4), np.int64)
    rows[:, form.columns[:3]] = index
    rows[:, form.columns[3]] = classes
    return rows


@pytest.mark.parametrize("name", FORMATS)
def test_a_voxel_lands_where_it_is_in_the_ego_frame(tmp_path, name):
    form = FORMATS[name]
    # 10 m ahead and 2 m left of the LiDAR, 1 m below it.
    np.save(tmp_path / "a.npy", rows_of(form, [[-2.05, 10.05, -1.05]], [CAR]))
    arrays = to_occ3d(read_rows(tmp_path / "a.npy", form), form, LIDAR2EGO)
    semantics = arrays["semantics"]
    where = np.argwhere(semantics == CAR)
    centres = OCC3D_GRID.to_centre(where)
    assert len(where) >= (1 if form.grid.voxel_size > 0.4 else 0)
    ego = np.array([10.05 + 0.94, 2.05, 0.79])
    assert (np.abs(centres - ego) <= 0.5).all()
    assert ((semantics == FREE) | (semantics == CAR)).all()


def test_noise_and_what_lies_outside_is_masked(tmp_path):
    form = FORMATS["surroundocc"]
    np.save(tmp_path / "a.npy", rows_of(form, [[0.1, 5.1, -1.1]], [0]))
    arrays = to_occ3d(read_rows(tmp_path / "a.npy", form), form, LIDAR2EGO)
    mask = arrays["mask_camera"].astype(bool)
    assert (arrays["semantics"] == FREE).all()
    assert (~mask).sum() > 0
    place = tuple(OCC3D_GRID.to_index(np.array([5.1 + 0.94, -0.1, 0.74])))
    assert not mask[place]
    top = OCC3D_GRID.to_centre(np.argwhere(~mask))[:, 2].max()
    assert top > 4.84  # above 3 m over the LiDAR SurroundOcc says nothing
    assert np.array_equal(arrays["mask_camera"], arrays["mask_lidar"])


def test_a_plane_of_road_stays_a_plane(tmp_path):
    """Half a metre becomes 0.4: one layer in, one layer or none of each column out."""
    form = FORMATS["surroundocc"]
    x, y = np.meshgrid(np.arange(-49.75, 50, 0.5), np.arange(-49.75, 50, 0.5))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.74)], 1)
    np.save(tmp_path / "a.npy", rows_of(form, points, ROAD))
    road = to_occ3d(read_rows(tmp_path / "a.npy", form), form, LIDAR2EGO)["semantics"] == ROAD
    assert set(np.unique(road.sum(2))) <= {1, 2}
    assert road.any((0, 1)).sum() <= 2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((3, 3)), r"expected rows of 4 numbers"),
        (np.array([[0.5, 0, 0, 1]]), "no whole ones"),
        (np.array([[200, 0, 0, 1]]), r"voxels to \[200, 0, 0\].*another --format"),
        (np.array([[0, 0, 0, 17]]), "classes to 17"),
        (np.array([{"a": 1}], object), "cannot be read"),
    ],
)
def test_what_is_no_label_is_told(tmp_path, rows, words):
    np.save(tmp_path / "a.npy", rows, allow_pickle=True)
    with pytest.raises(LabelError, match=words):
        read_rows(tmp_path / "a.npy", FORMATS["surroundocc"])
