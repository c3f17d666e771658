"""Checkpoints that are never half written, and run nothing when they are read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce_params, get_world_size, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer

from minkocc.config import ConfigError
from minkocc.engine.run_settings import run_settings
from minkocc.evaluation.metrics import OccupancyMetric
from minkocc.files.checkpoints import not_finite
from minkocc.files.writing import atomic_write, write_text
from minkocc.registry import HOOKS
from minkocc.structures.errors import UserError

_BACKEND = "minkocc_atomic"


class CheckpointError(UserError, OSError):
    """A checkpoint that could not be written; the ones before it are whole."""


class AtomicBackend(LocalBackend):
    """mmengine's local files, each of which appears under its name only when it is whole."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            CheckpointError: the disk is full or the folder cannot be written to.
        """
        try:
            with atomic_write(filepath) as sink:
                sink.write(obj)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {filepath} ({len(obj) / 2**20:.1f} MiB) could not be written "
                f"({error.strerror or error}): make room and go on with --resume; the checkpoints "
                "before it are whole"
            ) from error


register_backend(_BACKEND, AtomicBackend, force=True)


# Also under mmengine's name, as recipes for mmdet3d write it: its own would write checkpoints that
# cannot be read safely.
@HOOKS.register_module(name=["SafeCheckpointHook", "CheckpointHook"])
class SafeCheckpointHook(CheckpointHook):
    """mmengine's checkpoints, written whole or not at all, of plain values and tensors.

    An outdated checkpoint is removed after its successor is on disk, not before, so that a full
    disk or a kill never takes the last one.

    ``torch.load`` refuses everything but plain values and tensors; mmengine's ``HistoryBuffer`` is
    neither, so the log history is written as tensors and made buffers of again on resume. mmengine
    executes the text of a ``meta['config']`` on resume; ours have none, and a foreign one is
    dropped unread.

    Args:
        interval: epochs or iterations between checkpoints.
        by_epoch: which of the two.
        max_keep_ckpts: how many are kept; -1 keeps all.
        save_last: also the last one, whatever the interval.
        save_best: metrics whose best checkpoint is kept, e.g. ``'occ3d/miou'``.
        rule: ``'greater'`` or ``'less'`` of each metric of ``save_best``.
        save_begin: no checkpoint before this epoch or iteration.
        save_optimizer: needed to resume.
        save_param_scheduler: needed to resume.
        out_dir: instead of the work dir.
    """

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | list[str] | None = None,
        save_begin: int = 0,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | None = None,
    ) -> None:
        super().__init__(
            interval=interval,
            by_epoch=by_epoch,
            max_keep_ckpts=max_keep_ckpts,
            save_last=save_last,
            save_best=save_best,
            rule=rule,
            save_begin=save_begin,
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            out_dir=out_dir,
            backend_args={"backend": _BACKEND},
        )

    def before_train(self, runner: Any) -> None:
        """Also remove what a killed run had begun to write.

        Raises:
            ConfigError: ``save_best`` names what no validation will report.
        """
        self._check_save_best(runner)
        super().before_train(runner)
        if is_main_process():
            for part in Path(self.out_dir).glob(".*.pth.*.part"):
                part.unlink(missing_ok=True)

    def _check_save_best(self, runner: Any) -> None:
        wanted = set(self.save_best or ()) - {"auto"}
        if self.save_best and runner.val_loop is None:
            raise ConfigError(
                f"save_best {', '.join(self.save_best)}: the recipe has no validation that reports "
                "it: leave save_best out, or set val_cfg, val_dataloader and val_evaluator"
            )
        metrics = runner.val_loop.evaluator.metrics if wanted else []
        if not wanted or not all(isinstance(metric, OccupancyMetric) for metric in metrics):
            return  # what metrics of others report shows when they do
        known = [name for metric in metrics for name in metric.names()]
        for name in sorted(wanted - set(known)):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"save_best {name!r} is none of what validation reports: {hint}It reports "
                f"{', '.join(known)}"
            )

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        outdated = self._keep(runner, step) if self.max_keep_ckpts > 0 else []
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        if not self.by_epoch and get_world_size() > 1:
            # Amid an epoch each process has statistics of its own: what goes on and what resumes
            # have the mean, as SyncBuffersHook gives them at an epoch's end.
            all_reduce_params(runner.model.buffers(), op="mean")
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
        )
        if not is_main_process():
            return
        write_text(Path(runner.work_dir) / "last_checkpoint", str(self.last_ckpt))
        for former in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(former))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _keep(self, runner: Any, step: int) -> list[int]:
        """Note that this step's checkpoint is kept; returns the steps whose time is over."""
        steps = [*(former for former in self.keep_ckpt_ids if former != step), step]
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(steps)  # a deque of max_keep_ckpts: drops the oldest
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        return [former for former in steps if former not in self.keep_ckpt_ids]

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Replace everything in ``message_hub`` by plain values, and note the run's settings.

        Raises:
            CheckpointError: weights, averages or the optimiser's state are not finite; nothing is
                written, and no former checkpoint goes for it.
        """
        lost = not_finite(checkpoint)
        if lost:
            raise CheckpointError(
                f"no checkpoint is written at iteration {checkpoint['meta'].get('iter')}: {lost}; "
                "the checkpoints before it are whole. Begin a new run from the last of them with a "
                "lower lr: --cfg-options load_from=PATH lr=..."
            )
        hub = checkpoint["message_hub"]
        checkpoint["message_hub"] = {
            "log_scalars": {
                name: [torch.from_numpy(np.asarray(part)) for part in buffer.data]
                for name, buffer in hub["log_scalars"].items()
            },
            "runtime_info": {
                name: value for name, value in hub["runtime_info"].items() if _is_plain(value)
            },
            "resumed_keys": dict(hub["resumed_keys"]),
        }
        checkpoint["meta"].pop("config", None)
        checkpoint["meta"]["run"] = run_settings(runner.cfg)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Turn the tensors into history buffers again."""
        checkpoint.get("meta", {}).pop("config", None)
        hub = checkpoint.get("message_hub")
        if isinstance(hub, dict):
            hub["log_scalars"] = {
                name: HistoryBuffer(*(part.cpu().numpy() for part in parts))
                for name, parts in hub.get("log_scalars", {}).items()
            }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    # By exact type: numpy's float64 is a float, and torch refuses to load it.
    return value is None or type(value) in (str, int, float, bool)
