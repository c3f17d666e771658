"""Measures the height baseline of a recipe on its validation set."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from tqdm import tqdm

from minkocc.config.classes import recipe_classes
from minkocc.evaluation.height_baseline import class_by_height, predict_by_height
from minkocc.evaluation.metrics import summaries_of
from minkocc.registry import DATASETS
from minkocc.structures.taxonomy import NUM_CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID


def measure_height_baseline(cfg: Config) -> list[dict[str, Any]]:
    """Summaries under the recipe's protocols of input voxels classed by height.

    The class of each height comes from the labelled training frames of the recipe's budget.
    """
    init_default_scope("minkocc")
    train = DATASETS.build(cfg.train_dataloader.dataset)
    groups = recipe_classes(cfg)
    counts = np.zeros((OCC3D_GRID.shape[2], NUM_CLASSES), np.int64)
    for index in train.labelled_indices():
        label = train.label_reader.read(train.get_data_info(index))
        semantics = groups.grouped(label["voxel_semantics"])
        counts += class_by_height(semantics, label["mask_camera"])
    val = DATASETS.build(cfg.test_dataloader.dataset)
    evaluator = Evaluator(cfg.test_evaluator)
    for item in tqdm((val[i] for i in range(len(val))), total=len(val), desc="height baseline"):
        points = item["inputs"]["points"].numpy()
        sample = item["data_samples"].to_dict()
        sample["pred_semantics"] = predict_by_height(points, counts, OCC3D_GRID)
        sample["classes"] = groups
        evaluator.process([sample])
    evaluator.evaluate(len(val))
    return summaries_of(evaluator.metrics)
