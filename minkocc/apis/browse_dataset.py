"""What training sees of a frame: after augmentation, with the targets of each phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.apis.frame_pictures import swept_cameras, without_class
from minkocc.config.classes import recipe_classes
from minkocc.registry import DATASETS
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.errors import UserError
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.spread import spread_indices
from minkocc.structures.taxonomy import FREE, NUM_CLASSES, Taxonomy
from minkocc.structures.voxel_grid import VoxelGrid
from minkocc.visualization.cameras import around, colour_2d
from minkocc.visualization.sheet import Picture, write_sheet
from minkocc.visualization.voxels import birds_eye, oblique


def browse_dataset(cfg: Config, out_dir: Path, max_frames: int, phase: Phase) -> list[Path]:
    """Write ``<out_dir>/<token>_<phase>.png`` for training frames, as an iteration gets them.

    Args:
        cfg: a resolved recipe.
        out_dir: where to.
        max_frames: number of frames to draw, evenly spaced over those of the phase.
        phase: under which they are drawn; with dense labels, frames of the label budget alone.

    Returns:
        The written files; none where no frame is labelled and the phase needs labels.

    Raises:
        UserError: the recipe has no training set, or a file of it cannot be used.
    """
    init_default_scope("minkocc")
    if not cfg.get("train_dataloader"):
        raise UserError(f"{cfg.filename or 'the recipe'} has no train_dataloader to look at")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    classes = ClassGroups.of(None, recipe_classes(cfg).taxonomy)  # labels before they are grouped
    grid = VoxelGrid(cfg.point_cloud_range, cfg.voxel_size)
    members = dataset.labelled_indices() if phase.needs_dense else range(len(dataset))
    written = []
    for place in tqdm(spread_indices(len(members), max_frames), desc="pictures"):
        item = dataset[TrainIndex(members[place], place, phase)]
        sample = item["data_samples"]
        rows = [
            *_camera_rows(item),
            _target_row(sample, grid, classes.taxonomy),
            *_label_rows(sample, classes.taxonomy),
        ]
        path = out_dir / f"{sample.token}_{phase.value}.png"
        title = f"{sample.scene_name}  {sample.token}  {phase.value}"
        write_sheet(path, rows, title, groups=classes)
        written.append(path)
    return written


def _camera_rows(item: dict[str, Any]) -> Iterator[list[Picture]]:
    """The network's images with the present sweep, each where augmentation has moved it."""
    imgs = item["inputs"]["imgs"].permute(0, 2, 3, 1).numpy()
    sample, points = item["data_samples"], item["inputs"]["points"]
    by_camera = dict(zip(sample.cameras, imgs))
    return swept_cameras(by_camera, points, sample.ego2img.double(), "augmented, present sweep")


def _target_row(sample: OccDataSample, grid: VoxelGrid, taxonomy: Taxonomy) -> list[Picture]:
    """The voxels' targets from above and from the side."""
    volumes = []
    if "voxel_semantics" in sample:
        label = sample.voxel_semantics.numpy()
        volumes.append(("dense label", _shown(label)))
        volumes.append(("dense label, visible", _shown(np.where(sample.mask_camera, label, FREE))))
    if "weak_occupancy" in sample:
        volumes.append(("weak occupancy", without_class(sample.weak_occupancy.numpy())))
    if "voted_labels" in sample:
        volumes.append(("voted labels", _shown(sample.voted_labels.numpy())))
    colours = taxonomy.palette
    row = [(f"{name}, from above", birds_eye(v, palette=colours)) for name, v in volumes]
    return row + [(name, oblique(v, grid, palette=colours)) for name, v in volumes]


def _shown(values: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Ids with free in the place of what is in no loss."""
    return np.where(values < NUM_CLASSES, values, FREE).astype(np.uint8)


def _label_rows(sample: OccDataSample, taxonomy: Taxonomy) -> Iterator[Sequence[Picture]]:
    """The pseudo-labels at the pixels that are rendered, which augmentation leaves as they are."""
    if "img_semantics" not in sample:
        return
    labels = colour_2d(sample.img_semantics.numpy(), taxonomy)
    yield from around(
        {
            name: (f"{name}: pseudo-label, rendered pixels", view)
            for name, view in zip(sample.cameras, labels)
        }
    )
