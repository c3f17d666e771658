"""Predictions of several networks for the same frames, side by side with the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minkocc.datasets.transforms.loading import read_image
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import (
    PredictionError,
    read_class_groups,
    read_measured_label,
    read_prediction,
)
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.visualization.contact_sheet import camera_block
from minkocc.visualization.sheet import Picture, write_sheet
from minkocc.visualization.voxels import birds_eye, oblique

_WIDTH = 2400


def frames_to_draw(infos: Path, count: int) -> list[dict[str, Any]]:
    """Labelled frames of an info file: the middle one of scenes that are spread evenly.

    Args:
        infos: the file.
        count: how many; no more than there are scenes.

    Raises:
        InfoError: it cannot be used.
        PredictionError: no frame has a label.
    """
    scenes: dict[str, list[dict[str, Any]]] = {}
    for frame in read_infos(infos, taxonomy=None)["data_list"]:
        if frame["occ_path"]:
            scenes.setdefault(frame["scene_name"], []).append(frame)
    if not scenes:
        raise PredictionError(f"--infos {infos}: no frame of it has a dense label to stand beside")
    middles = [frames[len(frames) // 2] for frames in scenes.values()]
    count = min(count, len(middles))
    return [middles[place] for place in np.linspace(0, len(middles) - 1, count).astype(int)]


def draw_comparison(
    frames: Sequence[Mapping[str, Any]], root: Path, preds: Mapping[str, Path], out: Path
) -> None:
    """One PNG: of each frame the cameras, then label and predictions from above and obliquely.

    Shown are the voxels that a camera sees, which are those that are measured.

    Args:
        frames: of ``frames_to_draw``.
        root: data root of the frames.
        preds: folder of ``<token>.npz`` of each network, by its name.
        out: the PNG.

    Raises:
        PredictionError: a prediction or a label is missing or damaged, or the networks tell other
            classes apart.
    """
    rows: list[list[Picture]] = []
    groups = _shared_groups(frames, preds)
    colours = groups.taxonomy.palette
    for frame in frames:
        images = {
            name: np.asarray(read_image(root / camera["img_path"], camera))
            for name, camera in frame["images"].items()
        }
        title = f"{frame['scene_name']}  {frame['token']}"
        rows.append([(title, camera_block(images, width=640))])
        label, mask, _ = read_measured_label(root / frame["occ_path"], groups.taxonomy)
        files = {name: _file(folder, frame["token"], name) for name, folder in preds.items()}
        volumes = {"label": groups.grouped(label)}
        volumes |= {name: read_prediction(path, groups.taxonomy)[0] for name, path in files.items()}
        seen = {name: np.where(mask, values, FREE) for name, values in volumes.items()}
        rows.append([(f"{n}, from above", birds_eye(v, palette=colours)) for n, v in seen.items()])
        rows.append([(n, oblique(v, OCC3D_GRID, palette=colours)) for n, v in seen.items()])
    write_sheet(out, rows, "visible voxels: label and predictions", _WIDTH, groups)


def _shared_groups(frames: Sequence[Mapping[str, Any]], preds: Mapping[str, Path]) -> ClassGroups:
    """The classes that all predictions tell apart."""
    found: list[tuple[str, ClassGroups]] = []
    for frame in frames:
        for name, folder in preds.items():
            groups = read_class_groups(_file(folder, frame["token"], name))
            if not any(groups.same_ids(other) for _, other in found):
                found.append((name, groups))
    if len(found) > 1:
        names = ", ".join(name for name, _ in found)
        raise PredictionError(
            f"--pred {names}: these are of networks with other classes (class_groups), of which no "
            "legend says both: compare those of the same"
        )
    return next((groups for _, groups in found), OCC3D_CLASSES)


def _file(folder: Path, token: str, name: str) -> Path:
    path = folder / f"{token}.npz"
    if not path.is_file():
        raise PredictionError(
            f"--pred {name}={folder} has no {path.name}: write it with tools/test.py --dump DIR"
        )
    return path
