"""The label budget: which dense labels a run may read, and the proof of which it did read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from tqdm import tqdm

from minkocc.files.fingerprint import fingerprint
from minkocc.files.occupancy import LabelBudgetError, LabelError, read_label
from minkocc.files.reading import read_json
from minkocc.files.writing import write_json
from minkocc.structures.phase import check_alpha
from minkocc.structures.taxonomy import FREE, NUM_CLASSES, OCC3D, Taxonomy
from minkocc.structures.voxel_grid import OCC3D_GRID

_COUNTED = ("camera", "all")


@dataclass(frozen=True)
class LabelBudget:
    """The scenes whose dense labels a run may read: ``ceil(alpha * scenes)`` of them.

    The scenes are the first of one seeded order, so that a smaller budget is inside a larger one.
    """

    alpha: float
    seed: int
    scenes: frozenset[str]

    @classmethod
    def of(cls, scene_names: Iterable[str], alpha: float, seed: int) -> LabelBudget:
        """Draw the budget for a training set.

        Raises:
            ValueError: ``alpha`` is outside [0, 1].
        """
        names = sorted(set(scene_names))
        order = np.random.default_rng([seed, 0x0CC3D]).permutation(len(names))
        count = math.ceil(check_alpha(alpha) * len(names) - 1e-9)
        return cls(float(alpha), seed, frozenset(names[i] for i in order[:count]))

    @property
    def name(self) -> str:
        """How the budget's file is called."""
        return f"alpha_{self.alpha:g}_seed_{self.seed}"

    def require(self, token: str, scene_name: str) -> None:
        """Refuse a frame outside the budget.

        Raises:
            LabelBudgetError: the scene is not one of the budgeted.
        """
        if scene_name not in self.scenes:
            raise LabelBudgetError(
                f"the dense label of {token} ({scene_name}) is outside the label budget "
                f"{self.name} ({len(self.scenes)} scenes): this run may not read it"
            )


@dataclass
class LabelReader:
    """The only way of training to a dense label: through the budget.

    Args:
        data_root: what ``occ_path`` is relative to.
        budget: what may be read; None for evaluation data.
        taxonomy: the classes that labels may hold.
    """

    data_root: Path
    budget: LabelBudget | None = None
    taxonomy: Taxonomy = OCC3D

    def read(self, frame: dict[str, Any]) -> dict[str, np.ndarray]:
        """The dense label of a frame.

        Returns:
            ``voxel_semantics`` uint8 and ``mask_camera`` bool, each ``(200, 200, 16)``;
            ``mask_lidar``, which no loss and no metric reads, stays on disk.

        Raises:
            LabelBudgetError: the frame is outside the budget.
            LabelError: the file is missing or is not an Occ3D label.
        """
        if self.budget is not None:
            self.budget.require(frame["token"], frame["scene_name"])
        if not frame["occ_path"]:
            raise LabelError(
                f"frame {frame['token']} ({frame['scene_name']}) has no occupancy label: put "
                "Occ3D's gts/ into the data root, or make it with tools/create_occupancy.py, and "
                "create the infos again"
            )
        path = self.data_root / frame["occ_path"]
        return read_label(path, ("semantics", "mask_camera"), self.taxonomy)


def class_counts(
    reader: LabelReader,
    frames: Sequence[dict[str, Any]],
    train_mask: str | None,
    cache_root: Path,
    by_content: bool = False,
) -> np.ndarray:
    """Mean number of voxels of each class per budgeted frame, ``(17,)`` (n of the paper's Eq. 4).

    Read from the budgeted labels only, and kept in ``label_budget/<budget>.json`` for as long as
    the label files are the same.

    Args:
        reader: of the training set, with its budget.
        frames: of the training set.
        train_mask: ``"camera"`` counts what a camera sees, None everything.
        cache_root: where counts are kept.
        by_content: tell label files apart by their content instead of size and time.

    Raises:
        LabelError: a label cannot be used, or the counts cannot be kept.
    """
    budget = reader.budget
    if budget is None:
        raise ValueError("class_counts: the reader has no budget; pass the training reader")
    members = [frame for frame in frames if frame["scene_name"] in budget.scenes]
    if not members:
        return np.zeros(NUM_CLASSES)
    path = cache_root / "label_budget" / f"{budget.name}.json"
    files = sorted(str(frame["occ_path"]) for frame in members)
    identity = {
        "tokens": sorted(frame["token"] for frame in members),
        "files": _digest(fingerprint(reader.data_root, files, by_content)),
    }
    stored = _stored_counts(path, identity)
    if stored is None:
        stored = _count(reader, members)
        content = {"alpha": budget.alpha, "seed": budget.seed, "scenes": sorted(budget.scenes)}
        whole = {**content, **identity, "class_counts": stored, "digest": _digest(_as_text(stored))}
        _keep(path, whole)
    return np.asarray(stored["camera" if train_mask == "camera" else "all"])


def _keep(path: Path, content: dict[str, Any]) -> None:
    try:
        write_json(path, content)
    except OSError as error:
        raise LabelError(
            f"class counts cannot be kept in {path.parent} ({error.strerror or error}): make room, "
            "or set cache_root to a folder that can be written to"
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(counts: dict[str, list[float]]) -> str:
    """Of counts, for their digest: numbers that someone changed are counted anew."""
    return json.dumps(counts, sort_keys=True)


def _stored_counts(path: Path, identity: dict[str, Any]) -> dict[str, list[float]] | None:
    """Counts of the same labels; None where there are none, or the file is damaged."""
    try:
        content = read_json(path)
        counts = {name: list(map(float, content["class_counts"][name])) for name in _COUNTED}
        same = all(content[key] == value for key, value in identity.items())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        _warn_of_damage(path, f"{type(error).__name__}: {error}")
        return None
    if not same:
        return None  # of other labels, which is no damage
    whole = all(
        len(row) == NUM_CLASSES and all(0 <= n <= math.prod(OCC3D_GRID.shape) for n in row)
        for row in counts.values()
    )
    if not whole or content.get("digest") != _digest(_as_text(counts)):
        _warn_of_damage(path, f"not the {NUM_CLASSES} numbers of voxels that were kept")
        return None
    return counts


def _warn_of_damage(path: Path, damage: str) -> None:
    print_log(
        f"class counts {path} are damaged ({damage}): the labels are counted anew",
        logger="current",
        level=logging.WARNING,
    )


def _count(reader: LabelReader, frames: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    totals = {name: np.zeros(FREE + 1) for name in _COUNTED}
    for frame in tqdm(frames, desc="class counts of the labelled frames", unit="frame"):
        label = reader.read(frame)
        semantics = label["voxel_semantics"]
        totals["all"] += np.bincount(semantics.ravel(), minlength=FREE + 1)
        visible = semantics[label["mask_camera"]]
        totals["camera"] += np.bincount(visible, minlength=FREE + 1)
    return {key: (total[:NUM_CLASSES] / len(frames)).tolist() for key, total in totals.items()}
