"""What is believed of accumulated returns, on scenes worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from minkocc.datasets.weak_occupancy import WeakRules, accumulate_sweeps, mark_sky
from minkocc.files.rig import NUSCENES_BOX, Mount
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, -0.2, 0.0, 8.0, 0.2, 1.2), 0.4)  # a row of 20 voxels, three high
SENSOR = np.array([0.2, 0.0, 0.6])
# A vehicle that is nowhere near.
FAR = Mount(np.eye(4) + np.pad([[1000.0]], ((0, 3), (3, 0))), NUSCENES_BOX)


def write(folder, sweeps):
    """Sources of sweeps, each a list of ends seen from ``SENSOR``, the present one first."""
    lidar2ego = np.eye(4)
    lidar2ego[:3, 3] = SENSOR
    sources = []
    for number, ends in enumerate(sweeps):
        points = np.zeros((len(ends), 5), np.float32)
        points[:, :3] = np.array(ends) - SENSOR
        points.tofile(folder / f"{number}.bin")
        sources.append({"lidar_path": f"{number}.bin", "lidar2ego": lidar2ego})
    return sources


def row(folder, sweeps, **rules):
    """The middle row of the target."""
    weak = accumulate_sweeps(write(folder, sweeps), folder, FAR, GRID, WeakRules(**rules))
    return weak[:, 0, 1].tolist()


WALL = [7.0, 0.0, 0.6]  # in voxel 17
CAR = [4.2, 0.0, 0.75]  # in voxel 10, higher than the ray to the wall, and gone in other sweeps
FREE, HIT, UNKNOWN = [0], [1], [255]


def test_every_hit_counts_by_default(tmp_path):
    seen = row(tmp_path, [[WALL]] * 5 + [[CAR]])
    assert seen == FREE * 10 + HIT + FREE * 6 + HIT + UNKNOWN * 2


def test_what_later_sweeps_see_through_is_free(tmp_path):
    gone = FREE * 17 + HIT + UNKNOWN * 2
    stays = FREE * 10 + HIT + FREE * 6 + HIT + UNKNOWN * 2
    assert row(tmp_path, [[WALL]] * 5 + [[CAR]], see_through=4) == gone
    assert row(tmp_path, [[WALL]] * 5 + [[CAR]], see_through=6) == stays
    assert row(tmp_path, [[WALL]] * 8 + [[CAR]] * 2, see_through=4) == gone
    assert row(tmp_path, [[WALL]] * 7 + [[CAR]] * 2, see_through=4) == stays
    # Never on the word of one or two sweeps.
    assert row(tmp_path, [[WALL]] * 2 + [[CAR]], see_through=1) == stays
    assert row(tmp_path, [[WALL]] * 3 + [[CAR]], see_through=1) == gone


def test_what_the_present_sweep_hits_stays(tmp_path):
    stays = FREE * 10 + HIT + FREE * 6 + HIT + UNKNOWN * 2
    assert row(tmp_path, [[CAR]] + [[WALL]] * 9, see_through=2) == stays


def test_a_sweep_that_hits_and_passes_a_voxel_is_a_hit(tmp_path):
    # A pole: some rays of every sweep end on it, others pass beside it.
    stays = FREE * 10 + HIT + FREE * 6 + HIT + UNKNOWN * 2
    assert row(tmp_path, [[WALL]] + [[CAR, WALL, WALL]] * 9, see_through=1) == stays


def test_a_ray_over_the_highest_return_sees_through_nothing(tmp_path):
    low = [4.2, 0.0, 0.6]  # in voxel 10 too, and no lower than it passes the ray to the wall
    stays = FREE * 10 + HIT + FREE * 6 + HIT + UNKNOWN * 2
    assert row(tmp_path, [[WALL]] * 9 + [[low]], see_through=1) == stays


def test_what_lies_just_before_a_return_is_the_surface_it_hits(tmp_path):
    near, behind = CAR, [4.5, 0.0, 0.6]  # voxels 10 and 11
    stays = FREE * 10 + HIT * 2 + UNKNOWN * 8
    assert row(tmp_path, [[behind]] * 9 + [[near]], see_through=1) == stays


def test_fewer_hits_than_needed_are_unknown(tmp_path):
    sweeps = [[WALL], [WALL, CAR]]
    assert row(tmp_path, sweeps, min_hits=2) == (FREE * 10 + UNKNOWN + FREE * 6 + HIT + UNKNOWN * 2)
    assert 1 not in row(tmp_path, sweeps, min_hits=3)


@pytest.mark.parametrize("bad", [{"min_hits": 0}, {"see_through": 0}, {"see_through": -1.0}])
def test_impossible_rules_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} .* is not positive"):
        WeakRules(**bad)


# The sky


CAM2IMG = np.array([[40.0, 0.0, 32.0], [0.0, 40.0, 32.0], [0.0, 0.0, 1.0]])
EGO2CAM = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0.62], [1, 0, 0, 0], [0, 0, 0, 1]])  # at 0.62 m


def sky_target(labels):
    weak = np.full(GRID.shape, 255, np.uint8)
    weak[5, 0, 2] = 1
    mark_sky(weak, GRID, labels, CAM2IMG, EGO2CAM)
    return weak


def test_rays_of_sky_pixels_are_free_and_take_no_hit_away():
    labels = np.zeros((64, 64), np.uint8)
    labels[:33] = 18  # above the horizon, which is at row 32
    weak = sky_target(labels)
    # The lowest pixel that is used is in row 24 and 7.5 pixels over the horizon: its ray is at
    # 0.8 m after 0.96 m and at 1.2 m after 3.09 m. Steeper ones see what is nearer.
    assert weak[:, 0, 2].tolist() == FREE * 5 + HIT + FREE * 2 + UNKNOWN * 12
    assert weak[:, 0, 1].tolist() == FREE * 3 + UNKNOWN * 17
    assert weak[:, 0, 0].tolist() == UNKNOWN * 20


def test_pixels_near_something_else_are_not_trusted():
    labels = np.zeros((64, 64), np.uint8)
    labels[::8] = 18  # no neighbourhood is all sky
    assert (sky_target(labels) == 0).sum() == 0
    assert (sky_target(np.zeros((64, 64), np.uint8)) == 0).sum() == 0
    assert (sky_target(np.full((64, 64), 18, np.uint8)) == 0).sum() > 3


def test_a_missing_sweep_is_named(tmp_path):
    sources = write(tmp_path, [[WALL]])
    Path(tmp_path / "0.bin").unlink()
    with pytest.raises(ValueError, match=r"0\.bin cannot be read"):
        accumulate_sweeps(sources, tmp_path, FAR, GRID)
