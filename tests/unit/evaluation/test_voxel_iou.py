import numpy as np
import pytest
import torch

from minkocc.evaluation.height_baseline import class_by_height, predict_by_height
from minkocc.evaluation.metrics import VoxelIoUMetric
from minkocc.evaluation.protocols import VOXEL_PROTOCOLS, summarise, table
from minkocc.evaluation.voxel_iou import class_iou, confusion_matrix, geometric_iou
from minkocc.structures.voxel_grid import VoxelGrid


def test_confusion_against_a_loop():
    rng = np.random.default_rng(0)
    pred, target = rng.integers(0, 18, (2, 6, 5, 4)).astype(np.uint8)
    mask = rng.random((6, 5, 4)) < 0.5
    expected = np.zeros((18, 18), int)
    for p, t, m in zip(pred.ravel(), target.ravel(), mask.ravel()):
        expected[t, p] += m
    assert np.array_equal(confusion_matrix(pred, target, mask), expected)


def test_hand_worked_scene():
    # car x4 in truth: 3 found, 1 called truck; 2 free voxels called car; free elsewhere.
    target = np.array([4, 4, 4, 4, 17, 17, 17, 17], np.uint8)
    pred = np.array([4, 4, 4, 10, 4, 4, 17, 17], np.uint8)
    summary = summarise(confusion_matrix(pred, target, None), 1, VOXEL_PROTOCOLS["occ3d"])
    assert summary["iou"]["car"] == 50.0  # 3 / (4 + 5 - 3)
    assert summary["iou"]["truck"] is None  # absent from the truth: in no mean
    assert summary["miou"] == 50.0
    assert summary["geometric_iou"] == pytest.approx(100 * 4 / 6, abs=1e-3)
    assert summary["classes_averaged"] == 1
    assert "absent" in table(summary)


def test_perfect_prediction_is_100():
    target = np.arange(18, dtype=np.uint8)
    confusion = confusion_matrix(target, target, None)
    assert np.all(class_iou(confusion) == 1)
    assert geometric_iou(confusion) == 1


def test_selfsup15_leaves_two_classes_out():
    target = np.arange(18, dtype=np.uint8)
    pred = target.copy()
    pred[[0, 12]] = 17
    confusion = confusion_matrix(pred, target, None)
    assert summarise(confusion, 1, VOXEL_PROTOCOLS["selfsup15"])["miou"] == 100.0
    assert summarise(confusion, 1, VOXEL_PROTOCOLS["occ3d"])["miou"] == round(100 * 15 / 17, 4)


def test_wrong_shape_and_id_are_named():
    with pytest.raises(ValueError, match="pred has shape"):
        confusion_matrix(np.zeros(3, np.uint8), np.zeros(4, np.uint8), None)
    with pytest.raises(ValueError, match="ids up to 18"):
        confusion_matrix(np.full(4, 18, np.uint8), np.zeros(4, np.uint8), None)


def test_height_baseline_by_hand():
    grid = VoxelGrid((0, 0, 0, 2, 2, 3), 1.0)
    semantics = np.full(grid.shape, 17, np.uint8)
    semantics[:, :, 0], semantics[0, 0, 1], semantics[1, 1, 1] = 11, 4, 4
    semantics[0, 1, 1] = 15
    counts = class_by_height(semantics, np.ones(grid.shape, bool))
    points = np.array([[0.5, 0.5, 0.2], [1.5, 0.5, 1.9], [0.1, 0.1, 2.5], [5.0, 0.0, 0.0]])
    pred = predict_by_height(points, counts, grid)
    assert (pred[0, 0, 0], pred[1, 0, 1], pred[0, 0, 2]) == (11, 4, 11)
    assert (pred < 17).sum() == 3


def sample(pred, label=None):
    out = {"token": "t", "pred_semantics": torch.from_numpy(pred)}
    if label is not None:
        out["voxel_semantics"] = torch.from_numpy(label)
        out["mask_camera"] = torch.ones(label.shape, dtype=torch.bool)
    return out


def test_metric_sums_frames_and_counts_unlabelled_ones_apart():
    first, second = np.array([4, 4, 17], np.uint8), np.array([4, 17, 17], np.uint8)
    metric = VoxelIoUMetric(training={"train_mask": "camera", "image_pretrained": None})
    metric.process(None, [sample(first, first), sample(first, second), sample(first)])
    result = metric.evaluate(size=3)
    assert result["occ/miou"] == 75.0  # 3 of 4 in the union over both frames
    assert metric.summary["num_frames"] == 2
    assert metric.summary["train_mask"] == "camera"
    assert "image_pretrained none" in table(metric.summary)


def test_metric_without_any_label_reports_nothing():
    metric = VoxelIoUMetric()
    metric.process(None, [sample(np.array([4], np.uint8))])
    assert metric.evaluate(size=1) == {}
    assert metric.summary == {}
