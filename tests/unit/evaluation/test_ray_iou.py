"""RayIoU worked by hand: its rays, a wall at a known distance, and the counting."""

import math

import numpy as np
import pytest

from minkocc.evaluation.ray_iou import (
    RayHits,
    cast_rays,
    count_rays,
    hits_of_frame,
    ray_directions,
    ray_iou,
    select_origins,
)
from minkocc.ops.first_hit import voxel_rays
from minkocc.structures.taxonomy import class_id
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, TRUCK, WALL, ROAD, FREE = 4, 10, 15, 11, 17
ORIGIN = [[0.0, 0.2, 1.8]]  # on a voxel face in x, in the middle of a voxel in y and z


def volume():
    return np.full(OCC3D_GRID.shape, FREE, np.uint8)


def hits(classes, depth):
    classes = np.array(classes, np.uint8)
    return RayHits(classes, np.array(depth, np.float32), np.zeros(len(classes), np.int64))


def test_there_are_14040_directions():
    rays = ray_directions()
    assert rays.shape == (14040, 3)
    assert rays.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0, atol=1e-6)


def test_pitches_and_azimuths():
    rays = ray_directions().astype(np.float64).reshape(39, 360, 3)
    pitch = np.arcsin(rays[:, 0, 2])
    # The first ten meet the ground k sensor heights away.
    np.testing.assert_allclose(-1 / np.tan(pitch[:10]), np.arange(1, 11), rtol=1e-5)
    step = math.atan(10) - math.atan(9)
    np.testing.assert_allclose(np.diff(pitch[9:]), step, atol=1e-6)
    assert pitch[-1] >= 0.21 > pitch[-2]
    around = np.arctan2(rays[20, :, 1], rays[20, :, 0]) % (2 * math.pi)
    np.testing.assert_allclose(around, np.deg2rad(np.arange(360)), atol=1e-6)


def test_directions_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        ray_directions()[0] = 0


def test_origins_near_the_vehicle_and_at_most_eight():
    track = np.stack([np.arange(-60.0, 60.0, 3.0), np.zeros(40), np.full(40, 1.8)], axis=1)
    kept = select_origins(track)
    # |x| < 39 leaves -36 .. 36, 25 places; linspace(0, 24, 8) = 0, 3.43, 6.86, ... rounded.
    np.testing.assert_array_equal(kept[:, 0], -36 + 3 * np.array([0, 3, 7, 10, 14, 17, 21, 24]))
    corner = [[38.0, -38.0, 1.8]]  # 53.7 m away: the reach is a square
    np.testing.assert_array_equal(select_origins(corner), corner)
    aside = [[0.0, 39.0, 1.8], [0.0, -38.9, 1.8], [38.9, 0.0, 9.0]]
    np.testing.assert_array_equal(select_origins(aside), aside[1:])  # 39 itself is out; z is free


def test_eight_origins_stay_as_they_are():
    track = np.random.default_rng(0).uniform(-30, 30, (8, 3))
    np.testing.assert_array_equal(select_origins(track), track)


@pytest.mark.parametrize("origins", [[[1.0, 2.0]], [[np.nan, 0, 0]], [], [[50.0, 0.0, 0.0]]])
def test_useless_origins_are_refused(origins):
    with pytest.raises(ValueError, match="ray origins"):
        select_origins(origins)


def shoot(semantics, *directions):
    rays = voxel_rays(OCC3D_GRID, ORIGIN, np.array(directions, np.float32))
    return cast_rays(semantics, rays)


def test_a_wall_ahead_is_as_deep_as_its_far_side():
    scene = volume()
    scene[125] = WALL  # x from 10.0 to 10.4 m
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    found = shoot(scene, (1, 0, 0), (cos, sin, 0), (cos, -sin, 0), (-1, 0, 0), (0, 1, 0))
    assert found.classes.tolist() == [WALL, WALL, WALL, FREE, FREE]
    # 30 degrees aside, at x = 10.0, the ray is at y = 0.2 + 5.7735, in the voxel of 5.6 .. 6.0,
    # which it leaves at y = 6.0: 5.8 / sin 30 = 11.6 m. Mirrored it is at -5.5735, in the voxel of
    # -5.6 .. -5.2, left at -5.6: 11.6 m too. Back and left there is the grid's face.
    np.testing.assert_allclose(found.depth, [10.4, 11.6, 11.6, 40.0, 39.8], atol=1e-4)


def test_a_wall_behind():
    scene = volume()
    scene[80] = WALL  # x from -8.0 to -7.6 m: entered at 7.6, left at 8.0
    found = shoot(scene, (-1, 0, 0))
    np.testing.assert_allclose(found.depth, [8.0], atol=1e-5)


