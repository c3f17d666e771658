"""Epochs that a resumed run enters in the middle."""

from __future__ import annotations

import torch
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from minkocc.cli import raise_if_interrupted
from minkocc.registry import LOOPS
from minkocc.structures.errors import UserError


# Also under mmengine's name, as recipes for mmdet3d write it.
@LOOPS.register_module(name=["ResumableTrainLoop", "EpochBasedTrainLoop"])
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop, exact from any iteration.

    mmengine counts the batches of a resumed epoch from 0 again, so that the log repeats places and
    the epoch's last iteration is not known as such; and a checkpoint of an epoch's last iteration
    still names that epoch, which would then be run twice. ``WarmStartHook`` makes the sampler go
    on from the same iteration.
    """

    def run(self) -> torch.nn.Module:
        """Train what is left of the run.

        Raises:
            UserError: the checkpoint is of a longer run.
        """
        if self._iter > self._max_iters:
            raise UserError(
                f"the checkpoint is of iteration {self._iter}, and this recipe ends at "
                f"{self._max_iters} ({self._max_epochs} epochs of {len(self.dataloader)}): resume "
                "from an earlier one, or set a larger max_epochs"
            )
        if self._iter == self._max_iters:
            print_log(
                f"nothing is left to train: the run ended at iteration {self._iter} of "
                f"{self._max_iters}",
                logger="current",
            )
        return super().run()

    def run_epoch(self) -> None:
        """What is left of one epoch: perhaps only its end, with schedulers and validation."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        if first < len(self.dataloader):
            for place, batch in enumerate(self.dataloader, start=first):
                raise_if_interrupted()
                self.run_iter(place, batch)
        raise_if_interrupted()
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
