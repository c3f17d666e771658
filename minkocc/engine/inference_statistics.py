"""Batch norm's running statistics as inference meets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Statistics = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance of each layer, by its name in the model."""


def learning_layers(model: nn.Module) -> list[str]:
    """Names of the batch norm layers that training normalises by the batch (none that is frozen).

    Args:
        model: in training mode.
    """
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]


@torch.no_grad()
def inference_statistics(
    model: nn.Module, layers: Iterable[str], batches: Iterable[dict]
) -> Statistics:
    """Mean over frames of what each layer gets when the network predicts them.

    In training the targets' voxels survive every level, at inference only what is likely does; and
    the running averages of a small batch remember but the last few. Layers normalise by their own
    batch meanwhile, as in training, so that each sees what it will see.

    Args:
        model: in evaluation mode; ``model(**batch, mode="tensor")`` runs it.
        layers: names of layers.
        batches: of this process; every process's count.

    Returns:
        On the CPU; without the layers that got fewer than two rows of every batch.
    """
    tallies: dict[str, tuple[Tensor, Tensor, int]] = {}
    with _normalising_by_batch(model, layers, tallies):
        for batch in batches:
            model(**batch, mode="tensor")
    total: dict[str, tuple[Tensor, Tensor, int]] = {}
    for part in all_gather_object(tallies):
        for name, tally in part.items():
            _add(total, name, *tally)
    return {name: (mean / count, var / count) for name, (mean, var, count) in total.items()}


@torch.no_grad()
def set_statistics(model: nn.Module, statistics: Statistics) -> None:
    """Put them in the place of the running statistics."""
    for name, (mean, var) in statistics.items():
        layer: Any = model.get_submodule(name)
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(var)


@contextmanager
def _normalising_by_batch(
    model: nn.Module, layers: Iterable[str], tallies: dict[str, tuple[Tensor, Tensor, int]]
) -> Iterator[None]:
    def watch(name: str) -> Any:
        def hook(layer: _BatchNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            (x,) = inputs
            if x.numel() < 2 * x.shape[1]:  # one row has no variance
                return output
            rows = x.float().transpose(0, 1).flatten(1)
            # Biased, as the batch is normalised: the coarsest level has but a hundred rows.
            var, mean = torch.var_mean(rows, dim=1, correction=0)
            _add(tallies, name, mean.cpu(), var.cpu(), 1)
            return F.batch_norm(x, None, None, layer.weight, layer.bias, True, eps=layer.eps)

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add(
    tallies: dict[str, tuple[Tensor, Tensor, int]], name: str, mean: Tensor, var: Tensor, count: int
) -> None:
    if name in tallies:
        before = tallies[name]
        mean, var, count = before[0] + mean, before[1] + var, before[2] + count
    tallies[name] = mean, var, count
