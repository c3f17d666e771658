"""The hook of the two-phase run: progress to the sampler, ramp, clipping, class counts, audit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from minkocc.datasets.label_audit import merge_audit, watch_truth
from minkocc.engine.runner import unwrapped
from minkocc.files.occupancy import LabelBudgetError
from minkocc.registry import HOOKS
from minkocc.structures.phase import (
    Phase,
    TrainIndex,
    phase_at,
    switch_iteration,
    warm_share_of,
)


def ramp_at(iteration: int, max_iters: int, warm_share: float, ramp: int, batch: int = 1) -> float:
    """Weight of the 2D term: rises linearly over ``ramp`` samples after the switch.

    ``batch`` is how many samples one iteration takes, over all processes.
    """
    if warm_share in (0.0, 1.0) or ramp <= 0:
        return 1.0
    since = (iteration - switch_iteration(max_iters, warm_share) + 1) * batch
    return min(1.0, max(0.0, since / ramp))


def in_clip_window(
    iteration: int, max_iters: int, warm_share: float, window: int, batch: int = 1
) -> bool:
    """Whether gradients are clipped: within ``window`` samples of the switch, either side."""
    if warm_share in (0.0, 1.0):
        return False  # no switch
    return abs(iteration - switch_iteration(max_iters, warm_share)) * batch <= window


@HOOKS.register_module()
class WarmStartHook(Hook):
    """Drives the phases of a run. State is a function of progress, so a resumed run is the same.

    Args:
        alpha: share of the scenes with dense labels.
        warm_share: share of the iterations in the warm start; None for ``alpha``.
        train_mask: which voxels are counted for Eq. 4.
        ramp: samples over which the 2D term rises after the switch. Like the next one in samples
            of all processes, so that 1 and 8 of them mean the same.
        clip_window: samples around the switch within which gradients are clipped (paper
            Sec. V-B).
        max_norm: gradient norm of the clipping; None adds none. A recipe's own ``clip_grad`` is in
            force in every iteration: within the window the smaller norm wins, and clipping by value
            is left alone.
    """

    priority = "HIGH"

    def __init__(
        self,
        alpha: float,
        warm_share: float | None = None,
        train_mask: str | None = "camera",
        ramp: int = 1000,
        clip_window: int = 2000,
        max_norm: float | None = 10.0,
    ) -> None:
        self.alpha = alpha
        self.warm_share = warm_share_of(alpha, warm_share)
        self.train_mask = train_mask
        self.ramp = ramp
        self.clip_window = clip_window
        self.max_norm = max_norm
        self._own_clip: dict[str, Any] | None = None

    def before_train(self, runner: Any) -> None:
        """Hand progress and audit to sampler and dataset, and class counts to the model.

        Raises:
            UserError: a file is missing that the phase after the switch reads.
        """
        dataset, sampler = _dataset(runner), runner.train_dataloader.sampler
        sampler.max_iters = runner.max_iters
        if runner.iter == 0:
            self._forget_former_run(runner)
        dataset.audit = (self._audit_dir(runner), get_rank(), dataset.closed_labels())
        watch_truth(*dataset.audit)
        self._merge_audit(runner)
        self._note_own_clipping(runner.optim_wrapper)
        if self.alpha > 0:
            counts = _on_main_first(lambda: dataset.class_counts(self.train_mask))
            head = unwrapped(runner.model).semantic_head
            head.set_class_counts(torch.as_tensor(counts))
        labelled = len(dataset.labelled_indices())
        print_log(
            f"warm start: alpha {self.alpha:g}, {len(dataset.label_budget.scenes)} of "
            f"{len(set(dataset.scene_names))} scenes, {labelled} of {len(dataset)} frames "
            f"({labelled / len(dataset):.1%}) have dense labels; the switch is at iteration "
            f"{switch_iteration(runner.max_iters, self.warm_share)} of {runner.max_iters}",
            logger="current",
        )
        if runner.iter < switch_iteration(runner.max_iters, self.warm_share) < runner.max_iters:
            # What the second phase lacks, pseudo-labels or sweeps, is said before the first one.
            dataset[TrainIndex(0, runner.iter, Phase.WEAK)]

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep the budget's scenes, by which a resumed run knows them whatever the infos say."""
        checkpoint["meta"]["labelled_scenes"] = sorted(_dataset(runner).label_budget.scenes)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse to go on with another label budget.

        Raises:
            LabelBudgetError: the infos give other scenes than the run has had so far.
        """
        former = checkpoint.get("meta", {}).get("labelled_scenes")
        if former is None or not getattr(runner, "_resume", False):
            return
        scenes = _dataset(runner).label_budget.scenes
        if scenes == set(former):
            return
        new, gone = sorted(scenes - set(former)), sorted(set(former) - scenes)
        raise LabelBudgetError(
            f"the run that is resumed has read dense labels of {len(former)} scenes, and these "
            f"infos give it {len(scenes)}: new are {', '.join(new[:3]) or 'none'}, gone are "
            f"{', '.join(gone[:3]) or 'none'}. Put the former infos back, or begin a new run from "
            "these weights with --cfg-options load_from=PATH"
        )

    def before_train_epoch(self, runner: Any) -> None:
        """Let the sampler go on from the runner's iteration."""
        runner.train_dataloader.sampler.start_iter = runner.iter

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Set what depends on progress: phase in the log, ramp, clipping."""
        sampler = runner.train_dataloader.sampler
        phase = sampler.phase(runner.iter)
        runner.message_hub.update_info("phase", phase.value)
        at = (runner.iter, runner.max_iters, self.warm_share)
        batch = sampler.batch_size * sampler.world_size
        unwrapped(runner.model).set_render_ramp(ramp_at(*at, self.ramp, batch))
        within = in_clip_window(*at, self.clip_window, batch)
        runner.optim_wrapper.clip_grad_kwargs = self._clipping(within)
        if self._switches(runner.iter, runner.max_iters):
            print_log(
                f"phase switch at iteration {runner.iter}: dense labels are off, accumulated LiDAR "
                "and 2D pseudo-labels take over",
                logger="current",
            )

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Tell the log which terms this iteration had."""
        wrapper = runner.optim_wrapper
        clipped = [wrapper.grad_name] if wrapper.clip_grad_kwargs else []
        runner.message_hub.update_info("logged_terms", sorted(outputs or ()) + clipped)

    def after_train(self, runner: Any) -> None:
        """Merge the audit of all processes."""
        self._merge_audit(runner)
        watch_truth(None)

    def _note_own_clipping(self, optim_wrapper: Any) -> None:
        self._own_clip = optim_wrapper.clip_grad_kwargs
        if not self._own_clip:  # mmengine sets these two only where the recipe itself clips
            optim_wrapper.clip_func = torch.nn.utils.clip_grad_norm_
            optim_wrapper.grad_name = "grad_norm"

    def _clipping(self, within: bool) -> dict[str, Any] | None:
        """What clips this iteration, within the window of the switch or outside of it."""
        own = self._own_clip
        if self.max_norm is None or not within or (own and "max_norm" not in own):
            return own
        return {
            **(own or {}),
            "max_norm": min(self.max_norm, (own or {}).get("max_norm", math.inf)),
        }

    def _switches(self, iteration: int, max_iters: int) -> bool:
        shares = (self.alpha, self.warm_share)
        now = phase_at(iteration, max_iters, *shares)
        return (
            now is Phase.WEAK
            and iteration > 0
            and phase_at(iteration - 1, max_iters, *shares) is Phase.WARM
        )

    @staticmethod
    def _audit_dir(runner: Any) -> Path:
        return Path(runner.work_dir) / "label_audit"

    def _forget_former_run(self, runner: Any) -> None:
        """A run that starts anew proves what it read itself, whatever the folder held."""
        if is_main_process():
            (Path(runner.work_dir) / "label_audit.json").unlink(missing_ok=True)
            for log in self._audit_dir(runner).glob("*.txt"):
                log.unlink()
        barrier()

    def _merge_audit(self, runner: Any) -> None:
        """``label_audit.json``, of all processes."""
        barrier()
        if is_main_process():
            dataset = _dataset(runner)
            path = Path(runner.work_dir) / "label_audit.json"
            merge_audit(self._audit_dir(runner), path, dataset.label_budget, dataset.scene_of)


def _dataset(runner: Any) -> Any:
    return runner.train_dataloader.dataset


def _on_main_first(call: Any) -> Any:
    """Run on the main process, then on the others, which find its file."""
    if not is_main_process():
        barrier()
        return call()
    result = call()
    barrier()
    return result
