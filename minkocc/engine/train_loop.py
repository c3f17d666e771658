"""Epochs that a resumed run enters in the middle."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from minkocc.engine.work_dir import VALIDATION
from minkocc.files.writing import write_text
from minkocc.registry import LOOPS
from minkocc.runtime.tool import raise_if_interrupted
from minkocc.structures.errors import UserError


# Also under mmengine's name, as recipes for mmdet3d write it.
@LOOPS.register_module(name=["ResumableTrainLoop", "EpochBasedTrainLoop"])
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop, exact from any iteration.

    mmengine counts the batches of a resumed epoch from 0 again, so that the log repeats places and
    the epoch's last iteration is not known as such; and a checkpoint of an epoch's last iteration
    still names that epoch, which would then be run twice. ``WarmStartHook`` makes the sampler go
    on from the same iteration.

    A checkpoint is written before its epoch's validation, which mmengine leaves out, the best
    checkpoint with it, where a run was stopped in the midst of it. Here it is made up for.
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
                "with the max_epochs, batch_size and number of processes of before, or begin a new "
                "run from its weights with --cfg-options load_from=PATH"
            )
        if self._iter == self._max_iters:
            print_log(
                f"nothing is left to train: the run ended at iteration {self._iter} of "
                f"{self._max_iters}",
                logger="current",
            )
        self.runner.call_hook("before_train")
        if self._lacks_validation():
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook("after_train")
        return self.runner.model

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

    def _lacks_validation(self) -> bool:
        """Whether the run was stopped between an epoch's checkpoint and its validation's end.

        Whatever another run has noted in the work dir is forgotten.
        """
        lacks = [False]
        if is_main_process():
            note = Path(self.runner.work_dir) / VALIDATION
            if not self._goes_on_here():
                note.unlink(missing_ok=True)
            elif self._iter == self._epoch * len(self.dataloader):
                lacks = [not note.is_file() or note.read_text("utf-8", "replace") != self._place()]
        broadcast_object_list(lacks)
        return lacks[0]

    def _goes_on_here(self) -> bool:
        """Whether the run goes on from a checkpoint of its own work dir."""
        source = self.runner._load_from
        if not self.runner._resume or self._iter == 0 or source is None:
            return False
        return Path(source).resolve().parent == Path(self.runner.work_dir).resolve()

    def _place(self) -> str:
        return f"epoch_{self._epoch}"

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        last = self._epoch == self._max_epochs
        if (
            self.runner.val_loop is not None
            and self._epoch >= self.val_begin
            and (self._epoch % self.val_interval == 0 or last)
        ):
            self.runner.val_loop.run()
            if is_main_process():
                write_text(Path(self.runner.work_dir) / VALIDATION, self._place())
