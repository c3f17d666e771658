"""What the 2D labels of the weak phase meet: voxels of their class, others, or none there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from minkocc.apis.inference import init_model
from minkocc.config.classes import recipe_classes
from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset
from minkocc.evaluation.report import aligned, cell
from minkocc.evaluation.voxel_iou import percent_of
from minkocc.files.occupancy import read_label
from minkocc.models.group_index import classes_of
from minkocc.models.targets import known_free
from minkocc.registry import DATASETS
from minkocc.structures.errors import UserError
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.spread import spread_indices
from minkocc.structures.taxonomy import CLASSES, FREE, NUM_CLASSES, OCC3D, has_class_2d
from minkocc.structures.voxel_grid import OCC3D_GRID

COUNTED = (
    "pixels at render resolution with a pseudo-label of the 17 classes, by the dense label of what "
    "is rendered there"
)
OUTCOMES = ("nothing", "free in truth", "another class", "its class")
"""What a pixel meets."""

VARIANTS = {
    "trained": "what training renders: the network's voxels and all of the weak target's",
    "carved": "these without known free space (carve_free)",
    "predicted": "what the network predicts",
    "exact": "the dense label's voxels",
}
"""What is rendered, by name."""

_CHANGES = {"AugmentScene", "DropVoxels"}
Voxels = tuple[Tensor, Tensor]
"""Centres ``(V, 3)`` in metres and features ``(V, C)`` of what is rendered."""


def rendered_pixels(cfg: Config, checkpoint: str, frames: int) -> dict[str, Any]:
    """What labelled pixels of training frames meet, under each of ``VARIANTS``, in percent.

    Args:
        cfg: a resolved recipe with a 2D term in the weak phase.
        checkpoint: of a network of that recipe.
        frames: how many training frames to look at, spread evenly.

    Raises:
        UserError: the recipe has other classes than Occ3D's or no 2D term, or no frame has dense
            labels to hold them against.
    """
    init_default_scope("minkocc")
    if recipe_classes(cfg).taxonomy != OCC3D:
        raise UserError("the recipe has a taxonomy of its own: this report is of Occ3D's classes")
    dataset = _dataset(cfg)
    model = init_model(cfg, checkpoint)
    if model.pulsar_head is None or not model.pulsar_head.learns(Phase.WEAK):
        raise UserError(
            "the recipe renders nothing in the weak phase: it has no pulsar_head, or weight_2d or "
            "its paths are 0"
        )
    counts = {name: np.zeros((NUM_CLASSES, len(OUTCOMES)), np.int64) for name in VARIANTS}
    chosen = _labelled(dataset, spread_indices(len(dataset), frames))
    for index, label in tqdm(chosen, desc="rendered pixels", unit="frame"):
        item = pseudo_collate([dataset[TrainIndex(index, 0, Phase.WEAK)]])
        for name, found in count_frame(model, model.data_preprocessor(item, True), label):
            counts[name] += found
    return {
        "counted": COUNTED,
        "frames": len(chosen),
        "variants": {name: figures_of(found) for name, found in counts.items()},
    }


def rendered_pixels_table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    rows = [["percent of the labelled pixels", *OUTCOMES]]
    for name, row in figures["variants"].items():
        rows.append([VARIANTS[name], *(cell(row["all"][outcome], 1) for outcome in OUTCOMES)])
    classes = [["its class, percent", *VARIANTS]]
    for name in CLASSES:
        cells = [cell(row["classes"][name], 1) for row in figures["variants"].values()]
        classes.append([name, *cells])
    return "\n".join([f"({COUNTED})", "", *aligned(rows), "", *aligned(classes)])


def _dataset(cfg: Config) -> Occ3DNuScenesDataset:
    """The training set without what moves or changes a frame."""
    settings = deepcopy(cfg.train_dataloader.dataset)
    settings.pipeline = [_still(step) for step in settings.pipeline if step["type"] not in _CHANGES]
    return DATASETS.build(settings)


def _still(step: dict[str, Any]) -> dict[str, Any]:
    """Images are fitted to the network, and nothing else is done to them."""
    if step["type"] != "AugmentImages":
        return step
    return {"type": "AugmentImages", "image_size": step["image_size"]}


def _labelled(
    dataset: Occ3DNuScenesDataset, indices: Iterable[int]
) -> Sequence[tuple[int, NDArray[np.uint8]]]:
    """Frames that have dense labels, with the classes of their voxels.

    Raises:
        UserError: there are none.
    """
    found = []
    for index in indices:
        path = dataset.get_data_info(index)["occ_path"]
        if path:
            label = read_label(Path(dataset.data_root) / path, ("semantics",))
            found.append((index, label["voxel_semantics"]))
    if not found:
        raise UserError(
            "no training frame that was looked at has a dense label: what pixels meet is held "
            "against them; put Occ3D's gts/ into the root"
        )
    return found


@torch.no_grad()
def count_frame(
    model: Any, data: dict[str, Any], label: NDArray[np.uint8]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """A frame's labelled pixels by the class of their pseudo-label and by outcome, ``(17, 4)``.

    Args:
        model: the network.
        data: one preprocessed training sample of the weak phase, not augmented.
        label: ``(200, 200, 16)`` Occ3D ids.

    Yields:
        Each of ``VARIANTS`` with its counts.
    """
    (sample,) = data["data_samples"]
    groups, device = classes_of(model), sample.cam2img.device
    truth = torch.as_tensor(groups.grouped(label), device=device)
    images = groups.grouped_2d(sample.img_semantics.cpu().numpy())
    sample.img_semantics = torch.as_tensor(images, device=device)
    for name, voxels in _variants(model, data, truth):
        yield name, _outcomes(model.pulsar_head, voxels, truth, sample)


def _variants(model: Any, data: dict[str, Any], truth: Tensor) -> Iterator[tuple[str, Voxels]]:
    samples = data["data_samples"]
    target = model.targets.occupancy(samples, Phase.WEAK)
    trained, _ = model.extract_feat(data["inputs"], samples, target)
    own, _ = model.extract_feat(data["inputs"], samples)
    free = known_free(target, trained.coords)
    occupied = (truth != FREE).nonzero()
    for name, coords, feats in (
        ("trained", trained.coords[:, 1:], trained.feats),
        ("carved", trained.coords[~free, 1:], trained.feats[~free]),
        ("predicted", own.coords[:, 1:], own.feats),
    ):
        yield name, (model.grid.to_centre(coords), feats.float())
    nothing = trained.feats.new_zeros(len(occupied), trained.feats.shape[1], dtype=torch.float32)
    yield "exact", (OCC3D_GRID.to_centre(occupied), nothing)


def _outcomes(head: Any, voxels: Voxels, truth: Tensor, sample: OccDataSample) -> NDArray[np.int64]:
    centres, feats = voxels
    index = OCC3D_GRID.to_index(centres)
    inside = OCC3D_GRID.contains(index)
    at = truth[tuple(index[inside].long().T)].long()
    kinds = torch.nn.functional.one_hot(at, FREE + 1).float()
    views = head.render(feats[inside], kinds, centres[inside].float(), sample)
    met = views.tied_probs.argmax(1)
    covered = views.coverage > head.min_coverage
    labels = sample.img_semantics.long()
    used = has_class_2d(labels) & (sample.img_confidence > 0)
    own = labels - 1
    outcome = torch.where(met == own, 3, torch.where(met == FREE, 1, 2))
    outcome = torch.where(covered, outcome, 0)
    place = (own * len(OUTCOMES) + outcome)[used].cpu().numpy()
    counts = np.bincount(place, minlength=NUM_CLASSES * len(OUTCOMES))
    return counts.reshape(NUM_CLASSES, len(OUTCOMES)).astype(np.int64)


def figures_of(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Shares of the pixels in percent, of all by outcome and of each class that meet their own.

    Args:
        counts: ``(17, 4)`` of ``count_frame``.
    """
    whole = counts.sum()
    return {
        "pixels": int(whole),
        "all": {name: percent_of(counts[:, i].sum(), whole) for i, name in enumerate(OUTCOMES)},
        "classes": {
            name: percent_of(counts[i, -1], counts[i].sum()) for i, name in enumerate(CLASSES)
        },
    }
