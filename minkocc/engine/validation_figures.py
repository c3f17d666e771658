"""Every validation's figures, kept as they are measured: what a learning curve is drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from minkocc.evaluation.metrics import summaries_of
from minkocc.files.writing import write_json
from minkocc.registry import HOOKS

VALIDATIONS = "validations"
"""The folder of a work dir that holds them, ``iter_<iteration>.json`` each."""


@HOOKS.register_module()
class ValidationFiguresHook(Hook):
    """Keeps what each validation found, classes and all; the log has the means alone.

    ``<work dir>/validations/iter_<iteration>.json``: ``iteration``, ``epoch`` and the summary of
    every protocol. A run that begins anew forgets those of the former one.
    """

    def before_train(self, runner: Any) -> None:
        """Forget another run's."""
        if runner.iter == 0 and is_main_process():
            for path in (Path(runner.work_dir) / VALIDATIONS).glob("iter_*.json"):
                path.unlink()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the summaries of the metrics that keep some."""
        summaries = summaries_of(runner.val_evaluator.metrics)
        if not summaries or not is_main_process():
            return
        content = {
            "iteration": runner.iter,
            "epoch": runner.epoch,
            **{summary["protocol"]: summary for summary in summaries},
        }
        write_json(Path(runner.work_dir) / VALIDATIONS / f"iter_{runner.iter}.json", content)
