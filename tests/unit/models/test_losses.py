import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minkocc.models.losses import (
    class_balanced_cross_entropy,
    effective_number_weights,
    occupancy_bce,
    soft_cross_entropy_2d,
)


def test_effective_number_weights_by_hand():
    weights = effective_number_weights(torch.tensor([1.0, 2.0, 1000.0, 0.0]), 0.9)
    expected = [1.0, 0.1 / (1 - 0.81), 0.1, 1.0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert effective_number_weights(torch.ones(3), 0.0).tolist() == [1, 1, 1]


def test_beta_one_is_refused():
    with pytest.raises(ValueError, match=r"beta 1\.0"):
        effective_number_weights(torch.ones(3), 1.0)


def test_class_balanced_ce_is_the_weighted_mean_over_labelled_voxels():
    torch.manual_seed(0)
    logits = torch.randn(5, 17, requires_grad=True)
    labels = torch.tensor([0, 16, 17, 255, 3], dtype=torch.uint8)
    weights = torch.rand(17) + 0.1
    expected, total = 0.0, 0.0
    for row, label in [(0, 0), (1, 16), (4, 3)]:
        log_prob = logits[row] - logits[row].exp().sum().log()
        expected -= weights[label] * log_prob[label]
        total += weights[label]
    loss = class_balanced_cross_entropy(logits, labels, weights)
    torch.testing.assert_close(loss, expected / total)
    loss.backward()
    assert logits.grad[2:4].abs().sum() == 0


def test_no_labelled_voxel_gives_zero_with_a_gradient():
    logits = torch.randn(2, 17, requires_grad=True)
    loss = class_balanced_cross_entropy(logits, torch.tensor([17, 255]), torch.ones(17))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


def test_soft_ce_is_weighted_by_confidence_and_ignores_unlabelled_and_sky():
    torch.manual_seed(1)
    log_probs = torch.randn(1, 17, 1, 4).log_softmax(1)
    labels = torch.tensor([[[0, 5, 18, 17]]], dtype=torch.uint8)
    confidence = torch.tensor([[[1.0, 0.25, 1.0, 0.75]]])
    expected = -(0.25 * log_probs[0, 4, 0, 1] + 0.75 * log_probs[0, 16, 0, 3])
    torch.testing.assert_close(soft_cross_entropy_2d(log_probs, labels, confidence), expected)


def test_soft_ce_balances_classes_by_their_labelled_pixels_when_asked():
    torch.manual_seed(2)
    log_probs = torch.randn(1, 17, 1, 6).log_softmax(1)
    labels = torch.tensor([[[3, 3, 3, 7, 0, 7]]], dtype=torch.uint8)
    confidence = torch.tensor([[[1.0, 0.5, 0.5, 0.8, 1.0, 0.0]]])  # the last one is uncertain
    cost = -log_probs[0, :, 0]
    rare, common = 1.0, 0.1 / (1 - 0.9**3)  # Eq. 4 with n = 1 and n = 3
    weights = torch.tensor([common, 0.5 * common, 0.5 * common, 0.8 * rare])
    costs = torch.stack([cost[2, 0], cost[2, 1], cost[2, 2], cost[6, 3]])
    expected = (weights * costs).sum() / weights.sum()
    found = soft_cross_entropy_2d(log_probs, labels, confidence, beta=0.9)
    torch.testing.assert_close(found, expected)
    nothing = soft_cross_entropy_2d(log_probs, torch.zeros_like(labels), confidence, beta=0.9)
    assert nothing == 0


def test_bce_averages_levels_and_leaves_the_ignored_out():
    logits = [torch.tensor([2.0, -1.0, 9.0]), torch.tensor([0.5])]
    targets = [torch.tensor([1, 0, 254]), torch.tensor([0])]
    first = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(-1.0))) / 2
    second = F.softplus(torch.tensor(0.5))
    for weight in (0.0, 0.5):
        torch.testing.assert_close(occupancy_bce(logits, targets, weight), (first + second) / 2)


def test_bce_teaches_the_unknown_to_be_free_with_its_weight():
    logits, targets = [torch.tensor([2.0, -1.0, 1.0, 3.0])], [torch.tensor([1, 0, 255, 255])]
    costs = F.softplus(torch.tensor([-2.0, -1.0, 1.0, 3.0]))
    for weight in (0.0, 0.25, 1.0):
        weights = torch.tensor([1.0, 1.0, weight, weight])
        expected = (costs * weights).sum() / weights.sum()
        torch.testing.assert_close(occupancy_bce(logits, targets, weight), expected)


def test_the_occupied_may_weigh_more():
    logits, targets = torch.tensor([0.3, -0.2, 1.0, 0.5]), torch.tensor([1, 0, 255, 254])
    cost = torch.nn.functional.softplus(torch.tensor([-0.3, -0.2, 1.0]))
    expected = (3 * cost[0] + cost[1] + 0.1 * cost[2]) / 4.1
    found = occupancy_bce([logits], [targets.byte()], 0.1, occupied_weight=3.0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("value", [253, 254, 255])
def test_bce_without_anything_to_teach_is_zero(value):
    logits = torch.randn(3, requires_grad=True)
    loss = occupancy_bce([logits], [torch.full((3,), value)])
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()
