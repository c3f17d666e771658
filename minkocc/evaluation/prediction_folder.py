"""Folders of predictions, of any code base: matched with labels, checked, and measured."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.evaluation.grouped import summarise_groups
from minkocc.evaluation.protocols import Counts, Frame, Summary, add_counts, protocol_named
from minkocc.evaluation.ray_iou import select_origins
from minkocc.files.infos import classes_of_infos, read_infos
from minkocc.files.occupancy import (
    CLASS_IDS_KEY,
    PredictionError,
    read_class_groups,
    read_measured_label,
    read_prediction,
)
from minkocc.files.reading import read_json
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.taxonomy import FREE


@dataclass(frozen=True)
class FrameFiles:
    """Where a frame's prediction and label are."""

    token: str
    label: Path
    pred: Path | None
    """None: there is none, and everything counts as free."""
    ray_origins: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class MatchedFrames:
    """What two folders hold of each other."""

    frames: list[FrameFiles]
    missing: list[str] = field(default_factory=list)
    """Tokens of labels without a prediction."""
    extra: list[str] = field(default_factory=list)
    """Tokens of predictions that no label was asked for."""
    not_asked: int = 0
    """Labels in the folder that the list of frames leaves out."""


@dataclass(frozen=True)
class FrameList:
    """Which frames are measured, from infos or from a file of ray origins."""

    origins: dict[str, NDArray[np.float64]]
    """Ray origins by token."""
    scenes: dict[str, str]
    """The scene of each token, where it is known."""
    source: Path
    classes: tuple[str, ...] | None = None
    """Of the labels, where that is known."""


def frames_of_infos(path: Path) -> FrameList:
    """The frames of an info file that have a dense label.

    Raises:
        InfoError: it cannot be used.
        PredictionError: no frame has a label.
    """
    content = read_infos(path, paths_leave_root=True, taxonomy=None)  # no file is opened
    found = content["data_list"]
    frames = [frame for frame in found if frame["occ_path"]]
    if not frames:
        raise PredictionError(
            f"--infos {path}: none of the {len(found)} frames of it has a dense label: put Occ3D's "
            "gts/ into the data root and create the infos again"
        )
    return FrameList(
        {f["token"]: _origins(f"--infos {path}", f["token"], f["ray_origins"]) for f in frames},
        {f["token"]: f["scene_name"] for f in frames},
        path,
        classes_of_infos(content),
    )


