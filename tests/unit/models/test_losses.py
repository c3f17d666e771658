import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minkocc.models.losses import (
    class_balanced_cross_entropy,
    dense_occupancy,
    effective_number_weights,
    lookup,
    occupancy_bce,
    occupancy_pyramid,
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


def test_bce_averages_levels_and_leaves_unknown_out():
    logits = [torch.tensor([2.0, -1.0, 9.0]), torch.tensor([0.5])]
    targets = [torch.tensor([1, 0, 255]), torch.tensor([0])]
    first = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(-1.0))) / 2
    second = F.softplus(torch.tensor(0.5))
    torch.testing.assert_close(occupancy_bce(logits, targets), (first + second) / 2)


def test_bce_without_any_known_voxel_is_zero():
    logits = torch.randn(3, requires_grad=True)
    loss = occupancy_bce([logits], [torch.full((3,), 255)])
    loss.backward()
    assert loss == 0


def test_dense_occupancy():
    semantics = torch.tensor([3, 17, 255, 3], dtype=torch.uint8)
    mask = torch.tensor([True, True, True, False])
    assert dense_occupancy(semantics, mask).tolist() == [1, 0, 255, 255]
    assert dense_occupancy(semantics, None).tolist() == [1, 0, 255, 1]
    assert dense_occupancy(semantics, mask).dtype == torch.uint8
    assert semantics.tolist() == [3, 17, 255, 3]


def brute_coarse(target, stride):
    shape = [-(-n // stride) for n in target.shape]
    out = np.full(shape, 255, np.uint8)
    for cell in np.ndindex(*shape):
        block = target[tuple(slice(i * stride, (i + 1) * stride) for i in cell)]
        if (block == 1).any():
            out[cell] = 1
        elif (block == 0).sum() * 2 >= block.size:
            out[cell] = 0
    return out


@st.composite
def occupancies(draw):
    """One or two samples on a small grid, mostly of odd sizes, with few occupied voxels."""
    shape = draw(st.tuples(st.integers(1, 2), *[st.integers(1, 11)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    known = draw(st.floats(0.3, 0.7))  # around half of the children, where the rule turns
    share = [draw(st.sampled_from([0.0, 0.002, 0.1])), known]
    values = np.array([1, 0, 255], np.uint8)
    return rng.choice(values, size=shape, p=[*share, 1 - sum(share)])


@given(occupancies())
def test_occupancy_pyramid_against_nested_loops(target):
    kept = target.copy()
    pyramid = occupancy_pyramid(torch.from_numpy(target), 4)
    assert len(pyramid) == 4
    for level, got in enumerate(pyramid):
        assert got.dtype == torch.uint8
        expected = np.stack([brute_coarse(sample, 2**level) for sample in kept])
        assert np.array_equal(got, expected)
    assert np.array_equal(target, kept)


def test_exactly_half_of_the_children_known_free_is_free():
    target = torch.full((1, 8, 8, 8), 255, dtype=torch.uint8)
    target[0, :4] = 0
    assert [int(volume[0, 0, 0, 0]) for volume in occupancy_pyramid(target, 4)] == [0, 0, 0, 0]
    target[0, 3, 7, 7] = 255
    assert int(occupancy_pyramid(target, 4)[3]) == 255


def test_lookup_inside_and_outside():
    volume = torch.arange(16).view(2, 2, 2, 2)
    coords = torch.tensor([[1, 0, 1, 1], [0, 0, 0, -1], [0, 2, 0, 0]], dtype=torch.int32)
    assert lookup(volume, coords, 99).tolist() == [11, 99, 99]
