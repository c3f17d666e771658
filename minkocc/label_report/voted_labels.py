"""Voted labels held against dense labels, by the keyframes that vote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minkocc.datasets.transforms.pseudo_labels import label_path
from minkocc.datasets.voted_labels import MIN_SHARE, lift_keyframe, vote
from minkocc.datasets.weak_occupancy import keyframes_around
from minkocc.evaluation.label_charts import draw_label_bars
from minkocc.evaluation.report import aligned, cell
from minkocc.evaluation.voted_quality import (
    Counts,
    count_votes,
    figures_by_class,
    figures_by_ring,
    vote_figures,
)
from minkocc.evaluation.voxel_iou import NUM_LABELS, RINGS
from minkocc.files.occupancy import read_label
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.label_report.sections import Keyframes, NothingToMeasureError, Section
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.voxel_grid import OCC3D_GRID

NAME = "voted_labels"

COUNTED = (
    "voxels of 0.4 m that a camera sees (mask_camera), against the votes of the pseudo-labels of "
    "the returns of the keyframes' own sweeps"
)

SPANS: tuple[tuple[int, int], ...] = ((8, 0), (0, 0), (4, 4), (8, 8))
"""Past and future keyframes that vote beside the frame's own; the paper's come first."""

_COLUMNS = {
    "labelled": "labelled, of the occupied",
    "accuracy": "accuracy of the labelled",
    "class_accuracy": "mean of the classes",
    "miou_of_votes": "mIoU of the votes",
    "in_free": "votes in free voxels",
}
_CLASS_COLUMNS = {
    "labelled": "labelled",
    "accuracy": "accuracy of the labelled",
    "iou_of_votes": "IoU of the votes",
}

Members = Sequence[tuple[dict[str, Any], np.ndarray]]


@dataclass(frozen=True)
class _Job:
    frame: dict[str, Any]
    members: dict[tuple[int, int], Members]

    def voters(self) -> dict[str, dict[str, Any]]:
        """All keyframes that vote under some span, by token."""
        every = (frame for members in self.members.values() for frame, _ in members)
        return {frame["token"]: frame for frame in every}


def voted_label_section(
    keyframes: Keyframes, folder: str, spans: Sequence[tuple[int, int]], pool: WorkerPool
) -> Section:
    """The figures of the voted labels of a root.

    Args:
        keyframes: what is looked at.
        folder: of the pseudo-labels, relative to the root.
        spans: past and future keyframes that vote.
        pool: of processes, which change no figure.

    Raises:
        NothingToMeasureError: no keyframe has a dense label and, with all that vote, pseudo-labels.
        UserError: a file is missing or damaged.
    """
    labelled = [keyframe.frame for keyframe in keyframes if keyframe.frame["occ_path"]]
    jobs = [
        job
        for job in (_job(frame, keyframes, spans) for frame in labelled)
        if _has_pseudo_labels(keyframes.root / folder, job)
    ]
    if not jobs:
        raise NothingToMeasureError(
            f"{keyframes.root} holds no keyframe with a dense label whose voting keyframes all "
            f"have pseudo-labels in {folder}: votes are measured against dense labels"
        )
    read_meta(keyframes.root / folder)
    total = np.zeros((len(spans), len(RINGS), NUM_LABELS, NUM_LABELS), np.int64)
    done = pool.run(partial(_count, keyframes.root, folder), jobs)
    for counts in tqdm(done, total=len(jobs), desc="voted labels", unit="frame"):
        total += counts
    figures = {
        "folder": folder,
        "counted": COUNTED,
        "frames_counted": len(jobs),
        "frames_left_out": len(keyframes) - len(jobs),
        "spans": {_name(span): _figures(counts) for span, counts in zip(spans, total)},
    }
    return Section(NAME, figures, _tables(figures), _charts(figures))


def _name(span: tuple[int, int]) -> str:
    past, future = span
    if span == (0, 0):
        return "its own sweep"
    return f"{past} past, {future} future" if future else f"{past} past"


def _job(frame: dict[str, Any], keyframes: Keyframes, spans: Sequence[tuple[int, int]]) -> _Job:
    return _Job(frame, {span: keyframes_around(frame, keyframes.frame_of, span) for span in spans})


def _has_pseudo_labels(folder: Path, job: _Job) -> bool:
    return all(
        label_path(folder, "labels", camera, view["img_path"]).is_file()
        for frame in job.voters().values()
        for camera, view in frame["images"].items()
    )


def _count(root: Path, folder: str, job: _Job) -> Counts:
    """One keyframe's voxels under every span, ``(S, 3, 18, 18)``."""
    label = read_label(root / job.frame["occ_path"], ("semantics", "mask_camera"))
    lifted = {
        token: lift_keyframe(frame, root, root / folder) for token, frame in job.voters().items()
    }
    return np.stack(
        [
            count_votes(
                vote(
                    OCC3D_GRID,
                    [(to_ego, lifted[frame["token"]]) for frame, to_ego in around],
                    MIN_SHARE,
                ),
                label["voxel_semantics"],
                label["mask_camera"],
            )
            for around in job.members.values()
        ]
    )


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        **vote_figures(counts),
        "rings": figures_by_ring(counts),
        "classes": figures_by_class(counts),
    }


def _tables(figures: Mapping[str, Any]) -> str:
    spans = figures["spans"]
    first = next(iter(spans))
    lines = [
        "Voted labels against dense labels",
        f"({figures['counted']})",
        f"{figures['frames_counted']} keyframes, {figures['frames_left_out']} left out",
        "",
        *aligned(_rows("percent", _COLUMNS, spans)),
        "",
        f"By distance, percent, {first}",
        "",
        *aligned(_rows("distance", _COLUMNS, spans[first]["rings"])),
        "",
        f"By class, percent, {first}",
        "",
        *aligned(list(_class_rows(spans[first]["classes"]))),
    ]
    return "\n".join(lines)


def _rows(
    title: str, columns: Mapping[str, str], figures: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    rows = [[title, *columns.values()]]
    rows += [[name, *(cell(row[key]) for key in columns)] for name, row in figures.items()]
    return rows


def _class_rows(classes: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    head, *rows = _rows("class", _CLASS_COLUMNS, classes)
    yield [*head, "occupied", "most often taken for"]
    for row, figures in zip(rows, classes.values()):
        other = figures["taken_for"]
        taken_for = f"{other} {figures['taken_for_share']:.2f}" if other else "-"
        yield [*row, f"{figures['occupied']:,}", taken_for]


def _charts(figures: Mapping[str, Any]) -> dict[str, Callable[[Path], None]]:
    name, first = next(iter(figures["spans"].items()))
    columns = {
        title: {each: row[key] for each, row in first["classes"].items()}
        for key, title in _CLASS_COLUMNS.items()
    }
    title = f"voted labels ({name}) against dense labels: {figures['frames_counted']} frames"
    return {f"{NAME}_by_class.png": partial(draw_label_bars, columns, title)}
