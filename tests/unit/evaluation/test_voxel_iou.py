import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from minkocc.evaluation.height_baseline import class_by_height, predict_by_height
from minkocc.evaluation.voxel_iou import (
    class_iou,
    confusion_matrix,
    geometric_iou,
    geometric_precision,
    geometric_recall,
)
from minkocc.structures.voxel_grid import VoxelGrid


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 18))
def test_against_scikit_learn(seed, share, classes):
    rng = np.random.default_rng(seed)
    pred, target = rng.integers(0, classes, (2, 6, 5, 4)).astype(np.uint8)
    mask = rng.random(target.shape) < share
    mask.flat[0] = True  # scikit-learn wants something to count
    ours = confusion_matrix(pred, target, mask)
    labels = np.arange(18)
    assert np.array_equal(ours, sklearn_confusion(target[mask], pred[mask], labels=labels))
    iou = class_iou(ours)
    theirs = jaccard_score(
        target[mask], pred[mask], labels=labels[:17], average=None, zero_division=0
    )
    present = np.isin(labels[:17], target[mask])
    np.testing.assert_allclose(iou[present], theirs[present])
    assert np.isnan(iou[~present]).all()


def test_hand_worked_scene():
    # car x4 in truth: 3 found, 1 called truck; 2 free voxels called car; free elsewhere.
    target = np.array([4, 4, 4, 4, 17, 17, 17, 17], np.uint8)
    pred = np.array([4, 4, 4, 10, 4, 4, 17, 17], np.uint8)
    confusion = confusion_matrix(pred, target)
    iou = class_iou(confusion)
    assert iou[4] == 0.5  # 3 / (4 + 5 - 3)
    assert np.isnan(iou[10])  # absent from the truth: in no mean
    assert geometric_iou(confusion) == pytest.approx(4 / 6)
    assert geometric_precision(confusion) == pytest.approx(4 / 6)  # the truck's place is right
    assert geometric_recall(confusion) == 1.0


def test_perfect_prediction_is_1():
    target = np.arange(18, dtype=np.uint8)
    confusion = confusion_matrix(target, target)
    assert np.all(class_iou(confusion) == 1)
    assert geometric_iou(confusion) == 1
    assert geometric_precision(confusion) == geometric_recall(confusion) == 1


def test_nothing_occupied_is_undefined():
    free = np.full((2, 2, 2), 17, np.uint8)
    assert np.isnan(geometric_iou(confusion_matrix(free, free)))
    full = np.zeros_like(free)
    assert np.isnan(geometric_precision(confusion_matrix(free, full)))
    assert geometric_recall(confusion_matrix(free, full)) == 0.0
    assert geometric_precision(confusion_matrix(full, free)) == 0.0
    assert np.isnan(geometric_recall(confusion_matrix(full, free)))


def test_rings_split_the_matrix():
    rng = np.random.default_rng(1)
    pred, target = rng.integers(0, 18, (2, 6, 5, 4)).astype(np.uint8)
    mask = rng.random(target.shape) < 0.5
    rings = rng.integers(0, 3, target.shape).astype(np.uint16)
    split = confusion_matrix(pred, target, mask, rings)
    for ring in range(3):
        expected = confusion_matrix(pred, target, mask & (rings == ring))
        assert np.array_equal(split[ring], expected)


def test_wrong_shape_and_id_are_named():
    with pytest.raises(ValueError, match="pred has shape"):
        confusion_matrix(np.zeros(3, np.uint8), np.zeros(4, np.uint8))
    with pytest.raises(ValueError, match="ids up to 255"):
        confusion_matrix(np.zeros(4, np.uint8), np.full(4, 255, np.uint8))
    with pytest.raises(ValueError, match="ids up to 18"):
        confusion_matrix(np.full(4, 18, np.uint8), np.zeros(4, np.uint8))


def test_wrong_types_are_named():
    """A mask of 0 and 1 would select rows, and -1 would become another class."""
    ids = np.array([4, 4, 10, 10], np.uint8)
    with pytest.raises(ValueError, match="mask is uint8, expected bool"):
        confusion_matrix(ids, ids, np.array([0, 1, 1, 1], np.uint8))
    with pytest.raises(ValueError, match="pred is int64, expected uint8"):
        confusion_matrix(np.array([4, -1, 10, 10]), ids)


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
