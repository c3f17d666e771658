"""Checkpoints of plain values and tensors, which torch reads without running anything in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from minkocc.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes mmengine's log history as tensors and makes buffers of them again on resume.

    ``torch.load`` refuses everything but plain values and tensors; ``HistoryBuffer`` is neither.
    mmengine executes the text of a ``meta['config']`` on resume; ours have none, and a foreign one
    is dropped unread.
    """

    priority = "VERY_LOW"

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Replace everything in ``message_hub`` by plain values."""
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

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Turn the tensors into history buffers again."""
        checkpoint.get("meta", {}).pop("config", None)
        hub = checkpoint.get("message_hub")
        if isinstance(hub, dict):
            hub["log_scalars"] = {
                name: HistoryBuffer(*(part.cpu().numpy() for part in parts))
                for name, parts in hub["log_scalars"].items()
            }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    # By exact type: numpy's float64 is a float, and torch refuses to load it.
    return value is None or type(value) in (str, int, float, bool)
