"""Annotated boxes of frames, from the tables of their nuScenes root."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

from minkocc.datasets.nuscenes_tables import broken_tables
from minkocc.files.reading import read_json
from minkocc.structures.taxonomy import CATEGORY_TO_ID
from minkocc.visualization.wireframes import box_lines

_TABLES = ("sample_annotation", "instance", "category")


@dataclass(frozen=True)
class Box:
    """An annotated object, global frame."""

    semantics: int
    """Its Occ3D id."""
    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    """Length, width and height, metres."""
    rotation: NDArray[np.float64]
    """``(3, 3)`` from its axes: forward, left, up."""

    def lines(self, ego2global: NDArray[Any]) -> NDArray[np.float64]:
        """``(13, 2, 3)``: its edges in an ego frame."""
        global2ego = np.linalg.inv(ego2global)
        lines = box_lines(self.centre, self.size, self.rotation)
        return np.asarray(lines @ global2ego[:3, :3].T + global2ego[:3, 3])


def has_boxes(root: Path, version: str) -> bool:
    """Whether a root has the tables that boxes are read from."""
    return all((root / version / f"{name}.json").is_file() for name in _TABLES)


def read_boxes(root: Path, version: str, tokens: Collection[str]) -> dict[str, list[Box]]:
    """The boxes of frames, by token.

    Args:
        root: the nuScenes root.
        version: the folder of its tables.
        tokens: of the frames; boxes of others are left out.

    Raises:
        InfoError: the tables are broken.
    """
    boxes: dict[str, list[Box]] = {token: [] for token in tokens}
    with broken_tables(root, version):
        annotations, instances, categories = (
            read_json(root / version / f"{name}.json") for name in _TABLES
        )
        names = {record["token"]: record["name"] for record in categories}
        classes = {r["token"]: CATEGORY_TO_ID.get(names[r["category_token"]]) for r in instances}
        for record in annotations:
            number = classes[record["instance_token"]]
            if record["sample_token"] in boxes and number is not None:
                boxes[record["sample_token"]].append(_box(record, number))
    return boxes


def _box(record: Mapping[str, Any], number: int) -> Box:
    width, length, height = record["size"]
    return Box(
        number,
        np.array(record["translation"], np.float64),
        np.array([length, width, height], np.float64),
        Quaternion(record["rotation"]).rotation_matrix,
    )
