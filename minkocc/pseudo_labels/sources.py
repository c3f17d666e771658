"""What labels images: a detector with a segmenter, or a semantic segmentation model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from minkocc.pseudo_labels import detection, masks
from minkocc.pseudo_labels.class_maps import full_class_map, read_class_map, source_ids
from minkocc.pseudo_labels.detection import Detector
from minkocc.pseudo_labels.fusion import fuse
from minkocc.pseudo_labels.masks import Segmenter, load_segmenter
from minkocc.pseudo_labels.pretrained import find, library
from minkocc.pseudo_labels.prompts import PromptGroup, token_ids
from minkocc.pseudo_labels.semantic import MASK_KINDS, load_semantic
from minkocc.structures.taxonomy import OCC3D, Taxonomy

UInt8 = NDArray[np.uint8]


class Labeller(Protocol):
    """Labels images, with its weights loaded."""

    def label(self, images: Sequence[Image.Image]) -> list[tuple[UInt8, UInt8]]:
        """2D ids and confidence, uint8 ``(H, W)``, of every image of a batch."""
        ...


@dataclass(frozen=True)
class Source:
    """Models that were looked up and checked, and are loaded when there is work.

    Args:
        kind: ``detection`` or ``semantic``.
        models: what ``meta.json`` says of each.
        class_map: from phrases or source labels to our names.
        load: gives the labeller on a device.
        taxonomy: our classes.
        settings: what else decides the labels: prompts, thresholds.
        warnings: what the user should know before the work begins.
    """

    kind: str
    models: list[dict[str, Any]]
    class_map: Mapping[str, str | None]
    load: Callable[[torch.device], Labeller]
    taxonomy: Taxonomy = OCC3D
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class BoxLabeller:
    """Boxes of a detector, their masks, and the class of the best box at every pixel.

    Args:
        detector: finds boxes with classes.
        segmenter: makes masks of them.
    """

    def __init__(self, detector: Detector, segmenter: Segmenter) -> None:
        self._detector, self._segmenter = detector, segmenter

    def label(self, images: Sequence[Image.Image]) -> list[tuple[UInt8, UInt8]]:
        """2D ids and confidence, uint8 ``(H, W)``, of every image of a batch."""
        return [
            fuse(
                self._segmenter.masks(image, found.boxes),
                found.scores,
                found.ids,
                (image.height, image.width),
            )
            for image, found in zip(images, self._detector.detect(images))
        ]


def detection_source(
    detector: str, segmenter: str, groups: Sequence[PromptGroup], threshold: float
) -> Source:
    """The paper's source: Grounding-DINO and SAM or SAM 2.

    Args:
        detector: folder or hub name.
        segmenter: folder or hub name.
        groups: what the detector is asked for.
        threshold: boxes with a lower score are dropped.

    Raises:
        ModelError: a model is missing or of another kind.
        PromptError: a group is longer than the detector reads.
    """
    boxes = find("--detector", detector, detection.KINDS, "a Grounding-DINO")
    shapes = find("--segmenter", segmenter, masks.KINDS, "a SAM or SAM 2")
    tokenizer = boxes.tokenizer()
    for group in groups:
        token_ids(group, tokenizer, boxes.config.max_text_len)  # now, not after the weights

    def load(device: torch.device) -> Labeller:
        model = boxes.load("AutoModelForZeroShotObjectDetection", device)
        found = Detector(model, boxes.image_processor(), tokenizer, groups, threshold)
        return BoxLabeller(found, load_segmenter(shapes, device))

    return Source(
        "detection",
        [boxes.describe(), shapes.describe()],
        {phrase: name for group in groups for phrase, name in group.phrases},
        load,
        groups[0].taxonomy,
        {
            "prompts": [group.as_dict() for group in groups],
            "thresholds": {"box": threshold},
        },
    )


def semantic_source(model: str, class_map: str, taxonomy: Taxonomy = OCC3D) -> Source:
    """A model that names every pixel, with a map from its classes to ours.

    Args:
        model: folder or hub name.
        class_map: name of a map of the taxonomy, or a JSON file.
        taxonomy: our classes.

    Raises:
        ModelError: the model is missing or of another kind.
        ClassMapError: the map is missing, or not of this model.
    """
    chosen = read_class_map(class_map, taxonomy)
    found = find("--semantic", model, _semantic_kinds(), "a semantic segmentation model")
    where = f"--class-map {class_map} of {model}"
    full = full_class_map(found.config.id2label, chosen, where)
    ids = source_ids(found.config.id2label, full, taxonomy)
    left_out = [label for label in full if label not in chosen]
    warnings = []
    if left_out:
        warnings.append(
            f"{where} does not name {len(left_out)} of the model's labels, which stay unlabelled: "
            f"{', '.join(left_out)}"
        )
    return Source(
        "semantic",
        [found.describe()],
        full,
        lambda device: load_semantic(found, ids, device),
        taxonomy,
        warnings=warnings,
    )


def _semantic_kinds() -> list[str]:
    mapping = library("--semantic").MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING
    return [*MASK_KINDS, *(config.model_type for config in mapping)]
