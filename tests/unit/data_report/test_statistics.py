"""Figures of arrays small enough to count by hand."""

import numpy as np
import pytest

from minkocc.data_report.statistics import (
    PUBLISHED_SHARES,
    CloudCounts,
    cloud_statistics,
    label_histogram,
    label_statistics,
    percentiles,
    reference_clouds,
    reference_sweeps,
    spread,
    sweep_counts,
    sweep_statistics,
    voxel_counts,
)
from minkocc.datasets.transforms.loading import InputError
from minkocc.structures.taxonomy import FREE, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, BUS, ROAD = (class_id(name) for name in ("car", "bus", "driveable_surface"))


def label(cells):
    """A label of free voxels but for ``{(x, y, z): (class, in mask_lidar, in mask_camera)}``."""
    semantics = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    lidar, camera = (np.zeros(OCC3D_GRID.shape, bool) for _ in range(2))
    for place, values in cells.items():
        semantics[place], lidar[place], camera[place] = values
    return {"voxel_semantics": semantics, "mask_lidar": lidar, "mask_camera": camera}


@pytest.fixture
def labels():
    first = label(
        {
            (0, 0, 0): (ROAD, True, True),
            (1, 0, 0): (ROAD, True, False),
            (2, 0, 0): (CAR, True, True),
            (3, 0, 0): (CAR, False, False),
            (4, 0, 0): (FREE, True, True),
            (5, 0, 0): (FREE, True, False),
            (6, 0, 0): (FREE, True, False),
        }
    )
    second = label({(9, 9, 9): (BUS, True, True), (9, 9, 8): (FREE, True, True)})
    return [first, second]


def test_histogram_of_a_label(labels):
    histogram = label_histogram(labels[0])
    assert histogram.shape == (18, 2, 2)
    assert histogram.sum() == OCC3D_GRID.num_voxels
    assert histogram[ROAD].tolist() == [[0, 0], [1, 1]]
    assert histogram[CAR].tolist() == [[1, 0], [0, 1]]
    assert histogram[FREE, 1].tolist() == [2, 1]


def test_class_shares_and_masks(labels):
    found = label_statistics([label_histogram(each) for each in labels], ["a", "b"])
    assert (found["frames"], found["scenes"]) == (2, 2)
    everything, seen = found["class_share"]["all"], found["class_share"]["mask_camera"]
    assert [everything[n] for n in ("driveable_surface", "car", "bus")] == [0.4, 0.4, 0.2]
    assert [seen[n] for n in ("driveable_surface", "car", "bus")] == [1 / 3, 1 / 3, 1 / 3]
    assert sum(everything.values()) == pytest.approx(1)
    assert everything["bicycle"] == 0
    assert found["occupied_voxels"] == {"mean": 2.5, "min": 1, "max": 4}
    assert found["occupied_share"]["max"] == pytest.approx(4 / 640_000)
    assert found["mask_lidar"] == {
        "all": {"mean": 4, "min": 2, "max": 6},
        "occupied": {"mean": 2, "min": 1, "max": 3},
        "free": {"mean": 2, "min": 1, "max": 3},
    }
    assert found["mask_camera"] == {
        "all": {"mean": 2.5, "min": 2, "max": 3},
        "occupied": {"mean": 1.5, "min": 1, "max": 2},
        "free": {"mean": 1, "min": 1, "max": 1},
    }


def test_a_scene_counts_once_however_many_frames_hold_the_class(labels):
    histograms = [label_histogram(each) for each in (*labels, labels[0])]
    found = label_statistics(histograms, ["a", "a", "b"])
    assert found["scenes"] == 2
    assert found["scenes_with_class"]["car"] == 2
    assert found["scenes_with_class"]["bus"] == 1
    assert found["scenes_with_class"]["bicycle"] == 0


def test_a_label_without_anything_has_no_shares():
    found = label_statistics([label_histogram(label({}))], ["a"])
    assert set(found["class_share"]["all"].values()) == {None}
    assert found["occupied_voxels"]["mean"] == 0


def test_voxels_at_three_sizes():
    # In one voxel of 0.4 m: eight of 0.2 m hold a point each, the first of them one more,
    # in another voxel of 0.1 m. Then a second of 0.4 m, and two points outside the range.
    corners = np.array([[x, y, z] for x in (0, 0.2) for y in (0, 0.2) for z in (0, 0.2)]) + 0.05
    own = np.array([[0.15, 0.05, 0.05], [0.16, 0.06, 0.06], [10.1, 0.05, 0.05]])
    outside = np.array([[40.01, 0, 0], [0, 0, 5.5]])
    points = np.concatenate([corners, own]) - [0, 0, 0.2]  # the range begins at z = -1
    assert voxel_counts(np.concatenate([points, outside])) == (2, 9, 10)
    assert voxel_counts(np.zeros((0, 3))) == (0, 0, 0)


