"""Batch norm over the rows of all processes, on any device and distributed backend."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

_CONVERTED: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SyncBatchNorm(_BatchNorm):
    """Batch norm (Ioffe and Szegedy, 2015) that weighs the rows of all processes equally.

    State dict, arguments and results are those of ``nn.BatchNorm1d``; in training in a group of
    several processes, of an ``nn.BatchNorm1d`` that is given the rows of all of them at once. The
    gradients of weight and bias are this process's share. A process may have no row at all, but
    each has to call the layer, and its backward, as often as the others.

    Fewer than two rows in total have no variance: they are normalised by the running statistics,
    which they leave as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(V, C)`` or ``(V, C, ...)``; the result has the same shape and dtype.

        Raises:
            ValueError: the input has no channel axis or another number of channels.
            RuntimeError: fewer than two rows in total, and running statistics are not tracked.
        """
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        if _in_group():
            count, mean, var = _statistics(input)
            if count > 1:
                self._track(count, mean, var)
                inv_std = (var + self.eps).rsqrt()
                return _Normalise.apply(input, self.weight, self.bias, mean, inv_std, count)
        elif input.numel() > self.num_features:
            return super().forward(input)
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input of shape {tuple(input.shape)}: expected (V, {self.num_features}, ...)"
            )

    @torch.no_grad()
    def _track(self, count: int, mean: Tensor, var: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / int(self.num_batches_tracked)
        unbiased = var * (count / (count - 1))
        self.running_mean.lerp_(mean.flatten().to(self.running_mean), momentum)
        self.running_var.lerp_(unbiased.flatten().to(self.running_var), momentum)


def convert_sync_batch_norm(module: nn.Module) -> nn.Module:
    """Make every ``nn.BatchNorm1d/2d/3d`` of a module, itself included, a ``SyncBatchNorm``.

    Args:
        module: changed in place; parameters, buffers, hooks and flags stay the same objects.

    Returns:
        ``module``.
    """
    for child in module.modules():
        if isinstance(child, _CONVERTED):
            # The two classes differ in `forward` alone, and so whoever holds the layer keeps it.
            child.__class__ = SyncBatchNorm
    return module


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _row_axes(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Row count, mean and biased variance ``(1, C, ...)`` over all processes, in float32 or wider.

    Two passes, because ``E[x^2] - E[x]^2`` cancels where the mean is large.
    """
    axes = _row_axes(x)
    total = x.sum(axes, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    packed = torch.cat([total.flatten(), total.new_tensor([x.numel() // x.shape[1]])])
    dist.all_reduce(packed)
    count = int(packed[-1])
    mean = packed[:-1].view_as(total) / max(count, 1)
    squares = (x - mean).square().sum(axes, keepdim=True)
    dist.all_reduce(squares)
    return count, mean, squares / max(count, 1)


class _Normalise(Function):
    """``xhat * weight + bias`` with ``xhat = (x - mean) * inv_std``, whose statistics are of ``x``.

    With ``<.>`` the mean over the rows of all processes,
    ``dx = weight * inv_std * (dy - <dy> - xhat * <dy * xhat>)``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inv_std: Tensor,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inv_std)
        ctx.count = count
        out = (x - mean).mul_(inv_std)
        if weight is not None:
            out.mul_(weight.view_as(mean))
        if bias is not None:
            out.add_(bias.view_as(mean))
        return out.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inv_std = ctx.saved_tensors
        axes = _row_axes(x)
        xhat = (x - mean).mul_(inv_std)
        grad = grad.to(xhat.dtype)
        local = torch.stack([(grad * xhat).sum(axes, keepdim=True), grad.sum(axes, keepdim=True)])
        # Whatever this process needs, others may wait for its share.
        total = local.clone()
        dist.all_reduce(total)
        slope, shift = total / ctx.count
        scale = inv_std if weight is None else inv_std * weight.view_as(mean)
        grad_x = (grad - shift).sub_(xhat.mul_(slope)).mul_(scale)
        grad_weight, grad_bias = local.flatten(1)
        _, weight_wanted, bias_wanted, *_ = ctx.needs_input_grad
        return (
            grad_x,
            grad_weight if weight_wanted else None,
            grad_bias if bias_wanted else None,
            None,
            None,
            None,
        )
