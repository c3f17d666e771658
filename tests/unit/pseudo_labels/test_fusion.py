"""The paper's rule on boxes that can be checked by eye."""

import numpy as np
import pytest

from minkocc.pseudo_labels.fusion import as_confidence, fuse


def mask(*pixels):
    out = np.zeros((1, 5), bool)
    out[0, list(pixels)] = True
    return out


def test_a_pixel_takes_the_class_of_its_best_box():
    masks = [mask(0, 1), mask(1, 2), mask(2, 3)]
    labels, confidence = fuse(masks, np.array([0.4, 0.8, 0.6]), np.array([5, 8, 12]), (1, 5))
    assert labels.tolist() == [[5, 8, 8, 12, 0]]
    assert confidence.tolist() == [[102, 204, 204, 153, 0]]
    assert labels.dtype == confidence.dtype == np.uint8


def test_of_equal_scores_the_earlier_box_wins():
    labels, _ = fuse([mask(0, 1), mask(1, 2)], np.array([0.5, 0.5]), np.array([7, 3]), (1, 5))
    assert labels.tolist() == [[7, 7, 3, 0, 0]]


def test_masks_may_come_one_by_one_and_none_at_all():
    labels, confidence = fuse(iter([mask(4)]), np.array([1.0]), np.array([18]), (1, 5))
    assert labels.tolist() == [[0, 0, 0, 0, 18]]
    assert confidence[0, 4] == 255
    labels, confidence = fuse(iter([]), np.array([]), np.array([]), (2, 3))
    assert labels.shape == confidence.shape == (2, 3)
    assert not labels.any()
    assert not confidence.any()


def test_a_mask_too_few_is_not_passed_over():
    with pytest.raises(ValueError, match="longer than argument 1"):
        fuse([mask(0)], np.array([0.5, 0.6]), np.array([1, 2]), (1, 5))


def test_confidence_is_rounded_and_never_zero_on_a_label():
    found = as_confidence(
        np.array([0.0, 0.001, 0.5, 0.999, 1.0, 0.7]), np.array([1, 1, 1, 1, 1, 0])
    )
    assert found.tolist() == [1, 1, 128, 255, 255, 0]
