"""Agreement of labels counted by hand."""

import numpy as np

from minkocc.evaluation.label_agreement import agreement_figures, agreement_table, count_agreement
from minkocc.evaluation.protocols import add_counts
from minkocc.structures.taxonomy import FREE, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR = class_id("car")


def label(cars, lidar, camera):
    """Cars, and the masks, in the first so many voxels of a row."""
    arrays = {"voxel_semantics": np.full(OCC3D_GRID.shape, FREE, np.uint8)}
    arrays["voxel_semantics"][0, :cars, 0] = CAR
    for name, count in (("mask_lidar", lidar), ("mask_camera", camera)):
        arrays[name] = np.zeros(OCC3D_GRID.shape, np.bool_)
        arrays[name][0, :count, 0] = True
    return arrays


def test_a_label_agrees_with_itself():
    counts = count_agreement(label(4, 10, 8), label(4, 10, 8))
    figures = agreement_figures(counts, 1)
    assert figures["miou"] == figures["geometric_iou"] == 100.0
    for part in figures["masks"].values():
        assert all(row["iou"] == row["recall"] == 100.0 for row in part.values())


def test_counts_of_two_labels():
    made, exact = label(2, 10, 5), label(4, 8, 8)
    figures = agreement_figures(add_counts([count_agreement(made, exact)] * 2), 2)
    assert figures["iou"]["car"] == 50.0  # two of four, in the exact mask
    assert figures["geometric_precision"] == 100.0
    assert figures["masks"]["mask_lidar"] == {
        "all": {"iou": 80.0, "precision": 80.0, "recall": 100.0},
        "occupied": {"iou": 50.0, "precision": 100.0, "recall": 50.0},
        "free": {"iou": 50.0, "precision": 50.0, "recall": 100.0},  # 4..7 of 2..9 and 4..7
    }
    camera = figures["masks"]["mask_camera"]
    assert camera["all"] == {"iou": 62.5, "precision": 100.0, "recall": 62.5}
    assert camera["free"] == {"iou": 16.67, "precision": 33.33, "recall": 25.0}
    text = agreement_table(figures)
    assert "2 keyframes" in text
    assert "| car " in text
