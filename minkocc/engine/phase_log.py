"""The phase on every line of the training log."""

from __future__ import annotations

from typing import Any

from mmengine.runner import LogProcessor

from minkocc.registry import LOG_PROCESSORS


@LOG_PROCESSORS.register_module()
class PhaseLogProcessor(LogProcessor):
    """mmengine's log lines with ``phase: warm | weak | strong`` in front of the losses.

    Only the terms of the current iteration are printed; mmengine alone would go on printing the
    last value of a term that ended with its phase, or of a cap that is met no more.
    """

    def get_log_after_iter(self, runner: Any, batch_idx: int, mode: str) -> tuple[dict, str]:
        """The tag and the line of one iteration."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != "train":
            return tag, line
        phase = runner.message_hub.get_info("phase")
        head, separator, losses = line.partition("  ")
        return tag, f"{head}{separator}phase: {phase}  {losses}"

    def _collect_scalars(self, custom_cfg: Any, runner: Any, mode: str, *rest: Any) -> dict:
        tag = super()._collect_scalars(custom_cfg, runner, mode, *rest)
        if mode != "train":
            return tag
        current = set(runner.message_hub.get_info("logged_terms") or ())
        return {key: value for key, value in tag.items() if _is_current(key, current)}


def _is_current(key: str, current: set[str]) -> bool:
    name = key.rpartition("/")[2]
    passing = "loss" in name or name == "grad_norm" or name.startswith("cut_s")
    return name in current or not passing
