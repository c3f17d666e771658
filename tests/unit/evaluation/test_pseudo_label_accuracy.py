"""Figures of pairs few enough to count by hand."""

import numpy as np
import pytest

from minkocc.evaluation.pseudo_label_accuracy import (
    RINGS,
    Pairs,
    accuracy_figures,
    calibration,
    count_pairs,
    merge,
    no_pairs,
)
from minkocc.structures.taxonomy import CAMERAS, SKY_2D, UNLABELLED_2D, class_id

CAR, TRUCK, ROAD = (class_id(name) for name in ("car", "truck", "driveable_surface"))


def pairs(*rows):
    """Pairs of (camera, metres, class, 2D id, confidence)."""
    camera, distance, truth, label, confidence = np.array(rows, float).reshape(-1, 5).T
    return Pairs(
        camera.astype(np.int64),
        distance,
        *(column.astype(np.uint8) for column in (truth, label, confidence)),
    )


def figures(*rows, hidden=()):
    seen = [i not in hidden for i in range(len(rows))]
    return accuracy_figures(count_pairs(pairs(*rows), np.array(seen, bool)))


@pytest.fixture
def wall():
    """Four returns of a car 5 m away and four of the road 25 m away, in two cameras."""
    return [
        (0, 5.0, CAR, CAR + 1, 204),
        (0, 5.0, CAR, CAR + 1, 204),
        (0, 5.0, CAR, TRUCK + 1, 102),
        (0, 5.0, CAR, UNLABELLED_2D, 0),
        (3, 25.0, ROAD, ROAD + 1, 255),
        (3, 25.0, ROAD, CAR + 1, 51),
        (3, 25.0, ROAD, SKY_2D, 128),
        (3, 25.0, ROAD, UNLABELLED_2D, 0),
    ]


def test_figures_of_classes(wall):
    found = figures(*wall)
    assert found["classes"]["car"] == {
        "pairs": 4,
        "labelled": 3 / 4,
        "accuracy": 2 / 3,
        "called_sky": 0.0,
        "iou": 2 / 5,  # two more cars and a road that is called car
        "confused_with": "truck",
        "confused_share": 1 / 3,
    }
    road = found["classes"]["driveable_surface"]
    assert [road[key] for key in ("labelled", "accuracy", "called_sky", "iou")] == [
        2 / 4, 1 / 2, 1 / 4, 1 / 4
    ]  # fmt: skip
    assert road["confused_with"] == "car"
    assert found["classes"]["bus"] == {
        "pairs": 0,
        **dict.fromkeys(
            ("labelled", "accuracy", "called_sky", "iou", "confused_with", "confused_share")
        ),
    }
    assert [found[key] for key in ("pairs", "labelled", "accuracy")] == [8, 5 / 8, 3 / 5]
    assert found["miou"] == pytest.approx((2 / 5 + 1 / 4) / 2)
    assert found["classes_in_miou"] == 2
    assert found["class_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_confusion_matrix_holds_every_pair(wall):
    confusion = np.array(figures(*wall)["confusion"])
    assert confusion.shape == (18, 18)
    assert confusion.sum() == 8
    assert confusion[CAR, [CAR, TRUCK, 17]].tolist() == [2, 1, 1]
    assert confusion[ROAD, [ROAD, CAR, 17]].tolist() == [1, 1, 2]


def test_rings_and_cameras(wall):
    found = figures(*wall)
    shares = ("pairs", "labelled", "accuracy", "class_accuracy")
    for ring, expected in (
        ("0-10 m", [4, 3 / 4, 2 / 3, 2 / 3]),
        ("20-30 m", [4, 1 / 2, 1 / 2, 1 / 2]),
        ("over 40 m", [0, None, None, None]),
    ):
        assert [found["rings"][ring][key] for key in shares] == expected
    assert found["cameras"][CAMERAS[0]]["pairs"] == found["cameras"][CAMERAS[3]]["pairs"] == 4
    assert found["cameras"][CAMERAS[1]]["pairs"] == 0


def test_a_ring_begins_at_its_edge():
    edges = [0.0, 9.99, 10.0, 20.0, 30.0, 39.99, 40.0, 70.0]
    found = figures(*((0, metres, CAR, CAR + 1, 255) for metres in edges))
    assert [found["rings"][ring]["pairs"] for ring in RINGS] == [2, 1, 1, 2, 2]


def test_hidden_pairs_are_in_no_other_figure(wall):
    found = figures(*wall, hidden=(2, 3))
    assert found["pairs"] == 6
    assert found["classes"]["car"]["accuracy"] == 1.0
    assert found["hidden"] == {"pairs": 2, "labelled": 1 / 2, "accuracy": 0.0}
    assert sum(part["pairs"] for part in found["confidence"]["bins"]) == 4


def test_calibration_of_a_worked_example(wall):
    # Confidences 0.2 (wrong), 0.4 (wrong), twice 0.8 (right) and 1.0 (right).
    found = figures(*wall)["confidence"]
    filled = {part["from"]: part for part in found["bins"] if part["pairs"]}
    assert {low: part["pairs"] for low, part in filled.items()} == {0.2: 1, 0.4: 1, 0.8: 2, 0.9: 1}
    assert filled[0.8]["mean_confidence"] == pytest.approx(0.8)
    assert filled[0.9]["to"] == 1.0
    assert [filled[low]["accuracy"] for low in filled] == [0.0, 0.0, 1.0, 1.0]
    assert found["expected_calibration_error"] == pytest.approx((0.2 + 0.4 + 2 * 0.2) / 5)
    assert found["mean_confidence"] == pytest.approx((0.2 + 0.4 + 1.6 + 1.0) / 5)


def test_right_and_wrong_of_a_bin_are_weighed_together():
    confidence = np.zeros((256, 2), np.int64)
    confidence[153] = 4, 6  # 0.6, of ten six right
    assert calibration(confidence)["expected_calibration_error"] == pytest.approx(0.0)


def test_nothing_counted():
    found = accuracy_figures(merge([]))
    assert found["pairs"] == 0
    assert found["miou"] is found["accuracy"] is None
    assert found["confidence"]["expected_calibration_error"] is None


def test_ids_that_do_not_exist():
    for row in ((0, 5.0, 17, 1, 0), (0, 5.0, 0, 19, 0)):
        with pytest.raises(ValueError, match=r"expected 0\.\.16 and 0\.\.18"):
            count_pairs(pairs(row), np.ones(1, bool))
    assert no_pairs().pairs.shape == (6, 5, 17, 19)
