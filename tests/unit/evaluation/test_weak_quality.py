"""Counts and figures of weak occupancy on volumes worked by hand."""

import numpy as np
import pytest

from minkocc.evaluation.weak_quality import RING_NAMES, by_ring, count_voxels, weak_figures

SHAPE = (200, 200, 16)
CAR, ROAD, FREE = 4, 11, 17


def volumes():
    """All free, all seen, all unknown."""
    return np.full(SHAPE, 255, np.uint8), np.full(SHAPE, FREE, np.uint8), np.ones(SHAPE, bool)


def test_every_truth_and_value_is_counted_in_its_ring():
    weak, semantics, mask = volumes()
    mask[:] = False
    # Column (100, 100) is at (0.2, 0.2) m; (150, 100) at (20.2, 0.2), (199, 199) at 56 m.
    for place, truth, value in (
        ((100, 100, 0), ROAD, 1),
        ((100, 100, 1), CAR, 0),
        ((150, 100, 0), FREE, 1),
        ((150, 100, 1), CAR, 255),
        ((199, 199, 5), FREE, 0),
    ):
        semantics[place], weak[place], mask[place] = truth, value, True
    counts = count_voxels(weak, semantics, mask)
    expected = np.zeros((4, 3, 3), int)
    expected[0, 1, 1] = expected[0, 2, 0] = expected[2, 0, 1] = expected[2, 2, 2] = 1
    expected[3, 0, 0] = 1
    assert np.array_equal(counts, expected)
    figures = weak_figures(counts)
    assert figures["occupied_precision"] == 50.0
    assert figures["occupied_recall"] == pytest.approx(100 / 3, abs=0.01)
    assert (figures["static_recall"], figures["moving_recall"]) == (100.0, 0.0)
    assert (figures["free_precision"], figures["free_recall"]) == (50.0, 50.0)
    assert (figures["known"], figures["unknown_free"]) == (80.0, 0.0)
    assert list(by_ring(counts)) == list(RING_NAMES)
    assert by_ring(counts)["10-20 m"]["known"] is None


def test_the_unknown_taken_for_free_is_wrong_where_something_is():
    weak, semantics, mask = volumes()
    semantics[:100] = ROAD
    counts = count_voxels(weak, semantics, mask)
    assert weak_figures(counts)["free_precision"] is None
    assert weak_figures(counts)["unknown_free"] == 50.0
    taken = weak_figures(counts, unknown="free")
    assert (taken["free_precision"], taken["free_recall"], taken["known"]) == (50.0, 100.0, 100.0)


def test_a_perfect_target_is_perfect():
    _, semantics, mask = volumes()
    semantics[::3] = CAR
    semantics[1::3] = ROAD
    figures = weak_figures(count_voxels((semantics < 17).astype(np.uint8), semantics, mask))
    assert figures.pop("unknown_free") is None
    assert set(figures.values()) == {100.0}


@pytest.mark.parametrize("name", ["weak", "semantics", "mask"])
def test_another_shape_is_refused(name):
    arrays = dict(zip(("weak", "semantics", "mask"), volumes()))
    arrays[name] = arrays[name][:10]
    with pytest.raises(ValueError, match=rf"{name} has shape \(10, 200, 16\)"):
        count_voxels(**arrays)


def test_a_value_that_is_none_is_refused():
    weak, semantics, mask = volumes()
    weak[0, 0, 0] = 7
    with pytest.raises(ValueError, match="weak holds"):
        count_voxels(weak, semantics, mask)
