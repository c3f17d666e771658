"""Weak occupancy held against dense labels, by what it is accumulated over and by its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minkocc.datasets.transforms.pseudo_labels import label_path
from minkocc.datasets.transforms.weak_targets import add_sky
from minkocc.datasets.weak_occupancy import (
    EVERY_HIT,
    WeakRules,
    accumulate,
    sweeps_around,
)
from minkocc.evaluation.depth_quality import DepthCounts, count_depths, depth_figures
from minkocc.evaluation.label_charts import draw_rings
from minkocc.evaluation.report import aligned, cell
from minkocc.evaluation.weak_quality import RING_NAMES, Counts, by_ring, count_voxels, weak_figures
from minkocc.files.occupancy import read_label
from minkocc.files.pseudo_label_meta import meta_path
from minkocc.files.rig import mount_of
from minkocc.label_report.sections import Keyframes, NothingToMeasureError, Section
from minkocc.models.render_cameras import RenderCameras
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.voxel_grid import OCC3D_GRID

NAME = "weak_occupancy"

COUNTED = (
    "voxels of 0.4 m that a camera sees (mask_camera); moving: of a class that can move; static "
    "hits deleted: static voxels that are occupied without the rule and not with it; depth: pixels "
    "of the images at 1/8 on whose ray the first voxel that is not known to be free, from 1 to "
    "60 m, is occupied, and which of them have the dense label's first voxel there"
)
DEPTH_RANGE = (1.0, 60.0)
_STRIDE = 8  # raw pixels a rendered one, as the recipes have it


@dataclass(frozen=True)
class Variant:
    """One way of making weak occupancy."""

    keyframes: tuple[int, int] = (8, 0)
    rules: WeakRules = EVERY_HIT
    sky: bool = False


PAPER = "8 past"
VARIANTS: dict[str, Variant] = {
    PAPER: Variant(),
    "4 past, 4 future": Variant((4, 4)),
    "8 past, 8 future": Variant((8, 8)),
    "8 past, 2 hits": Variant(rules=WeakRules(min_hits=2)),
    "8 past, see-through 4": Variant(rules=WeakRules(see_through=4.0)),
    "4 past, 4 future, see-through 4": Variant((4, 4), WeakRules(see_through=4.0)),
    "8 past, 8 future, see-through 4": Variant((8, 8), WeakRules(see_through=4.0)),
    "8 past, sky": Variant(sky=True),
}
"""What is compared, by name; the paper's way comes first."""


class _Counted(NamedTuple):
    """What is counted of a variant."""

    voxels: Counts
    depths: DepthCounts

    @classmethod
    def nothing(cls) -> _Counted:
        return cls(np.zeros((len(RING_NAMES), 3, 3), np.int64), np.zeros(4, np.int64))

    def plus(self, other: _Counted) -> _Counted:
        return _Counted(self.voxels + other.voxels, self.depths + other.depths)


@dataclass(frozen=True)
class _Job:
    frame: dict[str, Any]
    sources: dict[tuple[int, int], list[dict[str, Any]]]


def weak_occupancy_section(
    keyframes: Keyframes, folder: str, variants: Mapping[str, Variant], pool: WorkerPool
) -> Section:
    """The figures of the weak occupancy of a root.

    Args:
        keyframes: what is looked at; those without a dense label are named.
        folder: of the pseudo-labels, whose sky some variants use, relative to the root.
        variants: by name.
        pool: of processes, which change no figure.

    Raises:
        NothingToMeasureError: no keyframe has a dense label.
        UserError: a file is missing or damaged.
    """
    frames = [keyframe.frame for keyframe in keyframes]
    left_out = _without_labels(keyframes.root / folder, frames, variants)
    variants = {name: way for name, way in variants.items() if name not in left_out}
    jobs = [_job(frame, keyframes, variants) for frame in frames if frame["occ_path"]]
    if not jobs:
        raise NothingToMeasureError(
            f"{keyframes.root} holds no dense label for any of {len(frames)} keyframes of "
            f"{keyframes.version}: weak occupancy is measured against them; put Occ3D's gts/ into "
            "the root"
        )
    total = dict.fromkeys(variants, _Counted.nothing())
    done = pool.run(partial(_count, keyframes.root, folder, variants), jobs)
    for counts in tqdm(done, total=len(jobs), desc="weak occupancy", unit="frame"):
        total = {name: total[name].plus(found) for name, found in counts.items()}
    figures = {
        "counted": COUNTED,
        "frames_counted": len(jobs),
        "frames_without_label": [frame["token"] for frame in frames if not frame["occ_path"]],
        "left_out_without_pseudo_labels": left_out,
        "variants": {name: _figures(name, variants, total) for name in variants},
    }
    return Section(NAME, figures, _tables(figures), _charts(figures))


