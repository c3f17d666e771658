"""RayPQ worked by hand."""

import numpy as np
import pytest

from minkocc.evaluation.ray_iou import RayHits
from minkocc.evaluation.ray_pq import (
    IOU_UNIT,
    connected_instances,
    count_segments,
    panoptic_quality,
)

CAR, TRUCK, ROAD = 4, 10, 11
CELLS = 100


def hits(classes, depth=5.0):
    """One ray a voxel: ray i hits voxel i."""
    classes = np.array(classes, np.uint8)
    depth = np.broadcast_to(np.float32(depth), classes.shape)
    return RayHits(classes, depth, np.arange(len(classes)))


def instances(ids):
    return np.pad(np.array(ids), (0, CELLS - len(ids)))


def test_two_cars_one_found_one_merged():
    truth, ids = [CAR] * 40, [1] * 20 + [2] * 20
    # The first car's 20 rays are found, with 4 of the second's; 16 of the second are missed.
    found, found_ids = [CAR] * 24 + [17] * 16, [7] * 24 + [0] * 16
    counts = count_segments(hits(found), hits(truth), instances(found_ids), instances(ids))
    right, wrong, missed, iou = counts[0, CAR]
    assert (right, wrong, missed) == (1, 0, 1)
    assert iou / IOU_UNIT == pytest.approx(20 / 24)
    assert panoptic_quality(counts)[0, CAR] == pytest.approx((20 / 24) / 1.5)


def test_half_is_not_enough_and_a_little_more_is():
    truth = hits([CAR] * 20)
    for kept, right in ((10, 0), (11, 1)):
        found = hits([CAR] * kept + [17] * (20 - kept))
        ones = instances([1] * 20)
        assert count_segments(found, truth, ones, ones)[0, CAR, 0] == right


def test_depth_decides_what_is_shared():
    truth, ones = hits([CAR] * 20), instances([1] * 20)
    counts = count_segments(hits([CAR] * 20, 6.5), truth, ones, ones)
    np.testing.assert_array_equal(counts[:, CAR, :3], [[0, 1, 1], [1, 0, 0], [1, 0, 0]])


def test_unmatched_segments_under_ten_rays_are_no_error():
    nothing = instances([])
    truth = hits([CAR] * 9 + [TRUCK] * 10)
    found = hits([17] * 19)
    counts = count_segments(found, truth, nothing, instances([1] * 9 + [2] * 10))
    assert counts[0, CAR].tolist() == [0, 0, 0, 0]
    assert counts[0, TRUCK].tolist() == [0, 0, 1, 0]
    quality = panoptic_quality(counts)
    assert np.isnan(quality[0, CAR])
    assert quality[0, TRUCK] == 0


@pytest.mark.parametrize(("row", "limit"), enumerate((1.0, 2.0, 4.0)))
def test_the_threshold_itself_is_not_shared(row, limit):
    ones = instances([1] * 20)
    for off, right in ((limit, 0), (np.nextafter(np.float32(limit), np.float32(0)), 1)):
        counts = count_segments(hits([CAR] * 20, 0.0), hits([CAR] * 20, off), ones, ones)
        assert counts[row, CAR, 0] == right


def test_predicted_segments_under_ten_rays_are_no_error():
    nothing, truth = instances([]), hits([ROAD] * 30)
    found = hits([CAR] * 9 + [TRUCK] * 10 + [ROAD] * 11)
    counts = count_segments(found, truth, nothing, nothing)
    assert counts[0, CAR].tolist() == [0, 0, 0, 0]
    assert counts[0, TRUCK].tolist() == [0, 1, 0, 0]


def test_quality_weighs_both_errors_by_half():
    counts = np.zeros((3, 17, 4), np.int64)
    counts[0, CAR] = (3, 2, 1, 2 * IOU_UNIT)
    assert panoptic_quality(counts)[0, CAR] == pytest.approx(2.0 / (3 + 1.0 + 0.5))


@pytest.mark.parametrize("thing", [2, 3, 4, 5, 6, 7, 9, 10])
def test_things_are_told_apart(thing):
    truth, ids = hits([thing] * 40), instances([1] * 20 + [2] * 20)
    counts = count_segments(truth, truth, ids, ids)
    assert counts[0, thing].tolist() == [2, 0, 0, 2 * IOU_UNIT]


@pytest.mark.parametrize("stuff", [0, 1, 8, *range(11, 17)])
def test_everything_else_is_one_segment(stuff):
    truth = hits([stuff] * 40)
    counts = count_segments(truth, truth, instances([]), instances([1] * 20 + [2] * 20))
    assert counts[0, stuff].tolist() == [1, 0, 0, IOU_UNIT]


def test_small_segments_that_match_count():
    truth, ones = hits([CAR] * 3), instances([1] * 3)
    assert panoptic_quality(count_segments(truth, truth, ones, ones))[0, CAR] == 1


def test_stuff_of_a_label_is_one_segment_and_that_of_a_prediction_one_for_each_id():
    """As published: a prediction gives a class of stuff one id."""
    truth, many = hits([ROAD] * 20), instances([1] * 12 + [2] * 8)
    whole = count_segments(truth, truth, instances([]), many)
    assert whole[0, ROAD].tolist() == [1, 0, 0, IOU_UNIT]
    split = count_segments(truth, truth, many, instances([]))
    right, wrong, missed, iou = split[0, ROAD]
    assert (right, wrong, missed) == (1, 0, 0)  # 12 of 20; the other 8 rays are too few to be wrong
    assert iou / IOU_UNIT == pytest.approx(12 / 20)


@pytest.mark.parametrize("first", [1, 2**20, 2**40, 2**64 - 2])
def test_ids_are_any_integers(first):
    ids = np.array([first] * 20 + [first + 1] * 20, np.uint64)
    ids = np.pad(ids, (0, CELLS - 40))
    truth = hits([CAR] * 20 + [TRUCK] * 20)
    counts = count_segments(truth, truth, ids, ids)
    assert counts[0, CAR].tolist() == counts[0, TRUCK].tolist() == [1, 0, 0, IOU_UNIT]


def test_a_label_id_of_two_classes_counts_as_none():
    """Both parts join what has no id in their class, as published."""
    truth = hits([CAR] * 10 + [TRUCK] * 10 + [CAR] * 10)
    label = instances([3] * 20 + [0] * 10)
    counts = count_segments(truth, truth, instances([]), label)
    assert counts[0, CAR].tolist() == [1, 0, 0, IOU_UNIT]  # 20 rays, one segment
    assert counts[0, TRUCK].tolist() == [1, 0, 0, IOU_UNIT]


def test_connected_instances():
    semantics = np.full((6, 6, 3), 17, np.uint8)
    semantics[0, 0, 0] = semantics[1, 1, 1] = CAR  # touch in a corner
    semantics[4, 4, 0] = CAR
    semantics[4, 5, 0] = TRUCK
    semantics[2] = ROAD
    ids = connected_instances(semantics)
    assert ids[0, 0, 0] == ids[1, 1, 1] != ids[4, 4, 0]
    assert len({ids[0, 0, 0], ids[4, 4, 0], ids[4, 5, 0]}) == 3
    assert (ids > 0).sum() == 4
