"""Multi-view image features: a backbone and a feature pyramid (paper Sec. IV-A)."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor

from minkocc.files.checkpoints import load_safely, read_checkpoint
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError

_TAKEN = 0.5
"""The share of a backbone's weights that pretrained ones have to give."""


@MODELS.register_module()
class ImageEncoder(BaseModule):
    """``mmdet`` backbone and neck with the views folded into the batch.

    Args:
        backbone: e.g. ``dict(type='mmdet.ResNet', depth=50, ...)``.
        neck: e.g. ``dict(type='mmdet.FPN', ...)``.
        image_pretrained: ``torchvision://resnet50``, a local checkpoint, or None.

    Raises:
        UserError: at ``init_weights``, when the pretrained weights cannot be had, or are of another
            backbone.
    """

    def __init__(
        self, backbone: dict[str, Any], neck: dict[str, Any], image_pretrained: str | None = None
    ) -> None:
        super().__init__()
        self.image_pretrained = image_pretrained
        backbone = {**backbone}
        if _knows(backbone["type"], "norm_eval"):
            # mmdet freezes batch norm's statistics by default, which from scratch means 0 and 1
            # for ever, i.e. no normalisation at all.
            backbone = {"norm_eval": bool(image_pretrained), **backbone}
        if image_pretrained:
            load_safely()
            # Some backbones read its keys as attributes.
            backbone["init_cfg"] = ConfigDict(type="Pretrained", checkpoint=image_pretrained)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)

    def init_weights(self) -> None:
        """Initialise, and name the knob when the pretrained weights are not to be had."""
        try:
            super().init_weights()
        except Exception as error:  # download, file and format errors of several libraries
            if not self.image_pretrained:
                raise
            raise UserError(
                f"image_pretrained = {self.image_pretrained!r} could not be loaded ({error}): "
                "set image_pretrained to a local checkpoint, or to None to train from scratch"
            ) from error
        if self.image_pretrained:
            self._check_taken(self.image_pretrained)

    def _check_taken(self, name: str) -> None:
        """Refuse a checkpoint of which next to nothing was taken, which mmengine only logs."""
        content = read_checkpoint(name)
        state = content.get("state_dict", content.get("model", content))
        given = {_digest(value) for value in state.values() if isinstance(value, Tensor)}
        # By their values: some backbones rename or join what they take. What is of one dimension
        # begins as 0 or 1 in both.
        own = [p for p in self.backbone.parameters() if p.ndim > 1]
        taken = sum(_digest(parameter) in given for parameter in own)
        if taken < _TAKEN * len(own):
            held = ", ".join(list(state)[:2])
            wanted = ", ".join([key for key, _ in self.backbone.named_parameters()][:2])
            raise UserError(
                f"image_pretrained = {name!r} gives {taken} of the backbone's {len(own)} weights: "
                f"it holds {held}, ..., the backbone {wanted}, ...; name a checkpoint of this "
                "backbone, with tensors called as its own"
            )

    def forward(self, imgs: Tensor) -> list[Tensor]:
        """Feature maps of every view.

        Args:
            imgs: ``(B, N, 3, H, W)`` normalised images.

        Returns:
            One ``(B, N, C, H_l, W_l)`` map a pyramid level.
        """
        batch, views = imgs.shape[:2]
        # Channels last is what convolutions are fastest on, and where points read their features.
        pixels = imgs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        levels = self.neck(self.backbone(pixels))
        return [level.unflatten(0, (batch, views)) for level in levels]


def _digest(values: Tensor) -> bytes:
    flat = values.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(flat.tobytes()).digest()


def _knows(kind: str | type, keyword: str) -> bool:
    """Whether a component takes a keyword; one that does not exist is for the registry to name."""
    component = MODELS.get(kind) if isinstance(kind, str) else kind
    if component is None:
        return True
    for each in component.__mro__:  # ResNetV1d hands all but its own keywords on to ResNet
        taken = inspect.signature(each).parameters
        if keyword in taken:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            return False
    return False
