"""Labels of models that name every pixel: class probabilities summed over the classes of an id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minkocc.pseudo_labels.fusion import as_confidence
from minkocc.pseudo_labels.pretrained import Pretrained, finite, inference, library
from minkocc.structures.taxonomy import NUM_IDS_2D, UNLABELLED_2D

MASK_KINDS = ("mask2former", "maskformer", "oneformer")
"""Model types that classify masks; all others of this source give logits a pixel."""

UInt8 = NDArray[np.uint8]


class SemanticLabeller:
    """A pixel takes the id with the highest probability, and that is its confidence.

    Source classes that stand for none of ours compete as *unlabelled*.

    Args:
        model: of ``transformers``.
        process: makes the model's input of a batch of images.
        ids: ``(classes,)`` 2D ids of the model's classes.
    """

    def __init__(
        self,
        model: Any,
        process: Callable[[list[Image.Image]], Any],
        ids: NDArray[np.int64],
    ) -> None:
        self._model, self._process = model, process
        self._device = next(model.parameters()).device
        # A product with zeros and ones adds in the same order every time; scattering on CUDA
        # does not.
        self._sum = F.one_hot(torch.from_numpy(ids), NUM_IDS_2D).T.float().to(self._device)

    def label(self, images: Sequence[Image.Image]) -> list[tuple[UInt8, UInt8]]:
        """2D ids and confidence, uint8 ``(H, W)``, of every image of a batch."""
        out = []
        for probability in self.probabilities(images):
            best, labels = probability.max(0)
            ids = labels.to(torch.uint8).cpu().numpy()
            out.append((ids, as_confidence(best.cpu().numpy(), ids)))
        return out

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Image.Image]) -> list[Tensor]:
        """Probabilities of the 2D ids, ``(19, H, W)`` at each image's size, *unlabelled* first."""
        inputs = self._process(list(images)).to(self._device)
        with inference(self._device):
            found = self._model(**inputs)
        for name in ("logits", "class_queries_logits", "masks_queries_logits"):
            if name in found:
                finite(found[name], "--semantic")
        sizes = [(image.height, image.width) for image in images]
        if "masks_queries_logits" not in found:
            return [self._of_logits(one, size) for one, size in zip(found.logits.float(), sizes)]
        padded = tuple(inputs["pixel_values"].shape[-2:])
        valid = _valid_sizes(inputs, len(sizes))
        return [
            self._of_masks(classes, masks, padded, inside, size)
            for classes, masks, inside, size in zip(
                found.class_queries_logits.float(), found.masks_queries_logits.float(), valid, sizes
            )
        ]

    def _of_logits(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Of logits ``(classes, h, w)`` over the whole image."""
        return torch.einsum("ic,chw->ihw", self._sum, _resized(logits, size).softmax(0))

    def _of_masks(
        self,
        classes: Tensor,
        masks: Tensor,
        padded: Sequence[int],
        inside: Sequence[int],
        size: tuple[int, int],
    ) -> Tensor:
        """Of class logits ``(queries, classes + 1)`` and mask logits ``(queries, h, w)``.

        The scores of a pixel add up to less than one where no mask claims it: what is left is
        *unlabelled*; where they add up to more they are scaled.
        """
        # The last class is 'no object'.
        of_ids = classes.softmax(-1)[:, :-1] @ self._sum.T
        scores = torch.einsum("qi,qhw->ihw", of_ids, masks.sigmoid())
        scores = _resized(scores, padded)[:, : inside[0], : inside[1]]
        scores = _resized(scores, size)
        total = scores.sum(0)
        scores = scores / total.clamp(min=1.0)
        scores[UNLABELLED_2D] += (1.0 - total).clamp(min=0.0)
        return scores


def load_semantic(
    found: Pretrained, ids: NDArray[np.int64], device: torch.device
) -> SemanticLabeller:
    """A labeller with its weights.

    Args:
        found: a semantic segmentation model.
        ids: of its classes.
        device: where it works.

    Raises:
        ModelError: it cannot be read.
    """
    if found.kind not in MASK_KINDS:
        model = found.load("AutoModelForSemanticSegmentation", device)
        # Some would see the middle alone.
        return SemanticLabeller(model, _plain(found.image_processor(do_center_crop=False)), ids)
    model = found.load("AutoModelForUniversalSegmentation", device)
    if found.kind != "oneformer":
        return SemanticLabeller(model, _plain(found.image_processor()), ids)
    return SemanticLabeller(model, _with_task(found), ids)


def _plain(processor: Any) -> Callable[[list[Image.Image]], Any]:
    return lambda images: processor(images=images, return_tensors="pt")


def _with_task(found: Pretrained) -> Callable[[list[Image.Image]], Any]:
    """OneFormer is told what to do in words."""
    # Names of classes are for training, and lie in a repository of their own.
    image_processor = found.image_processor(class_info_file=None)
    processor = library(found.option).OneFormerProcessor(
        image_processor, found.tokenizer(), task_seq_length=found.config.task_seq_len
    )
    return lambda images: processor(
        images=images, task_inputs=["semantic"] * len(images), return_tensors="pt"
    )


def _valid_sizes(inputs: Any, count: int) -> list[tuple[int, int]]:
    """Height and width of each image in the batch's input without padding."""
    height, width = inputs["pixel_values"].shape[-2:]
    if "pixel_mask" not in inputs:
        return [(height, width)] * count
    masks = inputs["pixel_mask"]
    return [(int(mask.any(1).sum()), int(mask.any(0).sum())) for mask in masks]


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """``(C, h, w)`` to ``(C, *size)``."""
    return F.interpolate(maps[None], tuple(size), mode="bilinear", align_corners=False)[0]