def test_the_ground_under_a_slanted_ray():
    scene = volume()
    scene[:, :, 1] = ROAD  # z from -0.6 to -0.2 m, 2.0 m under the origin
    down = math.sqrt(0.5)
    found = shoot(scene, (down, 0, -down))
    # At z = -0.2 the ray is at x = 2.0, a voxel's face; it leaves that voxel at x = 2.4 = z -0.6.
    assert found.classes.tolist() == [ROAD]
    np.testing.assert_allclose(found.depth, [2.4 / down], atol=1e-4)


def test_an_origin_above_the_grid_never_enters():
    scene = volume()
    scene[0, 0, 0] = CAR
    rays = voxel_rays(OCC3D_GRID, [[0.0, 0.0, 6.0]], np.array([[1, 0, 0]], np.float32))
    found = cast_rays(scene, rays)
    np.testing.assert_allclose(found.depth, [-0.4])
    assert found.classes.tolist() == [CAR]  # that of voxel (0, 0, 0), as published


def test_rays_that_the_label_lets_through_are_left_out():
    label, pred = volume(), volume()
    label[125:, :, :], pred[:75, :, :] = WALL, WALL
    found, truth = hits_of_frame(pred, label, ORIGIN)
    # The label stops only rays that go forward; the prediction has nothing there.
    assert 0 < len(truth.classes) < 14040 / 2
    assert set(truth.classes) == {WALL}
    assert set(found.classes) == {FREE}
    counts = count_rays(found, truth)
    assert counts[0, WALL] == len(truth.classes)
    assert counts[1:].sum() == 0


def test_counts_by_hand():
    truth = hits([CAR, CAR, CAR, CAR, TRUCK, WALL], [10, 10, 10, 10, 5, 8])
    # right; 1.0 m off (not under 1 m); 3.9 m off; truck instead of car; nothing hit; right, 0.5 off
    found = hits([CAR, CAR, CAR, TRUCK, FREE, WALL], [10, 11, 13.9, 10, 40, 8.5])
    counts = count_rays(found, truth)
    assert counts[:, CAR].tolist() == [4, 3, 1, 2, 3]
    assert counts[:, TRUCK].tolist() == [1, 1, 0, 0, 0]
    assert counts[:, WALL].tolist() == [1, 1, 1, 1, 1]
    iou = ray_iou(counts)
    np.testing.assert_allclose(iou[:, CAR], [1 / 6, 2 / 5, 3 / 4])
    np.testing.assert_allclose(iou[:, TRUCK], 0.0)
    np.testing.assert_allclose(iou[:, WALL], 1.0)
    assert np.isnan(np.delete(iou, [CAR, TRUCK, WALL], axis=1)).all()


@pytest.mark.parametrize("threshold", [1.0, 2.0, 4.0])
def test_the_threshold_itself_is_wrong(threshold):
    truth = hits([CAR, CAR], [10, 10])
    found = hits(
        [CAR, CAR], [10 + threshold, np.nextafter(np.float32(10 - threshold), np.float32(10))]
    )
    row = {1.0: 2, 2.0: 3, 4.0: 4}[threshold]
    assert count_rays(found, truth)[row, CAR] == 1


def test_a_class_that_is_only_predicted_counts_as_zero():
    """0 / 0 alone is undefined: a class that no label ray hits, but a prediction does, is wrong."""
    counts = count_rays(hits([TRUCK], [5]), hits([CAR], [5]))
    iou = ray_iou(counts)
    assert iou[0, CAR] == iou[0, TRUCK] == 0.0
    assert np.isnan(iou).sum() == 3 * 15


def test_counts_pool_over_frames():
    one = count_rays(hits([CAR], [5]), hits([CAR], [5]))
    other = count_rays(hits([FREE] * 3, [5] * 3), hits([CAR] * 3, [5] * 3))
    np.testing.assert_allclose(ray_iou(one + other)[:, CAR], 1 / 4)  # not the mean of 1 and 0


def test_wrong_volumes_are_named():
    good = volume()
    for bad in (good[:-1], good.astype(np.int64), np.where(good == FREE, 18, 0).astype(np.uint8)):
        with pytest.raises(ValueError, match=r"pred is .* expected uint8"):
            hits_of_frame(bad, good, ORIGIN)
        with pytest.raises(ValueError, match=r"target is .* expected uint8"):
            hits_of_frame(good, bad, ORIGIN)
    assert class_id("manmade") == WALL
