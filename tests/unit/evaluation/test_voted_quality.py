"""Counts and figures of voted labels on volumes worked by hand."""

import numpy as np
import pytest

from minkocc.evaluation.voted_quality import (
    count_votes,
    figures_by_class,
    figures_by_ring,
    vote_figures,
)
from minkocc.evaluation.voxel_iou import RINGS

SHAPE = (200, 200, 16)
CAR, TRUCK, ROAD, FREE = 4, 10, 11, 17


def counted(*voxels):
    """Counts of (place, truth, vote) alone; everything else is masked."""
    voted, mask = np.full(SHAPE, 255, np.uint8), np.zeros(SHAPE, bool)
    semantics = np.full(SHAPE, FREE, np.uint8)
    for place, truth, vote in voxels:
        semantics[place], voted[place], mask[place] = truth, vote, True
    return count_votes(voted, semantics, mask)


# Column (100, 100) is at (0.2, 0.2) m; (160, 100) at (24.2, 0.2).
COUNTS = counted(
    ((100, 100, 0), ROAD, ROAD),
    ((100, 100, 1), CAR, CAR),
    ((100, 100, 2), CAR, TRUCK),
    ((100, 100, 3), CAR, TRUCK),
    ((160, 100, 0), CAR, 255),
    ((160, 100, 1), FREE, CAR),
    ((160, 100, 2), FREE, 255),
)


def test_figures_by_hand():
    figures = vote_figures(COUNTS)
    assert figures["occupied"] == 5
    assert figures["labelled"] == 80.0  # four of five
    assert figures["accuracy"] == 50.0
    assert figures["class_accuracy"] == pytest.approx((100 + 100 / 3) / 2, abs=0.01)
    assert figures["in_free"] == 20.0  # one vote of five
    # Of the votes: road 1 of 1; car 1 of 3 that are and 1 that is free; no truck is there.
    assert figures["miou_of_votes"] == pytest.approx((100 + 25) / 2, abs=0.01)


def test_figures_by_distance_and_class():
    rings = figures_by_ring(COUNTS)
    assert list(rings) == list(RINGS)
    assert (rings["0-20 m"]["labelled"], rings["20-40 m"]["labelled"]) == (100.0, 0.0)
    assert rings["over 40 m"]["labelled"] is rings["over 40 m"]["miou_of_votes"] is None
    classes = figures_by_class(COUNTS)
    car = classes["car"]
    assert (car["occupied"], car["labelled"], car["iou_of_votes"]) == (4, 75.0, 25.0)
    assert (car["taken_for"], car["taken_for_share"]) == ("truck", 66.67)
    assert classes["driveable_surface"]["taken_for"] is None
    assert classes["bus"]["accuracy"] is classes["bus"]["iou_of_votes"] is None


def test_a_vote_for_free_is_refused():
    with pytest.raises(ValueError, match="voted holds 17, free"):
        counted(((0, 0, 0), ROAD, FREE))