def frames_of_origins(path: Path) -> FrameList:
    """The frames of a JSON file that maps tokens to lists of ray origins ``[x, y, z]``.

    Raises:
        PredictionError: it is missing, no such JSON, or a frame's origins cannot be used.
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise PredictionError(
            f"--origins {path} cannot be read: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise PredictionError(f"--origins {path} is no JSON ({error})") from error
    if not isinstance(content, dict) or not content:
        raise PredictionError(f"--origins {path}: expected {{token: [[x, y, z], ...], ...}}")
    origins = {token: _origins(f"--origins {path}", token, v) for token, v in content.items()}
    return FrameList(origins, {}, path)


def match_frames(pred: Path, gt: Path, listed: FrameList | None) -> MatchedFrames:
    """Find the prediction and the label of every frame.

    Args:
        pred: folder of ``<token>.npz``.
        gt: folder of ``<scene>/<token>/labels.npz``.
        listed: the frames to measure; None takes every label.

    Raises:
        PredictionError: a folder is missing or empty, a listed frame has no label, or not one
            prediction has the token of a frame.
    """
    if not pred.is_dir():
        raise PredictionError(f"--pred {pred} is not a folder")
    preds = {path.stem: path for path in pred.glob("*.npz")}
    if not preds:
        raise PredictionError(f"--pred {pred} holds no .npz: expected one <token>.npz a frame")
    labels = find_labels(gt)
    wanted = labels if listed is None else _listed_labels(labels, gt, listed)
    origins: Mapping[str, Any] = listed.origins if listed else {}
    if not preds.keys() & wanted.keys():
        raise PredictionError(
            f"no prediction in --pred {pred} belongs to a frame: they are called "
            f"{some_of(sorted(preds))}, the frames {some_of(sorted(wanted))}"
        )
    _check_listed(preds[min(preds.keys() & wanted.keys())], listed)
    frames = [
        FrameFiles(token, wanted[token], preds.get(token), origins.get(token))
        for token in sorted(wanted)
    ]
    return MatchedFrames(
        frames,
        missing=[frame.token for frame in frames if frame.pred is None],
        extra=sorted(preds.keys() - wanted.keys()),
        not_asked=len(labels) - len(wanted),
    )


def _check_listed(pred: Path, listed: FrameList | None) -> None:
    classes = read_class_groups(pred).taxonomy.classes
    if listed and listed.classes not in (None, classes):
        raise PredictionError(
            f"prediction {pred} is of a taxonomy with classes {', '.join(classes)}, "
            f"{listed.source} of {', '.join(listed.classes or ())}: measure it on frames of its own"
        )


def find_labels(gt: Path) -> dict[str, Path]:
    """The file of every label in a folder of ``<scene>/<token>/labels.npz``, by token.

    Raises:
        PredictionError: there is none, or a token has two.
    """
    if not gt.is_dir():
        raise PredictionError(f"--gt {gt} is not a folder")
    labels: dict[str, Path] = {}
    for path in sorted(gt.glob("*/*/labels.npz")):
        former = labels.setdefault(path.parent.name, path)
        if former != path:
            raise PredictionError(f"--gt {gt} holds two labels of one token: {former} and {path}")
    if not labels:
        near = [folder for folder in (gt / "gts", gt.parent) if any(folder.glob("*/*/labels.npz"))]
        hint = f"; did you mean {near[0]}?" if near else ""
        raise PredictionError(f"--gt {gt} holds no <scene>/<token>/labels.npz{hint}")
    return labels


def evaluate_frames(
    frames: Sequence[FrameFiles], protocols: Sequence[str], workers: int = 1
) -> list[Summary]:
    """Figures of the named protocols over frames, with progress bars.

    Where rays are cast, which takes long, all files are read and checked first.

    Args:
        frames: at least one.
        protocols: names of ``PROTOCOLS``.
        workers: processes, see ``WorkerPool``; they change no figure.

    Raises:
        PredictionError: a file cannot be used, there is no frame, or the predictions are of
            networks that tell other classes apart.
    """
    if not frames:
        raise PredictionError("there is no frame to measure")
    chosen = [protocol_named(name) for name in protocols]
    chunk = max(1, min(8, len(frames) // (4 * workers)))
    groups = next((read_class_groups(f.pred) for f in frames if f.pred), OCC3D_CLASSES)
    check = partial(_check, groups=groups)
    count = partial(_count, groups=groups, protocols=tuple(protocols))
    totals: list[Counts] = []
    with WorkerPool(workers) as pool:
        if any(protocol.needs_origins for protocol in chosen):
            checked = pool.run(check, frames, chunk)
            for _ in tqdm(checked, total=len(frames), desc="checking files", unit="frame"):
                pass
        counted = pool.run(count, frames, chunk)
        for counts in tqdm(counted, total=len(frames), desc="measuring", unit="frame"):
            totals = [add_counts(pair) for pair in zip(totals, counts)] if totals else counts
    return [
        summarise_groups(protocol, total, len(frames), groups)
        for protocol, total in zip(chosen, totals)
    ]


def _listed_labels(labels: Mapping[str, Path], gt: Path, listed: FrameList) -> dict[str, Path]:
    absent = sorted(listed.origins.keys() - labels.keys())
    if absent:
        raise PredictionError(
            f"{len(absent)} of {len(listed.origins)} frames of {listed.source} have no label in "
            f"--gt {gt}: {some_of(absent)}"
        )
    for token, scene in listed.scenes.items():
        if labels[token].parent.parent.name != scene:
            raise PredictionError(
                f"label {labels[token]}: {listed.source} has frame {token} in scene {scene}"
            )
    return {token: labels[token] for token in listed.origins}


def _origins(source: str, token: str, values: Any) -> NDArray[np.float64]:
    try:
        origins = np.asarray(values, np.float64)
        select_origins(origins)
    except (TypeError, ValueError, OverflowError) as error:
        raise PredictionError(f"{source}, frame {token[:99]}: {_shortened(error)}") from error
    return origins


def _shortened(error: Exception) -> str:
    """Numpy repeats what it cannot make a number of, however long it is."""
    return textwrap.shorten(str(error), 200)


def _load(files: FrameFiles, groups: ClassGroups) -> Frame:
    semantics, mask, instances = read_measured_label(files.label, groups.taxonomy)
    label = groups.grouped(semantics)
    if instances is not None and not groups.plain:
        # What one id called a car and a truck is not one vehicle.
        instances = np.where(instances > 0, instances.astype(np.int64) * (FREE + 1) + semantics, 0)
    if files.pred is None:
        pred, pred_instances = np.full_like(semantics, FREE), None
    else:
        pred, pred_instances = read_prediction(files.pred, groups.taxonomy)
        _check_groups(files.pred, pred, groups)
    return Frame(pred, label, mask, files.ray_origins, pred_instances, instances, groups=groups)


def _check_groups(path: Path, pred: NDArray[np.uint8], groups: ClassGroups) -> None:
    """Predictions of other classes than the first one's, or than they say, are refused."""
    own = read_class_groups(path)
    if not own.same_ids(groups):
        raise PredictionError(
            f"prediction {path} is of classes {', '.join(own.names)}, others of "
            f"{', '.join(groups.names)}: measure those of one network"
        )
    if not groups.plain and (groups.grouped(pred) != pred).any():
        raise PredictionError(
            f"prediction {path} holds classes that its {CLASS_IDS_KEY} put into groups of other "
            "ids: write it again"
        )


def _check(files: FrameFiles, groups: ClassGroups) -> None:
    _load(files, groups)


def _count(files: FrameFiles, groups: ClassGroups, protocols: tuple[str, ...]) -> list[Counts]:
    frame = _load(files, groups)
    return [protocol_named(name).count(frame) for name in protocols]


def some_of(tokens: Sequence[str], most: int = 3) -> str:
    """The first tokens of a list, for a message."""
    return ", ".join(tokens[:most]) + (", ..." if len(tokens) > most else "")