def _without_labels(
    folder: Path, frames: list[dict[str, Any]], variants: Mapping[str, Variant]
) -> list[str]:
    """The variants that need the sky of pseudo-labels which are not there."""
    names = [name for name, way in variants.items() if way.sky]
    wanted = (
        label_path(folder, "labels", camera, view["img_path"])
        for frame in frames
        for camera, view in frame["images"].items()
    )
    if not names or (meta_path(folder).is_file() and all(path.is_file() for path in wanted)):
        return []
    return names


def _job(frame: dict[str, Any], keyframes: Keyframes, variants: Mapping[str, Variant]) -> _Job:
    spans = {variant.keyframes for variant in variants.values()}
    return _Job(frame, {span: sweeps_around(frame, keyframes.frame_of, span) for span in spans})


def _count(
    root: Path, folder: str, variants: Mapping[str, Variant], job: _Job
) -> dict[str, _Counted]:
    """One keyframe's voxels and depths under every variant."""
    label = read_label(root / job.frame["occ_path"], ("semantics", "mask_camera"))
    mount = mount_of(job.frame)
    counted = {way.keyframes for way in variants.values() if way.rules != EVERY_HIT}
    seen = {
        span: accumulate(sources, root, mount, OCC3D_GRID, span in counted)
        for span, sources in job.sources.items()
    }
    # Of the pixels that training renders, less its random shift.
    rays = RenderCameras.of_frame(job.frame, RenderLattice.central(_STRIDE)).rays()
    counts = {}
    for name, variant in variants.items():
        weak = seen[variant.keyframes].under(variant.rules)
        if variant.sky:
            add_sky(weak, OCC3D_GRID, root / folder, job.frame)
        counts[name] = _Counted(
            count_voxels(weak, label["voxel_semantics"], label["mask_camera"]),
            count_depths(weak, label["voxel_semantics"], *rays, DEPTH_RANGE),
        )
    return counts


def _figures(
    name: str, variants: Mapping[str, Variant], total: Mapping[str, _Counted]
) -> dict[str, Any]:
    variant, counts = variants[name], total[name].voxels
    every_hit = next(
        (
            other
            for other, way in variants.items()
            if way.keyframes == variant.keyframes and way.rules == EVERY_HIT
        ),
        None,
    )
    return {
        "keyframes": list(variant.keyframes),
        "min_hits": variant.rules.min_hits,
        "see_through": variant.rules.see_through,
        "sky": variant.sky,
        **weak_figures(counts),
        "if_unknown_is_free": weak_figures(counts, unknown="free"),
        "static_hits_deleted": _deleted(counts, total[every_hit].voxels) if every_hit else None,
        **depth_figures(total[name].depths),
        "rings": by_ring(counts),
    }


def _deleted(counts: Counts, before: Counts) -> float | None:
    """Percent of the static occupied voxels that are not occupied any more."""
    static = before[:, 1, 1].sum()
    return round(100.0 * float(1 - counts[:, 1, 1].sum() / static), 2) if static else None


_COLUMNS = {
    "occupied_precision": "precision",
    "occupied_recall": "recall",
    "static_recall": "static",
    "moving_recall": "moving",
    "free_precision": "free precision",
    "free_recall": "free recall",
    "known": "known",
    "unknown_free": "of the unknown, free",
}

_DEPTHS = {
    "depth_known": "depth known",
    "depth_right": "the first voxel",
    "depth_too_near": "too near",
}


def _tables(figures: Mapping[str, Any]) -> str:
    rows = [["percent", *_COLUMNS.values(), "free precision, unknown is free", "static deleted"]]
    for name, row in figures["variants"].items():
        free = row["if_unknown_is_free"]["free_precision"]
        cells = [*(row[key] for key in _COLUMNS), free, row["static_hits_deleted"]]
        rows.append([name, *map(cell, cells)])
    lines = [
        "Weak occupancy against dense labels",
        f"({figures['counted']})",
        f"{figures['frames_counted']} keyframes",
        *(
            f"left out, for want of pseudo-labels: {name}"
            for name in figures["left_out_without_pseudo_labels"]
        ),
        "",
        *aligned(rows),
    ]
    rows = [["percent of the pixels, of those", *_DEPTHS.values()]]
    for name, row in figures["variants"].items():
        rows.append([name, *(cell(row[key]) for key in _DEPTHS)])
    lines += ["", *aligned(rows)]
    for key in ("occupied_precision", "occupied_recall"):
        rows = [[key.replace("_", " "), *RING_NAMES]]
        for name, row in figures["variants"].items():
            rows.append([name, *(cell(row["rings"][ring][key]) for ring in RING_NAMES)])
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def _charts(figures: Mapping[str, Any]) -> dict[str, Any]:
    curves = {
        name: {
            key: [row["rings"][ring][key] for ring in RING_NAMES]
            for key in ("occupied_precision", "occupied_recall")
        }
        for name, row in figures["variants"].items()
    }
    title = f"weak occupancy against dense labels: {figures['frames_counted']} frames"
    return {f"{NAME}_by_distance.png": partial(draw_rings, RING_NAMES, curves, title)}
