"""Sums of rows gathered from a table and scattered into one, and their gradients.

Torch scatters on a CPU one row at a time, or sorts first, or with atomic additions, whose sums
depend on which thread came first. Here one thread takes every sum in the order of the rows. On a
GPU torch's own operations run.
"""

from __future__ import annotations

from typing import Any

import numba
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def weighted_gather(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """``out[m] = sum_k weights[m, k] table[rows[m, k]]``, differentiable in table and weights.

    Args:
        table: (R, C) floating point.
        rows: (M, K) int64 in [0, R).
        weights: (M, K) of the table's type.

    Returns:
        (M, C) of the table's type.

    Raises:
        ValueError: shapes or types do not match.
    """
    if rows.shape != weights.shape or rows.ndim != 2 or table.ndim != 2:
        raise ValueError(
            f"table {tuple(table.shape)}, rows {tuple(rows.shape)} and weights "
            f"{tuple(weights.shape)}: expected (R, C), (M, K) and (M, K)"
        )
    if weights.dtype != table.dtype:
        raise ValueError(f"weights are {weights.dtype}: expected the table's {table.dtype}")
    if not _numba_can(table):
        return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    return _WeightedGather.apply(table, rows, weights)


def gather_rows(table: Tensor, rows: Tensor) -> Tensor:
    """``table[rows]``, differentiable.

    Args:
        table: (R, C).
        rows: (M,) int64 in [0, R).

    Returns:
        (M, C).
    """
    if not _numba_can(table):
        return table.index_select(0, rows)
    return _GatherRows.apply(table, rows)


def scatter_sum(feats: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """``out[rows[m]] += feats[m]`` from zeros, differentiable.

    Args:
        feats: (M, C).
        rows: (M,) int64 in [0, R).
        num_rows: R.

    Returns:
        (R, C).

    Raises:
        IndexError: a row is not in [0, R).
    """
    if not _numba_can(feats):
        return feats.new_zeros(num_rows, feats.shape[1]).index_add(0, rows, feats)
    return _ScatterSum.apply(feats, rows, num_rows)


def count_rows(rows: Tensor, num_rows: int, counted: Tensor | None = None) -> Tensor:
    """How often each row is meant, ``(num_rows,)`` int64.

    Unlike ``bincount`` and a mask it does not look at values, for which a GPU would make its host
    wait.

    Args:
        rows: (M,) int64 in [0, num_rows).
        num_rows: R.
        counted: (M,) bool, which of them count; None: all.
    """
    each = torch.ones_like(rows) if counted is None else counted.to(rows.dtype)
    return rows.new_zeros(num_rows).scatter_add_(0, rows, each)


def _numba_can(values: Tensor) -> bool:
    """On a CPU, and not in half precision."""
    return values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)


class _WeightedGather(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, rows, weights = ctx.saved_tensors
        grad_table = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_table = _scattered(grad, rows, weights, len(table))
        if ctx.needs_input_grad[2]:
            grad_weights = weights.new_empty(weights.shape)  # contiguous, whatever weights are
            _products(*_arrays(table, rows, grad, grad_weights))
        return grad_table, None, grad_weights


class _GatherRows(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.num_rows = len(table)
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return scatter_sum(grad, ctx.saved_tensors[0], ctx.num_rows), None


class _ScatterSum(Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, rows: Tensor, num_rows: int) -> Tensor:
        ctx.save_for_backward(rows)
        # Numba would write beside the table; the other two gather first, and torch checks that.
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < num_rows:
            raise IndexError(
                f"rows span {int(rows.min())} .. {int(rows.max())}: expected [0, {num_rows})"
            )
        return _scattered(feats, rows[:, None], feats.new_ones(len(rows), 1), num_rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return gather_rows(grad, ctx.saved_tensors[0]), None, None


def _scattered(feats: Tensor, rows: Tensor, weights: Tensor, num_rows: int) -> Tensor:
    """``out[rows[m, k]] += weights[m, k] feats[m]``, ``(num_rows, C)``."""
    sums = feats.new_zeros(num_rows, feats.shape[1])
    _scatter(*_arrays(feats, rows, weights, sums))
    return sums


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@numba.njit(cache=True)
def _scatter(feats: Any, rows: Any, weights: Any, sums: Any) -> None:
    for m in range(len(rows)):
        for k in range(rows.shape[1]):
            weight, row = weights[m, k], rows[m, k]
            for c in range(feats.shape[1]):
                sums[row, c] += weight * feats[m, c]


@numba.njit(cache=True)
def _products(table: Any, rows: Any, grad: Any, out: Any) -> None:
    for m in range(len(rows)):
        for k in range(rows.shape[1]):
            row = rows[m, k]
            out[m, k] = 0
            for c in range(table.shape[1]):
                out[m, k] += grad[m, c] * table[row, c]
