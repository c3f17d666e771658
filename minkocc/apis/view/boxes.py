"""Annotated boxes of frames, from the tables of a nuScenes root or the manifests of logs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.log_scene import log_boxes
from minkocc.datasets.nuscenes_scene import annotation_box
from minkocc.datasets.nuscenes_tables import broken_tables
from minkocc.files.reading import read_json
from minkocc.occupancy_labels.scene import Box
from minkocc.structures.taxonomy import Taxonomy
from minkocc.visualization.wireframes import box_lines

_TABLES = ("sample_annotation", "instance", "category")


def has_tables(root: Path, version: str) -> bool:
    """Whether a root has the tables that boxes are read from."""
    return bool(version) and all((root / version / f"{t}.json").is_file() for t in _TABLES)


def table_boxes(root: Path, version: str, tokens: Collection[str]) -> dict[str, list[Box]]:
    """The boxes of frames of a nuScenes root, by token.

    Args:
        root: the nuScenes root.
        version: the folder of its tables.
        tokens: of the frames; boxes of others are left out.

    Raises:
        InfoError: the tables are broken.
        SceneError: a box makes no sense.
    """
    boxes: dict[str, list[Box]] = {token: [] for token in tokens}
    with broken_tables(root, version):
        annotations, instances, categories = (
            read_json(root / version / f"{name}.json") for name in _TABLES
        )
        names = {record["token"]: record["name"] for record in categories}
        category = {r["token"]: names[r["category_token"]] for r in instances}
        for record in annotations:
            if record["sample_token"] in boxes:
                name = category[record["instance_token"]]
                boxes[record["sample_token"]].append(annotation_box(record, name))
    return boxes


def manifest_boxes(logs: Sequence[Path], taxonomy: Taxonomy) -> dict[str, list[Box]]:
    """The boxes of frames of logs, by token.

    Args:
        logs: their manifests.
        taxonomy: the classes of the boxes.

    Raises:
        LogError: a manifest cannot be used.
        SceneError: a box makes no sense.
    """
    found: dict[str, list[Box]] = {}
    for log in logs:
        found |= log_boxes(log, taxonomy)
    return found


def edges(box: Box, ego2global: NDArray[Any]) -> NDArray[np.float64]:
    """``(13, 2, 3)``: the edges of a box in an ego frame, and where its front is."""
    box2ego = np.linalg.inv(ego2global) @ box.box2world
    return box_lines(box2ego[:3, 3], np.array(box.size), box2ego[:3, :3])
