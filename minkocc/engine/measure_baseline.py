"""Measures the height baseline of a recipe on its validation set."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

from minkocc.evaluation.height_baseline import class_by_height, predict_by_height
from minkocc.evaluation.protocols import VOXEL_PROTOCOLS, summarise
from minkocc.evaluation.voxel_iou import NUM_LABELS, confusion_matrix
from minkocc.registry import DATASETS
from minkocc.structures.taxonomy import NUM_CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID


def measure_height_baseline(cfg: Config) -> dict[str, Any]:
    """Summary under protocol ``occ3d`` of input voxels classed by height.

    The class of each height comes from the labelled training frames of the recipe's budget.
    """
    init_default_scope("minkocc")
    train = DATASETS.build(cfg.train_dataloader.dataset)
    counts = np.zeros((OCC3D_GRID.shape[2], NUM_CLASSES), np.int64)
    for index in train.labelled_indices():
        label = train.label_reader.read(train.get_data_info(index))
        counts += class_by_height(label["voxel_semantics"], label["mask_camera"])
    val = DATASETS.build(cfg.test_dataloader.dataset)
    confusion = np.zeros((NUM_LABELS, NUM_LABELS), np.int64)
    for item in tqdm((val[i] for i in range(len(val))), total=len(val), desc="height baseline"):
        sample = item["data_samples"]
        pred = predict_by_height(item["inputs"]["points"].numpy(), counts, OCC3D_GRID)
        confusion += confusion_matrix(
            pred, sample.voxel_semantics.numpy(), sample.mask_camera.numpy()
        )
    return summarise(confusion, len(val), VOXEL_PROTOCOLS["occ3d"])
