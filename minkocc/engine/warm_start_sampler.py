"""Which frame is drawn when and under which phase: a pure function of the iteration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from minkocc.registry import DATA_SAMPLERS
from minkocc.structures.errors import UserError
from minkocc.structures.phase import (
    Phase,
    TrainIndex,
    check_alpha,
    check_replay,
    phase_at,
    switch_iteration,
    warm_share_of,
)


class SamplerError(UserError, RuntimeError):
    """A recipe has the sampler without what drives it."""


@DATA_SAMPLERS.register_module()
class WarmStartSampler(Sampler):
    """Draws labelled frames during the warm start and all frames after it (paper Sec. IV-A).

    The n-th draw of a phase is entry ``n mod size`` of the pool's permutation number
    ``n // size``: every frame is drawn exactly once a pass, and a resumed run goes on where the
    killed one stopped. All samples of an iteration, over all ranks, share its phase.

    ``WarmStartHook`` sets ``max_iters`` and, before each epoch, ``start_iter``.

    Args:
        dataset: gives ``labelled_indices()``.
        alpha: share of the scenes with dense labels.
        batch_size: of the dataloader, per rank.
        seed: of the permutations.
        replay: share of the iterations after the switch that go back to the labelled frames and
            the warm losses; 0 in the paper's recipes.
        warm_share: share of the iterations in the warm start; None for ``alpha``.

    Raises:
        ValueError: ``alpha`` or ``replay`` is out of range, or a phase has no frame to draw.
    """

    def __init__(
        self,
        dataset: Any,
        alpha: float,
        batch_size: int,
        seed: int = 0,
        replay: float = 0.0,
        warm_share: float | None = None,
    ) -> None:
        self.alpha = check_alpha(alpha)
        self.warm_share = warm_share_of(alpha, warm_share)
        self.rank, self.world_size = get_dist_info()
        self.batch_size = batch_size
        self.seed = seed
        self.replay = check_replay(replay, alpha, warm_share)
        self.max_iters: int | None = None
        self.start_iter = 0
        everything = np.arange(len(dataset))
        labelled = np.asarray(dataset.labelled_indices(), dtype=np.int64)
        self.pools = {Phase.WARM: labelled, Phase.WEAK: everything, Phase.STRONG: everything}
        if not len(everything):
            raise ValueError("the training set has no frame: check its info file")
        if self.alpha > 0 and not len(labelled):
            raise ValueError(
                f"alpha {alpha} asks for a warm start, but no frame is inside the label budget"
            )

    def __len__(self) -> int:
        """Draws of one rank in one epoch: whole batches over all frames."""
        per_iteration = self.batch_size * self.world_size
        return math.ceil(len(self.pools[Phase.WEAK]) / per_iteration) * self.batch_size

    def __iter__(self) -> Iterator[TrainIndex]:
        per_epoch = len(self) // self.batch_size
        end = (self.start_iter // per_epoch + 1) * per_epoch
        for iteration in range(self.start_iter, end):
            yield from self.draw(iteration)

    def phase(self, iteration: int) -> Phase:
        """The phase of an iteration: ``phase_at``, and warm where the replay falls.

        Raises:
            SamplerError: ``max_iters`` is not set.
        """
        if self.max_iters is None:
            raise SamplerError(
                "WarmStartSampler.max_iters is not set: add dict(type='WarmStartHook') to the hooks"
            )
        phase = phase_at(iteration, self.max_iters, self.alpha, self.warm_share)
        if phase is Phase.WEAK and self._replayed(iteration) > self._replayed(iteration - 1):
            return Phase.WARM
        return phase

    def draw(self, iteration: int) -> list[TrainIndex]:
        """This rank's batch of an iteration."""
        phase = self.phase(iteration)
        pool = self.pools[phase]
        first = self._earlier(iteration, phase) * self.batch_size * self.world_size
        places = [first + self.rank + self.world_size * i for i in range(self.batch_size)]
        return [TrainIndex(self._entry(pool, phase, n), iteration, phase) for n in places]

    def _entry(self, pool: np.ndarray, phase: Phase, n: int) -> int:
        number, place = divmod(n, len(pool))
        key = [self.seed, list(Phase).index(phase), number]
        return int(pool[np.random.default_rng(key).permutation(len(pool))[place]])

    def _replayed(self, iteration: int) -> int:
        """Replayed iterations up to and including this one."""
        assert self.max_iters is not None
        since = iteration - switch_iteration(self.max_iters, self.warm_share) + 1
        return math.floor(max(0, since) * self.replay + 1e-9)

    def _earlier(self, iteration: int, phase: Phase) -> int:
        """How many iterations before this one had the same phase."""
        assert self.max_iters is not None
        if phase is Phase.STRONG:
            return iteration
        switch = switch_iteration(self.max_iters, self.warm_share)
        if iteration < switch:
            return iteration
        replayed = self._replayed(iteration - 1)
        return switch + replayed if phase is Phase.WARM else iteration - switch - replayed
