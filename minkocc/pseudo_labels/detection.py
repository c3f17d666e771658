"""Boxes of an open-vocabulary detector, each with the class whose phrase it answers best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minkocc.pseudo_labels.pretrained import finite, inference
from minkocc.pseudo_labels.prompts import PromptGroup, token_ids
from minkocc.structures.taxonomy import UNLABELLED_2D

KINDS = ("grounding-dino", "mm-grounding-dino")
"""The model types that ``Detector`` knows how to ask."""


@dataclass(frozen=True)
class Detections:
    """Boxes of one image.

    Args:
        boxes: float32 ``(n, 4)``: left, top, right, bottom in pixels, inside the image.
        scores: float32 ``(n,)`` in [0, 1].
        ids: uint8 ``(n,)`` 2D ids.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    ids: NDArray[np.uint8]


@dataclass(frozen=True)
class _Question:
    """A caption as the model reads it, and the 2D id of each of its tokens, ``(tokens,)``."""

    text: dict[str, Tensor]
    ids: Tensor


class Detector:
    """Asks Grounding-DINO for every group of phrases.

    A box's score is the sigmoid of its best token inside any phrase, and its class is that of the
    phrase which holds this token. The phrase that the library's post-processor returns may join
    several classes, so it is not asked.

    Args:
        model: ``AutoModelForZeroShotObjectDetection``.
        image_processor: the model's.
        tokenizer: the model's.
        groups: one pass of the model each.
        threshold: boxes with a lower score are dropped.

    Raises:
        PromptError: a group is longer than the model reads.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        tokenizer: Any,
        groups: Sequence[PromptGroup],
        threshold: float,
    ) -> None:
        self._model, self._image_processor = model, image_processor
        self._threshold = threshold
        self._device = next(model.parameters()).device
        self._questions = [self._question(group, tokenizer) for group in groups]

    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        """The boxes of every image of a batch; earlier groups come first."""
        inputs = self._image_processor(images=list(images), return_tensors="pt").to(self._device)
        sizes = [(image.width, image.height) for image in images]
        answers = [self._ask(question, inputs, sizes) for question in self._questions]
        return [_joined(parts) for parts in zip(*answers)]

    def _question(self, group: PromptGroup, tokenizer: Any) -> _Question:
        ids = token_ids(group, tokenizer, self._model.config.max_text_len)
        text = tokenizer(group.caption, return_tensors="pt", return_token_type_ids=True)
        return _Question(
            {name: tensor.to(self._device) for name, tensor in text.items()},
            torch.from_numpy(ids).to(self._device),
        )

    def _ask(
        self, question: _Question, inputs: Any, sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        text = {name: t.expand(len(sizes), -1) for name, t in question.text.items()}
        with inference(self._device):
            found = self._model(**inputs, **text)
        inside = question.ids != UNLABELLED_2D
        # Of the logits: sigmoids of large ones are all the same 1.
        logits = found.logits[..., : len(inside)][..., inside]
        logit, best = finite(logits, "--detector").float().max(-1)
        score, ids = logit.sigmoid(), question.ids[inside][best]
        boxes = _corners(finite(found.pred_boxes, "--detector").float())
        return [
            self._kept(boxes[i] * boxes.new_tensor(size * 2), score[i], ids[i], size)
            for i, size in enumerate(sizes)
        ]

    def _kept(
        self, boxes: Tensor, scores: Tensor, ids: Tensor, size: tuple[int, int]
    ) -> Detections:
        keep = scores > self._threshold
        clipped = boxes[keep].clamp(min=0.0).minimum(boxes.new_tensor(size * 2))
        return Detections(
            clipped.cpu().numpy(), scores[keep].cpu().numpy(), ids[keep].cpu().numpy()
        )


def _corners(boxes: Tensor) -> Tensor:
    """Left, top, right, bottom of boxes given by centre and size, ``(..., 4)``."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.ids for part in parts]),
    )
