"""Moves a batch to the device and normalises its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from minkocc.registry import MODELS


@MODELS.register_module()
class OccDataPreprocessor(BaseDataPreprocessor):
    """Collated lists to what the model takes: ``points`` as a list, ``imgs`` ``(B, N, 3, H, W)``.

    Args:
        mean: per RGB channel, of 0..255 values.
        std: per RGB channel.
        non_blocking: do not wait for the copies of pinned batches.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Cast, stack and normalise a collated batch."""
        data = self.cast_data(data)
        imgs = torch.stack(list(data["inputs"]["imgs"])).float()
        inputs = {"points": data["inputs"]["points"], "imgs": (imgs - self.mean) / self.std}
        return {"inputs": inputs, "data_samples": data["data_samples"]}
