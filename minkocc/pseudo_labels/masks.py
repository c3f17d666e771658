"""Masks of boxes: SAM and SAM 2 behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minkocc.pseudo_labels.pretrained import Pretrained, finite, inference

SAM, SAM2 = ("sam",), ("sam2", "sam2_video")  # the hub's SAM 2 are saved as video models
KINDS = (*SAM, *SAM2)
"""The model types that ``load_segmenter`` knows."""

BOXES_AT_ONCE = 16
"""Bounds the memory: each box needs some float32 maps of the image's size."""


class Segmenter(ABC):
    """Masks of boxes in an image, which is embedded once.

    Args:
        model: of ``transformers``.
        image_processor: what makes its input.
    """

    def __init__(self, model: Any, image_processor: Any) -> None:
        self._model, self._image_processor = model, image_processor
        self._device = next(model.parameters()).device

    def masks(self, image: Image.Image, boxes: NDArray[np.float32]) -> Iterator[NDArray[np.bool_]]:
        """Bool ``(H, W)`` at the image's size for each box, in their order.

        Args:
            image: RGB.
            boxes: ``(n, 4)``: left, top, right, bottom in pixels.
        """
        if not len(boxes):
            return
        inputs = self._image_processor(images=[image], return_tensors="pt").to(self._device)
        with inference(self._device):
            embedding = self._model.get_image_embeddings(inputs["pixel_values"])
        x, y = self._scale(inputs, image)
        scaled = boxes.astype(np.float32) * np.array([x, y, x, y], np.float32)
        for first in range(0, len(boxes), BOXES_AT_ONCE):
            chunk = torch.from_numpy(scaled[first : first + BOXES_AT_ONCE]).to(self._device)
            with inference(self._device):
                found = self._model(
                    image_embeddings=embedding, input_boxes=chunk[None], multimask_output=False
                )
            low = finite(found.pred_masks[0], "--segmenter").float()
            yield from self._full_size(low, inputs, image)[:, 0]

    @abstractmethod
    def _scale(self, inputs: Any, image: Image.Image) -> tuple[float, float]:
        """From the image's pixels to those that the model sees, in x and y."""

    @abstractmethod
    def _full_size(self, low: Tensor, inputs: Any, image: Image.Image) -> NDArray[np.bool_]:
        """Masks ``(n, 1, H, W)`` of logits ``(n, 1, h, w)``."""


class SamSegmenter(Segmenter):
    """SAM: the image keeps its aspect and is padded to a square."""

    def _scale(self, inputs: Any, image: Image.Image) -> tuple[float, float]:
        height, width = inputs["reshaped_input_sizes"][0].tolist()
        return width / image.width, height / image.height

    def _full_size(self, low: Tensor, inputs: Any, image: Image.Image) -> NDArray[np.bool_]:
        sizes = inputs["original_sizes"].tolist(), inputs["reshaped_input_sizes"].tolist()
        masks = self._image_processor.post_process_masks([low], *sizes)[0]
        return np.asarray(masks.cpu())


class Sam2Segmenter(Segmenter):
    """SAM 2: the image is stretched to a square.

    Its own image processor wants torchvision; what it does is the resizing and normalising of any
    vision transformer's.
    """

    def _scale(self, inputs: Any, image: Image.Image) -> tuple[float, float]:
        height, width = inputs["pixel_values"].shape[-2:]
        return width / image.width, height / image.height

    def _full_size(self, low: Tensor, inputs: Any, image: Image.Image) -> NDArray[np.bool_]:
        size = (image.height, image.width)
        logits = F.interpolate(low, size, mode="bilinear", align_corners=False)
        return np.asarray((logits > 0).cpu())


def load_segmenter(found: Pretrained, device: torch.device) -> Segmenter:
    """The segmenter with its weights.

    Args:
        found: a model of one of ``KINDS``.
        device: where it works.

    Raises:
        ModelError: it cannot be read.
    """
    if found.kind in SAM:
        model, process = found.load("SamModel", device), "SamImageProcessorPil"
        return SamSegmenter(model, found.image_processor(process))
    model, process = found.load("Sam2Model", device), "ViTImageProcessorPil"
    return Sam2Segmenter(model, found.image_processor(process))
