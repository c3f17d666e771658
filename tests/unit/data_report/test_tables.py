"""Tables of figures made by hand: a column for real files only where they are given."""

import numpy as np
import pytest

from minkocc.data_report.statistics import (
    PUBLISHED_SHARES,
    CloudCounts,
    cloud_statistics,
    label_histogram,
    label_statistics,
    sweep_counts,
    sweep_statistics,
)
from minkocc.data_report.tables import data_tables
from minkocc.structures.spread import spread_indices


def labels(cars):
    semantics = np.full((10, 10, 10), 17, np.uint8)
    semantics[0, 0, :4] = 11
    semantics[1, 0, :cars] = 4
    mask = np.ones_like(semantics, bool)
    label = {"voxel_semantics": semantics, "mask_lidar": mask, "mask_camera": mask}
    return label_statistics([label_histogram(label)], ["scene"])


def sweeps(points):
    cloud = np.array([[10.0 + i, 0, 0, 7, 3] for i in range(points)], np.float32)
    return sweep_statistics([sweep_counts(cloud, np.eye(4))])


PROBE = {
    side: {
        "accuracy": accuracy,
        "familiar_accuracy": accuracy - 0.02,
        "majority_share": 0.3,
        "balanced_accuracy": 0.2,
        "chance": 0.1,
        "classes": {"car": {"share": 0.25, "recall": 0.125, "balanced_recall": 0.0625}},
    }
    for side, accuracy in (("with_sky", 0.46), ("without_sky", 0.44))
}


@pytest.fixture
def statistics():
    return {
        "frames": 1,
        "frames_in_root": 3,
        "scenes": 1,
        "labels": labels(1),
        "sweep": sweeps(2),
        "cloud": cloud_statistics([CloudCounts(1234, (11, 22, 33))]),
        "pseudo_labels": {"unlabelled_share": {"mean": 0.5, "min": 0.25, "max": 0.75}},
        "colour_probe": {
            "train_scenes": ["a"],
            "test_scenes": ["b"],
            "labels_by": ["synthetic-clean"],
            **PROBE,
        },
    }


NOTHING = {"labels": None, "sweep": None, "cloud": None, "published_class_share": PUBLISHED_SHARES}


def cells(text, first):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return next(row[1:] for row in rows if row[0] == first)


def test_without_references(statistics):
    text = data_tables(statistics, NOTHING)
    assert "1 of 3 keyframes, 1 scenes" in text
    assert "real" not in text
    assert cells(text, "driveable_surface") == ["80.00", "80.00", "1", "27.03"]
    assert cells(text, "mask_lidar, free") == ["995"] * 3
    assert cells(text, "ring 3, percent of the points") == ["100.00"]
    assert cells(text, "percent of a frame unlabelled") == ["50.00", "25.00", "75.00"]
    assert "0.460 and 0.440 with sky (NOT under), 0.440 and 0.420 without (under)" in text


def test_real_files_stand_beside(statistics):
    real = {
        "labels": labels(4),
        "sweep": sweeps(5),
        "cloud": cloud_statistics([CloudCounts(9876, (1, 2, 3))]),
    }
    text = data_tables(statistics, {**NOTHING, **real})
    assert cells(text, "driveable_surface") == ["80.00", "80.00", "1", "50.00", "50.00", "27.03"]
    assert cells(text, "mask_lidar, free") == ["995", "995", "995", "992"]
    assert cells(text, "intensity, 50 %") == ["7", "7"]
    assert cells(text, "points") == ["2.00", "2.00", "2.00", "5.00"]
    assert "9,876" in text


def test_parts_that_are_not_there_have_no_table(statistics):
    absent = dict.fromkeys(("labels", "cloud", "pseudo_labels", "colour_probe"))
    text = data_tables({**statistics, **absent}, NOTHING)
    assert "One sweep" in text
    assert not any(word in text for word in ("Classes", "Ten sweeps", "2D pseudo", "Colour"))


def test_indices_are_spread():
    assert spread_indices(60, 12) == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57]
    assert spread_indices(3, None) == [0, 1, 2]
    assert spread_indices(2, 12) == [0, 1]
    assert spread_indices(5, 1) == [2]


def test_the_synthetic_target_is_not_held_against_other_roots(statistics):
    statistics["colour_probe"]["labels_by"] = []
    text = data_tables(statistics, NOTHING)
    assert "labels by unknown models" in text
    assert "under" not in text.split("Colour probe")[1].split("(logistic")[0]