def sweep(*rows):
    return np.array(rows, np.float32).reshape(-1, 5)


def test_sweep_by_distance_and_ring():
    points = sweep(
        (0.5, 0, 0, 200, 0),  # the vehicle
        (0, 2.0, -1, 200, 0),  # beyond 1 m, still the vehicle
        (3.0, 4.0, 0, 10, 1),
        (0, 6.0, 8.0, 20, 1),
        (20.0, 0, 0, 30, 31),
        (0, -30.0, 0, 300, 31),  # brighter than a byte holds
    )
    found = sweep_statistics([sweep_counts(points, np.eye(4))])
    assert found["sweeps"] == 1
    assert found["points"] == {"mean": 6, "min": 6, "max": 6}
    assert found["points_beyond_1_m"]["mean"] == 5
    assert found["points_beyond_2.5_m"]["mean"] == 4
    assert len(found["ring_share"]) == 32
    assert (found["ring_share"][1], found["ring_share"][31]) == (0.5, 0.5)
    assert sum(found["ring_share"]) == 1
    assert found["intensity_percentiles"] == {"5": 10, "25": 10, "50": 20, "75": 30, "95": 255}
    assert found["range_percentiles"] == {"5": 5, "25": 5, "50": 10, "75": 20, "95": 30}
    assert found["voxels"]["0.4"]["mean"] == 3  # one lies above the range


def test_sweep_is_counted_in_the_frame_it_is_moved_to():
    lifted = np.eye(4)
    lifted[2, 3] = -6.0
    points = sweep((0, 6.0, 8.0, 20, 1))
    assert sweep_counts(points, np.eye(4)).voxels == (0, 0, 0)
    assert sweep_counts(points, lifted).voxels == (1, 1, 1)


def test_a_sweep_of_the_vehicle_alone():
    found = sweep_statistics([sweep_counts(sweep((0.5, 0, 0, 200, 0)), np.eye(4))])
    assert set(found["intensity_percentiles"].values()) == {None}
    assert sum(found["ring_share"]) == 0


def test_a_sensor_of_more_rings():
    found = sweep_statistics([sweep_counts(sweep((5, 0, 0, 1, 63)), np.eye(4))])
    assert found["ring_share"] == [0.0] * 63 + [1.0]


def test_percentiles_agree_with_sorting():
    values = np.random.default_rng(0).integers(0, 50, 1001)
    found = percentiles(np.bincount(values, minlength=50), 1.0)
    for percent, value in found.items():
        assert value == np.percentile(values, int(percent), method="inverted_cdf")


def test_spread_and_clouds():
    assert spread([1, 2, 6]) == {"mean": 3, "min": 1, "max": 6}
    found = cloud_statistics([CloudCounts(10, (1, 2, 3)), CloudCounts(20, (3, 4, 5))])
    assert found["clouds"] == 2
    assert found["points_beyond_2.5_m"]["mean"] == 15
    assert found["voxels"] == {
        "0.4": {"mean": 2, "min": 1, "max": 3},
        "0.2": {"mean": 3, "min": 2, "max": 4},
        "0.1": {"mean": 4, "min": 3, "max": 5},
    }


def test_published_shares_are_shares():
    assert sum(PUBLISHED_SHARES.values()) == pytest.approx(1)
    assert PUBLISHED_SHARES["driveable_surface"] == pytest.approx(0.27, abs=0.01)


def test_references_are_mounted_as_on_the_vehicle(tmp_path):
    # nuScenes' LiDAR looks to the right: its y is the vehicle's x; it sits 1.84 m high.
    rows = np.array([[0, 10, -1.64, 9, 0], [0, 0, 0, 9, 0], [0, 38, -1, 9, 0], [0, 60, -1, 9, 0]])
    cloud, single = tmp_path / "cloud.bin", tmp_path / "sweep.pcd.bin"
    rows.astype(np.float16).tofile(cloud)
    rows.astype(np.float32).tofile(single)
    for found in (reference_clouds([cloud]), reference_sweeps([single])):
        assert found["points_beyond_2.5_m"]["mean"] == 3
        assert found["voxels"]["0.4"]["mean"] == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 8, np.full(5, np.nan, np.float16).tobytes()])
def test_a_damaged_cloud_is_named(tmp_path, content):
    path = tmp_path / "cloud.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cloud.bin holds .* expected finite rows of five"):
        reference_clouds([path])


def test_a_missing_cloud_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.bin cannot be read"):
        reference_clouds([tmp_path / "nowhere.bin"])
