"""Sums of rows against plain indexing in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops.row_sums import count_rows, gather_rows, scatter_sum, weighted_gather


def rows_of(count, per_row, table_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, table_rows, (count, per_row), generator=generator)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 40),
    per_row=st.integers(1, 5),
    table_rows=st.integers(1, 9),
    channels=st.integers(1, 19),
    seed=st.integers(0, 10**6),
)
def test_values_and_gradients(count, per_row, table_rows, channels, seed):
    torch.manual_seed(seed)
    rows = rows_of(count, per_row, table_rows, seed)
    table = torch.randn(table_rows, channels, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(count, per_row, dtype=torch.float64, requires_grad=True)
    feats = torch.randn(count, channels, dtype=torch.float64, requires_grad=True)
    inputs = [table, weights, feats]
    one = torch.nn.functional.one_hot(rows[:, 0], table_rows).double()
    pairs = [
        (weighted_gather(table, rows, weights), (table[rows] * weights[..., None]).sum(1)),
        (gather_rows(table, rows[:, 0]), table[rows[:, 0]]),
        (scatter_sum(feats, rows[:, 0], table_rows), one.t() @ feats),
    ]
    for actual, expected in pairs:
        torch.testing.assert_close(actual, expected)
        above = torch.randn_like(actual)
        got = torch.autograd.grad((actual * above).sum(), inputs, allow_unused=True)
        want = torch.autograd.grad((expected * above).sum(), inputs, allow_unused=True)
        for a, b in zip(got, want):
            torch.testing.assert_close(a, b)


def test_single_precision_and_half():
    torch.manual_seed(0)
    rows = rows_of(2000, 4, 300, 0)
    table, weights = torch.randn(300, 16), torch.rand(2000, 4)
    exact = (table.double()[rows] * weights.double()[..., None]).sum(1)
    torch.testing.assert_close(
        weighted_gather(table, rows, weights).double(), exact, atol=1e-5, rtol=1e-5
    )
    sums = torch.zeros(300, 16, dtype=torch.float64).index_add(0, rows[:, 0], exact)
    torch.testing.assert_close(
        scatter_sum(exact.float(), rows[:, 0], 300).double(), sums, atol=1e-4, rtol=1e-5
    )
    half = scatter_sum(exact.bfloat16(), rows[:, 0], 300)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), sums, atol=0.5, rtol=0.1)


def test_gradients_are_the_same_bits_on_one_thread_and_on_many():
    torch.manual_seed(0)
    rows = rows_of(20000, 4, 50, 0)
    table, weights = torch.randn(50, 19, requires_grad=True), torch.rand(20000, 4)
    above = torch.randn(20000, 19)
    before = torch.get_num_threads()
    grads = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            out = weighted_gather(table, rows, weights)
            grads.append(torch.autograd.grad((out * above).sum(), table)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[1], grads[2])


def test_weights_in_any_layout_get_their_gradient():
    torch.manual_seed(0)
    rows, table = rows_of(6, 3, 5, 0), torch.randn(5, 4)
    weights = torch.randn(3, 6).t().requires_grad_()
    assert not weights.is_contiguous()
    above = torch.randn(6, 4)
    (got,) = torch.autograd.grad((weighted_gather(table, rows, weights) * above).sum(), weights)
    torch.testing.assert_close(got, (table[rows] * above[:, None]).sum(2))


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_beside_the_table_are_refused(row):
    rows = torch.tensor([0, row])
    for call in (
        lambda: scatter_sum(torch.ones(2, 2), rows, 3),
        lambda: gather_rows(torch.ones(3, 2), rows),
    ):
        with pytest.raises(IndexError):
            call()
    with pytest.raises((IndexError, RuntimeError)):
        weighted_gather(torch.ones(3, 2), rows[:, None], torch.ones(2, 1))


def test_mistakes_are_named():
    table, rows = torch.zeros(3, 2), torch.zeros(4, 1, dtype=torch.long)
    with pytest.raises(ValueError, match=r"expected \(R, C\), \(M, K\)"):
        weighted_gather(table, rows, torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"expected the table's torch.float32"):
        weighted_gather(table, rows, torch.zeros(4, 1, dtype=torch.float64))


def test_rows_are_counted_as_bincount_does_all_or_some():
    rows = torch.tensor([3, 0, 3, 3, 1])
    assert torch.equal(count_rows(rows, 5), rows.bincount(minlength=5))
    some = torch.tensor([True, False, True, False, True])
    assert torch.equal(count_rows(rows, 5, some), rows[some].bincount(minlength=5))
    assert count_rows(rows[:0], 2).tolist() == [0, 0]
