"""One sheet of pictures a frame: what the sensors saw, what the targets say, what is predicted."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.apis.frame_pictures import (
    rendered_semantics,
    swept_cameras,
    weak_occupancy_step,
    without_class,
)
from minkocc.apis.inference import init_model
from minkocc.config.classes import recipe_classes
from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset
from minkocc.datasets.transforms.loading import LoadImages
from minkocc.datasets.transforms.pseudo_labels import PSEUDO_LABELS, LoadPseudoLabels
from minkocc.models.group_index import classes_of
from minkocc.registry import DATASETS
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.visualization.cameras import overlay
from minkocc.visualization.errors import error_pictures
from minkocc.visualization.sheet import Picture, write_sheet
from minkocc.visualization.voxels import birds_eye, oblique


def draw_frames(
    cfg: Config, checkpoint: str | None, infos: Path, out_dir: Path, max_frames: int | None
) -> list[Path]:
    """Write ``<out_dir>/<token>.png`` for the frames of an info file.

    Args:
        cfg: a resolved recipe.
        checkpoint: weights; None draws inputs and targets only.
        infos: info file inside its nuScenes root; needs no labels.
        out_dir: where to.
        max_frames: stop after so many, spread evenly; None draws all.

    Returns:
        The written files.
    """
    init_default_scope("minkocc")
    dataset = _dataset(cfg, infos)
    model = init_model(cfg, checkpoint, render=True) if checkpoint else None
    count = len(dataset) if max_frames is None else min(max_frames, len(dataset))
    labels = cfg.get("pseudo_labels", PSEUDO_LABELS)
    own = recipe_classes(cfg)
    groups = own if model is None else classes_of(model)
    written = []
    for index in tqdm(np.linspace(0, len(dataset) - 1, count).astype(int), desc="pictures"):
        item = dataset[int(index)]
        frame = dataset.get_data_info(int(index))
        images = _raw_images(frame, infos.parent)
        rows = [*_camera_rows(images, item)]
        predicted = _predict(model, item) if model is not None else {}
        sample = item["data_samples"]
        rows += list(_voxel_rows(sample, predicted.get("voxels"), groups))
        found = {
            **frame,
            "data_root": infos.parent,
            "phase": None,
            "raw_size": sample.raw_size,
            "taxonomy": groups.taxonomy,
        }
        pseudo_labels = LoadPseudoLabels(labels).transform(found).get("img_semantics")
        rows += list(_rendered_rows(images, pseudo_labels, predicted, groups))
        path = out_dir / f"{frame['token']}.png"
        title = f"{frame['scene_name']}  {frame['token']}"
        write_sheet(path, rows, title, groups=groups)
        written.append(path)
    return written


def _dataset(cfg: Config, infos: Path) -> Occ3DNuScenesDataset:
    """The test set of the recipe over another info file, with every target that exists."""
    settings = deepcopy(cfg.test_dataloader.dataset)
    place = 1 + [step.type for step in settings.pipeline].index("LoadImages")
    settings.pipeline.insert(place, weak_occupancy_step(cfg))
    settings.update(data_root=str(infos.parent), ann_file=infos.name)
    return DATASETS.build(settings)


def _predict(model: Any, item: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    sample = model.predict(**model.data_preprocessor(pseudo_collate([item])))[0]
    voxels = sample.pred_semantics.cpu().numpy()
    return {"voxels": voxels, **rendered_semantics(sample)}


def _camera_rows(
    images: dict[str, NDArray[np.uint8]], item: dict[str, Any]
) -> Iterator[list[Picture]]:
    """The images with the current sweep, in rows of three."""
    sample = item["data_samples"]
    ego2img = sample.cam2img.double() @ sample.ego2cam.double()
    title = "current LiDAR sweep (red near, blue far)"
    return swept_cameras(images, item["inputs"]["points"], ego2img, title)


def _voxel_rows(
    sample: OccDataSample, predicted: NDArray[np.uint8] | None, groups: ClassGroups
) -> Iterator[list[Picture]]:
    """Bird's-eye and oblique views of prediction, label and weak target, and of the errors."""
    volumes = []
    if predicted is not None:
        volumes.append(("prediction", predicted))
    if "voxel_semantics" in sample:
        label = groups.grouped(sample.voxel_semantics.numpy())
        mask = sample.mask_camera.numpy()
        volumes.append(("dense label", label))
        volumes.append(("dense label, visible", np.where(mask, label, FREE)))
    volumes.append(("weak occupancy (no class)", without_class(sample.weak_occupancy.numpy())))
    colours = groups.taxonomy.palette
    yield [
        (f"{name}, from above (forward is up)", birds_eye(v, palette=colours))
        for name, v in volumes
    ]
    yield [(name, oblique(v, OCC3D_GRID, palette=colours)) for name, v in volumes]
    if predicted is not None and "voxel_semantics" in sample:
        yield error_pictures(predicted, label, mask, OCC3D_GRID)


def _rendered_rows(
    images: dict[str, NDArray[np.uint8]],
    labels: NDArray[np.uint8] | None,
    predicted: dict[str, Any],
    groups: ClassGroups,
) -> Iterator[list[Picture]]:
    """The paper's Fig. 3: rendered 2D semantics beside the pseudo-label, view by view."""
    pictures: list[Picture] = []
    taxonomy = groups.taxonomy
    for view, (camera, image) in enumerate(images.items()):
        if labels is not None:
            own = groups.grouped_2d(labels[view])
            pictures.append((f"{camera}: pseudo-label", overlay(image, own, taxonomy)))
        for name in ("shader", "tied"):
            if name in predicted:
                title = f"{camera}: rendered, {name} path"
                pictures.append((title, overlay(image, predicted[name][view], taxonomy)))
    columns = 4 if len(pictures) == 2 * len(images) else 3
    for first in range(0, len(pictures), columns):
        yield pictures[first : first + columns]


def _raw_images(frame: dict[str, Any], root: Path) -> dict[str, NDArray[np.uint8]]:
    """By camera, all of the size of the largest."""
    images = LoadImages().transform({**frame, "data_root": root})["imgs"]
    return {camera: np.asarray(image) for camera, image in zip(frame["images"], images)}
