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

from minkocc.structures.errors import UserError
from minkocc.structures.files import write_json
from minkocc.structures.phase import check_alpha
from minkocc.structures.taxonomy import FREE, NUM_CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID

_COUNTED = ("camera", "all")
_LABEL_KEYS = ("semantics", "mask_camera", "mask_lidar")


class LabelBudgetError(UserError, RuntimeError):
    """Code asked for a dense label outside the budget."""


class LabelError(UserError, ValueError):
    """A label file that cannot be used; the text names it and the remedy."""


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
    """The only code that opens ``labels.npz``.

    Args:
        data_root: what ``occ_path`` is relative to.
        budget: what may be read; None for evaluation data.
    """

    data_root: Path
    budget: LabelBudget | None = None

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
                "Occ3D's gts/ into the data root and create the infos again"
            )
        return read_label(self.data_root / frame["occ_path"], ("semantics", "mask_camera"))


def read_label(path: Path, keys: Sequence[str] = _LABEL_KEYS) -> dict[str, np.ndarray]:
    """Read and check one Occ3D ``labels.npz``.

    Args:
        path: the file.
        keys: the arrays to read: ``semantics`` and masks.

    Returns:
        ``voxel_semantics`` uint8 and the masks, bool, each ``(200, 200, 16)``.

    Raises:
        LabelError: missing, unreadable, or of a wrong shape, type or class.
        LabelBudgetError: a run that may not read it is watched.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in keys}
    except FileNotFoundError as error:
        raise LabelError(f"label {path} does not exist: create the infos again") from error
    except LabelBudgetError:  # of the audit, which stops what opens it
        raise
    except Exception as error:  # zip, zlib and numpy each raise their own
        raise LabelError(f"label {path} cannot be read ({error}): fetch it again") from error
    for key, array in arrays.items():
        if array.shape != OCC3D_GRID.shape or array.dtype not in (np.uint8, np.bool_):
            raise LabelError(
                f"label {path}: {key} is {array.dtype} {array.shape}, expected uint8 "
                f"{OCC3D_GRID.shape}: not an Occ3D-nuScenes label, fetch it again"
            )
    if arrays["semantics"].max() > FREE:
        raise LabelError(
            f"label {path}: class {arrays['semantics'].max()} in semantics, expected 0..{FREE}: "
            "not an Occ3D-nuScenes label, fetch it again"
        )
    masks = {key: arrays[key].astype(bool) for key in keys if key != "semantics"}
    return {"voxel_semantics": arrays["semantics"].astype(np.uint8), **masks}


def class_counts(
    reader: LabelReader,
    frames: Sequence[dict[str, Any]],
    train_mask: str | None,
    cache_root: Path,
) -> np.ndarray:
    """Mean number of voxels of each class per budgeted frame, ``(17,)`` (n of the paper's Eq. 4).

    Read from the budgeted labels only, and kept in ``label_budget/<budget>.json``.

    Args:
        reader: of the training set, with its budget.
        frames: of the training set.
        train_mask: ``"camera"`` counts what a camera sees, None everything.
        cache_root: where counts are kept.

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
    identity = {
        "tokens": sorted(frame["token"] for frame in members),
        "files": _fingerprint(reader.data_root, members),
    }
    stored = _stored_counts(path, identity)
    if stored is None:
        stored = _count(reader, members)
        content = {"alpha": budget.alpha, "seed": budget.seed, "scenes": sorted(budget.scenes)}
        _keep(path, {**content, **identity, "class_counts": stored})
    return np.asarray(stored["camera" if train_mask == "camera" else "all"])


def _keep(path: Path, content: dict[str, Any]) -> None:
    try:
        write_json(path, content)
    except OSError as error:
        raise LabelError(
            f"class counts cannot be kept in {path.parent} ({error.strerror or error}): make room, "
            "or set cache_root to a folder that can be written to"
        ) from error


def _fingerprint(root: Path, frames: Sequence[dict[str, Any]]) -> str:
    """Of the label files' sizes and times: others are counted anew."""
    digest = hashlib.sha256()
    for path in sorted(str(frame["occ_path"]) for frame in frames):
        file = root / path
        stat = file.stat() if file.is_file() else None
        digest.update(f"{path} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _stored_counts(path: Path, identity: dict[str, Any]) -> dict[str, list[float]] | None:
    """Counts of the same labels; None where there are none, or the file is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        counts = {name: list(map(float, content["class_counts"][name])) for name in _COUNTED}
        same = all(content[key] == value for key, value in identity.items())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        _warn_of_damage(path, f"{type(error).__name__}: {error}")
        return None
    if not same:
        return None  # of other labels, which is no damage
    for name, row in counts.items():
        if len(row) != NUM_CLASSES or not all(0 <= n <= math.prod(OCC3D_GRID.shape) for n in row):
            _warn_of_damage(path, f"{name}: no {NUM_CLASSES} numbers of voxels")
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
