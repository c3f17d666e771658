"""2D pseudo-labels held against the classes of the LiDAR returns that their pixels show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.datasets.lidarseg import Categories, classes_of, on_a_surface, read_categories
from minkocc.datasets.transforms.loading import read_lidar
from minkocc.datasets.transforms.pseudo_labels import LoadPseudoLabels, pixels_of
from minkocc.evaluation.charts import ClassFigures, draw_confusion
from minkocc.evaluation.label_charts import draw_label_bars, draw_reliability
from minkocc.evaluation.pseudo_label_accuracy import (
    PairCounts,
    Pairs,
    accuracy_figures,
    count_pairs,
    no_pairs,
)
from minkocc.evaluation.visible_returns import visible_returns
from minkocc.files.rig import camera_matrices, image_size, mount_of, on_vehicle
from minkocc.label_report.pseudo_label_tables import pseudo_label_tables
from minkocc.label_report.sections import Keyframe, Keyframes, NothingToMeasureError, Section
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.taxonomy import NUM_CLASSES

NAME = "pseudo_labels"

COUNTED = (
    "pairs of a LiDAR return and the pixel it falls into, in each of the six images: returns of "
    "the keyframe's own sweep on surfaces, off the recording vehicle and not behind a nearer one; "
    "distance is horizontal, from the ego frame's origin; a pixel called sky counts as unlabelled"
)

_BARS = {"labelled": "labelled", "accuracy": "accuracy of the labelled", "iou": "IoU"}


def pseudo_label_section(keyframes: Keyframes, folder: str, pool: WorkerPool) -> Section:
    """The figures of the pseudo-labels of a root.

    Args:
        keyframes: what is looked at; those without lidarseg or without pseudo-labels are named.
        folder: of the pseudo-labels, relative to the root.
        pool: of processes, which change no figure.

    Raises:
        NothingToMeasureError: no keyframe has both.
        UserError: a file is missing or damaged.
    """
    frames = list(keyframes)
    jobs = [keyframe for keyframe in frames if keyframe.lidarseg is not None]
    if not jobs:
        raise NothingToMeasureError(
            f"{keyframes.root} holds no lidarseg for {_so_many(len(frames))} of "
            f"{keyframes.version}: pseudo-labels are measured against the classes of LiDAR "
            "returns; put nuScenes-lidarseg into the root (its tables and lidarseg/)"
        )
    count = partial(count_keyframe, keyframes.root, folder, keyframes.categories)
    total, unlabelled = no_pairs(), []
    done = pool.run(count, jobs)
    with tqdm(done, total=len(jobs), desc="pseudo-labels", unit="frame") as results:
        for keyframe, counts in zip(jobs, results):
            if counts is None:
                unlabelled.append(keyframe.frame["token"])
            else:
                total += counts
    if len(unlabelled) == len(jobs):
        raise NothingToMeasureError(
            f"{keyframes.root / folder} holds no pseudo-label for {_so_many(len(jobs))} with "
            "lidarseg: create them with tools/generate_pseudo_labels.py, or name their folder "
            "with --folder"
        )
    figures = {
        "folder": folder,
        "counted": COUNTED,
        "frames_counted": len(jobs) - len(unlabelled),
        "frames_without_lidarseg": [k.frame["token"] for k in frames if k.lidarseg is None],
        "frames_without_pseudo_labels": unlabelled,
        **accuracy_figures(total),
    }
    return Section(NAME, figures, pseudo_label_tables(figures), _charts(figures))


def count_keyframe(
    root: Path, folder: str, categories: Categories, keyframe: Keyframe
) -> PairCounts | None:
    """The counts of one keyframe that has lidarseg; None without pseudo-labels.

    Args:
        root: the nuScenes root.
        folder: of the pseudo-labels, relative to it.
        categories: of the root's lidarseg.
        keyframe: the keyframe.

    Raises:
        UserError: a file is missing or damaged.
    """
    frame = keyframe.frame
    size = image_size(frame)
    results = {**frame, "data_root": root, "phase": None, "raw_size": size}
    results = LoadPseudoLabels(folder).transform(results)
    if "img_semantics" not in results:
        return None
    assert keyframe.lidarseg is not None
    points, classes = _returns(root, frame, keyframe.lidarseg, categories)
    cam2img, ego2cam = camera_matrices(frame)
    view, point, row, column, depth = pixels_of(points, cam2img @ ego2cam, size)
    seen = np.zeros(len(view), np.bool_)
    for number, matrix in enumerate(cam2img):
        own = view == number
        seen[own] = visible_returns(row[own], column[own], depth[own], size, matrix[0, 0])
    pairs = Pairs(
        view,
        np.hypot(points[point, 0], points[point, 1]),
        classes[point],
        results["img_semantics"][view, row, column],
        results["img_confidence"][view, row, column],
    )
    return count_pairs(pairs, seen)


def _returns(
    root: Path, frame: dict[str, Any], lidarseg: Path, categories: Categories
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Returns on surfaces off the vehicle, ``(P, 3)`` metres in ego, and their 3D ids ``(P,)``."""
    lidar = frame["lidar_points"]
    points = read_lidar(root / lidar["lidar_path"])[:, :3].astype(np.float64)
    ego = points @ lidar["lidar2ego"][:3, :3].T + lidar["lidar2ego"][:3, 3]
    number = read_categories(lidarseg, categories, len(points))
    kept = on_a_surface(number, categories) & ~on_vehicle(ego, mount_of(frame).ego_box)
    return ego[kept], classes_of(number[kept], categories)


def _charts(figures: dict[str, Any]) -> dict[str, Callable[[Path], None]]:
    counted = f"{figures['frames_counted']} frames, {figures['pairs']:,} pairs"
    title = f"2D pseudo-labels against lidarseg: {counted}"
    columns = {name: _percent_by_class(figures, key) for key, name in _BARS.items()}
    error = figures["confidence"]["expected_calibration_error"]
    missed = "none is labelled" if error is None else f"expected calibration error {error:.3f}"
    return {
        f"{NAME}_by_class.png": partial(draw_label_bars, columns, title),
        f"{NAME}_reliability.png": partial(
            draw_reliability, figures["confidence"], f"{title}\n{missed}"
        ),
        f"{NAME}_confusion.png": partial(
            draw_confusion,
            figures["confusion"][:NUM_CLASSES],
            title,
            no_class="unlabelled or sky",
            sides=("class of the return", "pseudo-label"),
        ),
    }


def _percent_by_class(figures: dict[str, Any], key: str) -> ClassFigures:
    values = {name: row[key] for name, row in figures["classes"].items()}
    return {name: None if value is None else 100 * value for name, value in values.items()}


def _so_many(frames: int) -> str:
    return "its keyframe" if frames == 1 else f"any of the {frames} keyframes"
