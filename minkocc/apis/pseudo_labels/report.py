"""What finished pseudo-labels look like: coverage as a table, JSON and bars, and overlays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minkocc.apis.pseudo_labels.folder import PseudoLabelFolder
from minkocc.apis.pseudo_labels.images import KeyframeImages, Selection
from minkocc.datasets.transforms.loading import read_image
from minkocc.evaluation.coverage_chart import draw_coverage
from minkocc.evaluation.report import aligned
from minkocc.files.writing import write_json
from minkocc.pseudo_labels.coverage import Coverage
from minkocc.runtime.provenance import provenance
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.spread import spread_indices
from minkocc.visualization.cameras import around, overlay
from minkocc.visualization.sheet import Picture, write_sheet

MAX_IMAGES = 2000
"""The coverage is measured on so many images, spread evenly."""

OVERLAYS = 3
"""Keyframes that are drawn, spread evenly."""


def write_label_report(root: Path, selection: Selection, folder: PseudoLabelFolder) -> str:
    """Write ``coverage.json``, ``coverage.png`` and ``overlays/`` into the folder.

    Args:
        root: nuScenes root.
        selection: what was labelled, all of it.
        folder: where the labels are.

    Returns:
        The coverage as a table for the terminal, and what was written.

    Raises:
        InputError: an image or a label cannot be read.
    """
    images = selection.images()
    chosen = [images[i] for i in spread_indices(len(images), MAX_IMAGES)]
    coverage = Coverage(folder.taxonomy)
    for image in tqdm(chosen, desc="coverage", unit="image"):
        coverage.add(*folder.read(image))
    figures = coverage.figures()
    title = f"{len(chosen)} of {len(images)} images"
    written = [folder.path / "coverage.json", folder.path / "coverage.png"]
    counts = {"images": len(chosen), "images_in_selection": len(images)}
    write_json(written[0], {**provenance(), **counts, "classes": figures})
    draw_coverage(figures, f"2D pseudo-labels, {title}", written[1], folder.taxonomy)
    for i in spread_indices(len(selection.keyframes), OVERLAYS):
        written.append(_draw(root, selection.keyframes[i], folder))
    return f"{coverage_table(figures, title)}\n\nwritten: {', '.join(map(str, written))}"


def coverage_table(figures: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """The figures of ``Coverage`` as a Markdown table, a row a class.

    Args:
        figures: by name.
        title: of the first column.
    """
    rows = [[title, "pixels, percent", "images", "mean confidence"]]
    for name, found in figures.items():
        confidence = found["mean_confidence"]
        told = "-" if confidence is None else f"{confidence:.2f}"
        share = f"{100 * found['pixel_share']:.2f}"
        rows.append([name, share, str(found["images"]), told])
    return "\n".join(aligned(rows))


def _draw(root: Path, keyframe: KeyframeImages, folder: PseudoLabelFolder) -> Path:
    """The keyframe's images under their labels, as the cameras stand on the vehicle."""
    pictures: dict[str, Picture] = {}
    for image in keyframe.images:
        view = np.asarray(read_image(root / image.record["filename"], image.record))
        labels, _ = folder.read(image)
        pictures[image.camera] = (image.camera, overlay(view, labels, folder.taxonomy))
    title = f"{keyframe.scene}  {keyframe.token}   (light blue: sky)"
    path = folder.path / "overlays" / f"{keyframe.token}.png"
    classes = ClassGroups.of(None, folder.taxonomy)
    write_sheet(path, list(around(pictures)), title, groups=classes)
    return path
