"""What is in a nuScenes root: figures beside those of real files, and a sheet of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from minkocc.data_report.colour_probe import Pixels, colour_probe, draw_pixels, split_of_scenes
from minkocc.data_report.statistics import (
    PUBLISHED_SHARES,
    CloudCounts,
    SweepCounts,
    cloud_statistics,
    frame_cloud,
    frame_sweep,
    label_histogram,
    label_statistics,
    reference_clouds,
    reference_sweeps,
    spread,
    sweep_statistics,
)
from minkocc.datasets.infos import sample_frame
from minkocc.datasets.lidarseg import point_classes
from minkocc.datasets.nuscenes_tables import open_keyframes
from minkocc.datasets.transforms.loading import (
    InputError,
    LoadImages,
    read_lidar,
)
from minkocc.datasets.transforms.pseudo_labels import PSEUDO_LABELS, LoadPseudoLabels
from minkocc.files.occupancy import read_label
from minkocc.files.pseudo_label_meta import meta_path, model_names
from minkocc.files.reading import read_json
from minkocc.files.rig import NUSCENES_BOX
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.spread import spread_indices
from minkocc.structures.taxonomy import PALETTE, UNLABELLED_2D
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.visualization.contact_sheet import SheetBand, contact_sheet
from minkocc.visualization.points import birds_eye_points, height_colours
from minkocc.visualization.sheet import Picture
from minkocc.visualization.voxels import oblique

PROBE_PIXELS = 60_000
"""Pixels drawn for each side of the colour probe."""


@dataclass(frozen=True)
class References:
    """Real files to compare with: Occ3D labels or folders of them, sweeps, 10-sweep clouds."""

    gts: Sequence[Path] = field(default_factory=list)
    sweeps: Sequence[Path] = field(default_factory=list)
    clouds: Sequence[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Figures:
    """What a frame adds to the statistics; None for parts that are not there."""

    scene: str
    sweep: SweepCounts
    cloud: CloudCounts | None
    label: NDArray[np.int64] | None
    unlabelled: float | None
    pixels: Pixels | None


class Root:
    """A nuScenes root, of which only the keyframes that are looked at are read.

    Args:
        root: its folder.
        version: the folder of its tables.

    Raises:
        InfoError: there are no such tables, they are broken, or hold no keyframe.
    """

    def __init__(self, root: Path, version: str) -> None:
        self.path, self.version = root, version
        self._nusc, self._samples = open_keyframes(root, version)

    def statistics(
        self, max_frames: int | None = None, seed: int = 0, workers: int = 1
    ) -> dict[str, Any]:
        """The figures of the root, JSON-ready; parts that it lacks are None.

        Args:
            max_frames: look at so many keyframes, spread evenly; None at all.
            seed: of the colour probe.
            workers: processes; changes no figure.

        Raises:
            UserError: a file is damaged.
        """
        frames = [self._frame(i) for i in spread_indices(len(self._samples), max_frames)]
        quota = math.ceil(2 * PROBE_PIXELS / len(frames))
        jobs = [(frame, seed, number) for number, frame in enumerate(frames)]
        with WorkerPool(workers) as pool:
            done = pool.run(partial(_figures, self.path, quota), jobs)
            with tqdm(done, total=len(jobs), desc="figures", unit="frame") as results:
                figures = list(results)
        labelled = [f for f in figures if f.label is not None]
        clouds = [f.cloud for f in figures if f.cloud is not None]
        shares = [f.unlabelled for f in figures if f.unlabelled is not None]
        return {
            "frames": len(frames),
            "frames_in_root": len(self._samples),
            "scenes": len({frame["scene_name"] for frame in frames}),
            "labels": _label_statistics(labelled) if labelled else None,
            "sweep": sweep_statistics([f.sweep for f in figures]),
            "cloud": cloud_statistics(clouds) if clouds else None,
            "pseudo_labels": {"unlabelled_share": spread(shares)} if shares else None,
            "colour_probe": _probe(figures, seed, _makers(self.path)),
        }

    def sheet(self, keyframes: int) -> Image.Image:
        """The contact sheet of so many keyframes, spread over the scenes.

        Raises:
            UserError: a file is missing or damaged.
        """
        indices = spread_indices(len(self._samples), keyframes)
        with tqdm(indices, desc="pictures", unit="frame") as places:
            bands = [self._band(i) for i in places]
        return contact_sheet(bands, f"{self.path.resolve().name}, {self.version}")

    def _frame(self, index: int) -> dict[str, Any]:
        scene, sample = self._samples[index]
        return sample_frame(self._nusc, sample, scene, self.path)

    def _band(self, index: int) -> SheetBand:
        frame = self._frame(index)
        images = LoadImages().transform({**frame, "data_root": self.path})["imgs"]
        pictures = [self._sweep_picture(index, frame)]
        if frame["occ_path"]:
            label = read_label(self.path / frame["occ_path"])["voxel_semantics"]
            pictures.append(("occupancy label, from behind", oblique(label, OCC3D_GRID)))
        moment = datetime.fromtimestamp(frame["timestamp"], timezone.utc)
        time = f"{moment:%Y-%m-%d} {moment.time().isoformat('milliseconds')} UTC"
        views = {name: np.asarray(image) for name, image in zip(frame["images"], images)}
        return SheetBand(f"{frame['scene_name']}   {time}", views, pictures)

    def _sweep_picture(self, index: int, frame: dict[str, Any]) -> Picture:
        lidar = frame["lidar_points"]
        points = read_lidar(self.path / lidar["lidar_path"])[:, :3]
        ego = points @ lidar["lidar2ego"][:3, :3].T + lidar["lidar2ego"][:3, 3]
        classes = point_classes(self._nusc, self._samples[index][1], self.path, len(points))
        colours = height_colours(ego[:, 2]) if classes is None else PALETTE[classes]
        by = "height" if classes is None else "class"
        return f"LiDAR sweep by {by}, forward up, frame 40 m", birds_eye_points(
            ego, colours, NUSCENES_BOX
        )


def reference_statistics(references: References) -> dict[str, Any]:
    """The figures of real files, in the shapes of ``Root.statistics``; None for what is not given.

    Raises:
        UserError: a file is missing or damaged.
    """
    labels = _label_files(references.gts)
    with tqdm(labels, desc="reference labels", unit="frame", disable=not labels) as files:
        histograms = [label_histogram(read_label(path)) for path in files]
    scenes = [path.parents[1].name for path in labels]
    return {
        "labels": label_statistics(histograms, scenes) if labels else None,
        "sweep": reference_sweeps(references.sweeps) if references.sweeps else None,
        "cloud": reference_clouds(references.clouds) if references.clouds else None,
        "published_class_share": PUBLISHED_SHARES,
    }


def _label_files(paths: Sequence[Path]) -> list[Path]:
    files = []
    for path in paths:
        found = sorted(path.rglob("labels.npz")) if path.is_dir() else [path]
        if not found:
            raise InputError(f"reference {path} holds no labels.npz: name a gts folder of Occ3D")
        files += found
    return files


def _figures(root: Path, quota: int, job: tuple[dict[str, Any], int, int]) -> _Figures:
    """The figures of one frame; ``quota`` pixels are drawn for the probe."""
    frame, seed, number = job
    label = read_label(root / frame["occ_path"]) if frame["occ_path"] else None
    semantics = _semantics(root, frame)
    unlabelled = pixels = None
    if semantics is not None:
        images, ids = semantics
        unlabelled = float((ids == UNLABELLED_2D).mean())
        pixels = draw_pixels(images, ids, quota, np.random.default_rng([seed, number]))
    return _Figures(
        frame["scene_name"],
        frame_sweep(root, frame),
        frame_cloud(root, frame),
        None if label is None else label_histogram(label),
        unlabelled,
        pixels,
    )


def _semantics(
    root: Path, frame: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Images ``(N, H, W, 3)`` and 2D ids ``(N, H, W)`` of a frame with pseudo-labels."""
    if not (root / PSEUDO_LABELS).is_dir():
        return None
    results = LoadImages().transform({**frame, "data_root": root, "phase": None})
    results = LoadPseudoLabels(PSEUDO_LABELS).transform(results)
    if "img_semantics" not in results:
        return None
    return np.stack([np.asarray(image) for image in results["imgs"]]), results["img_semantics"]


def _label_statistics(labelled: Sequence[_Figures]) -> dict[str, Any]:
    histograms = [f.label for f in labelled if f.label is not None]
    return label_statistics(histograms, [f.scene for f in labelled])


def _makers(root: Path) -> list[str]:
    """The models that made the pseudo-labels, as their ``meta.json`` says; none if it is silent."""
    try:
        meta = read_json(meta_path(root / PSEUDO_LABELS))
    except (OSError, ValueError):
        return []
    return model_names(meta) if isinstance(meta, dict) else []


def _probe(figures: Sequence[_Figures], seed: int, makers: list[str]) -> dict[str, Any] | None:
    """The colour probe between two halves of the scenes; None where it cannot be made."""
    drawn = [(f.scene, f.pixels) for f in figures if f.pixels is not None]
    if len({scene for scene, _ in drawn}) < 2:
        return None
    train, test = split_of_scenes([scene for scene, _ in drawn], seed)
    sides = [
        Pixels.joined([pixels for scene, pixels in drawn if scene in side])
        for side in (train, test)
    ]
    found = colour_probe(*sides)
    known = {"train_scenes": train, "test_scenes": test, "seed": seed, "labels_by": makers}
    return found and {**known, **found}
