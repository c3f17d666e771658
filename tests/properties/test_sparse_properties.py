"""Sparse convolution equals dense convolution on whatever voxels are occupied."""

from importlib.util import find_spec
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops.sparse import get_backend, voxel_set
from tests.unit.ops.sparse_reference import (
    as_set,
    convolve,
    convolve_transposed,
    generated_set,
    random_cloud,
    strided_set,
)

NAMES = ["torch", "torch, searching"]
if find_spec("MinkowskiEngine"):
    NAMES.append("minkowski")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(
    count=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    k=st.integers(1, 4),
    factor=st.sampled_from([1, 2]),
    stride=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([1, 3]),
)
def test_sparse_equals_dense(name, count, seed, k, factor, stride, width):
    backend = get_backend(name.partition(",")[0])
    # Above the limit rows are searched for instead of read from a table.
    limit = 0 if name.endswith("searching") else voxel_set.TABLE_LIMIT
    with patch.object(voxel_set, "TABLE_LIMIT", limit):
        check_operations(backend, count, seed, k, factor, stride, width)


def check_operations(backend, count, seed, k, factor, stride, width):
    coords = random_cloud(count, seed, stride, batch=3, low=-2, high=4)
    torch.manual_seed(seed)
    feats = torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True)
    x = backend.tensor(feats, coords, stride)
    conv = backend.Conv3d(2, width, k, factor).double()
    y = conv(x)
    assert as_set(y.coords) == strided_set(coords, factor * stride)
    expected = convolve(feats, coords, conv.kernel, k, stride, factor, y.coords)
    assert_same(y.feats, expected, [feats, conv.kernel])
    if stride % factor == 0:
        up = backend.GenerativeConvTranspose3d(2, width, k, factor).double()
        y = up(x)
        assert as_set(y.coords) == generated_set(coords, k, stride // factor)
        expected = convolve_transposed(feats, coords, up.kernel, k, stride, factor, y.coords)
        assert_same(y.feats, expected, [feats, up.kernel])


def assert_same(actual, expected, inputs):
    """Values and gradients."""
    torch.testing.assert_close(actual, expected)
    above = torch.randn_like(actual)
    for got, want in zip(
        torch.autograd.grad(actual, inputs, above), torch.autograd.grad(expected, inputs, above)
    ):
        torch.testing.assert_close(got, want)
