"""Mixed precision where there is no CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from minkocc.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """The forward pass under CPU autocast in bfloat16, whose range needs no loss scaling.

    mmengine's ``AmpOptimWrapper`` insists on an accelerator; ``build_runner`` puts this one in its
    place on machines without, so that ``--amp`` trains, and is tested, everywhere.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the forward pass."""
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
