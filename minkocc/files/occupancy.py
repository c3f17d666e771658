"""Occupancy as ``.npz`` files hold it: dense labels, to train on or to measure by; predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.files.npz import ArrayFileError, read_npz
from minkocc.files.reading import read_json
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import FREE, OCC3D, Taxonomy
from minkocc.structures.voxel_grid import OCC3D_GRID

_LABEL_KEYS = ("semantics", "mask_camera", "mask_lidar")
PREDICTION_KEYS = ("pred", "semantics", "arr_0")
INSTANCES_KEY = "instances"
CLASS_IDS_KEY, CLASS_NAMES_KEY = "class_ids", "class_names"
"""Of a prediction in groups of classes: ``ClassGroups.table`` and ``names``."""
TAXONOMY_KEY = "taxonomy"
"""Of a prediction in other classes than Occ3D's: the taxonomy, as JSON."""


MADE_NOTE = "occupancy_labels.json"
"""In a folder of labels that ``tools/create_occupancy.py`` made: how."""


class LabelBudgetError(UserError, RuntimeError):
    """Code asked for a dense label outside the budget."""


class LabelError(UserError, ValueError):
    """A label file that cannot be used; the text names it and the remedy."""


class PredictionError(UserError, ValueError):
    """A prediction, label or list of frames that cannot be used; the text names the remedy."""


def read_label(
    path: Path, keys: Sequence[str] = _LABEL_KEYS, taxonomy: Taxonomy = OCC3D
) -> dict[str, NDArray[Any]]:
    """Read and check one Occ3D ``labels.npz``.

    Args:
        path: the file.
        keys: the arrays to read: ``semantics`` and masks.
        taxonomy: the classes that it may hold.

    Returns:
        ``voxel_semantics`` uint8 and the masks, bool, each ``(200, 200, 16)``.

    Raises:
        LabelError: missing, unreadable, or of a wrong shape, type or class.
        LabelBudgetError: a run that may not read it is watched.
    """
    try:
        arrays = read_npz(path, keys, OCC3D_GRID.shape)
        if missing := [key for key in keys if key not in arrays]:
            raise ArrayFileError(f"it lacks {', '.join(missing)}")
    except FileNotFoundError as error:
        raise LabelError(f"label {path} does not exist: create the infos again") from error
    except LabelBudgetError:  # of the audit, which stops what opens it
        raise
    except Exception as error:  # zip, zlib and numpy each raise their own
        raise LabelError(f"label {path} cannot be read ({error}): fetch it again") from error
    for key, array in arrays.items():
        _check_label_array(array, key, path, taxonomy)
    masks = {key: arrays[key].astype(bool) for key in keys if key != "semantics"}
    return {"voxel_semantics": arrays["semantics"].astype(np.uint8), **masks}


def _check_label_array(array: NDArray[Any], key: str, path: Path, taxonomy: Taxonomy) -> None:
    remedy = "not an Occ3D-nuScenes label, fetch it again"
    # A bool of semantics would be 'others' and 'barrier' everywhere.
    dtypes = (np.uint8,) if key == "semantics" else (np.uint8, np.bool_)
    if array.shape != OCC3D_GRID.shape or array.dtype not in dtypes:
        raise LabelError(
            f"label {path}: {key} is {array.dtype} {array.shape}, expected uint8 "
            f"{OCC3D_GRID.shape}: {remedy}"
        )
    most = FREE if key == "semantics" else 1
    if array.max() > most:
        what = "class" if key == "semantics" else "value"
        raise LabelError(
            f"label {path}: {what} {array.max()} in {key}, expected 0..{most}: {remedy}"
        )
    if key == "semantics" and (odd := _odd_class(array, taxonomy)) is not None:
        raise LabelError(
            f"label {path}: class {odd} in {key}, and the taxonomy has {len(taxonomy.classes)}, "
            f"0 to {len(taxonomy.classes) - 1}, and {FREE} for free: it is of another taxonomy"
        )


def _odd_class(semantics: NDArray[np.uint8], taxonomy: Taxonomy) -> int | None:
    """The first id of Occ3D's that is no class of a taxonomy; None: there is none."""
    first = len(taxonomy.classes)
    if first == FREE:
        return None
    odd = semantics[(semantics >= first) & (semantics < FREE)]
    return int(odd[0]) if len(odd) else None


def made_classes(folder: Path) -> tuple[str, ...] | None:
    """The classes of a folder of labels that we made ourselves; None: it does not say.

    Raises:
        LabelError: what it says is damaged.
    """
    path = folder / MADE_NOTE
    try:
        note = read_json(path)
        return Taxonomy.of(note["made"]["settings"].get("taxonomy")).classes
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LabelError(f"{path} cannot be read ({error}): make the labels again") from error


def read_measured_label(
    path: Path, taxonomy: Taxonomy = OCC3D
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.integer[Any]] | None]:
    """Semantics, camera mask and, where given, instances of an Occ3D label, of any code base.

    Masks may be of any type of integers, as evaluation takes them.

    Args:
        path: the file.
        taxonomy: the classes that it may hold.

    Raises:
        PredictionError: the file is damaged, or a key, shape, dtype or id is not what it should be.
    """
    arrays = _arrays(path, "label", {"semantics", "mask_camera", INSTANCES_KEY})
    for key in ("semantics", "mask_camera"):
        if key not in arrays:
            raise PredictionError(f"label {path} lacks {key}: fetch it again")
    semantics = _semantics(arrays["semantics"], f"label {path}, key semantics")
    mask = arrays["mask_camera"]
    if mask.shape != OCC3D_GRID.shape or mask.dtype.kind not in "bui" or not _is_0_or_1(mask):
        raise PredictionError(
            f"label {path}, key mask_camera is {mask.dtype} {mask.shape}, expected 0 and 1 "
            f"{OCC3D_GRID.shape}: fetch it again"
        )
    _check_taxonomy(semantics, f"label {path}", taxonomy)
    return semantics, mask.astype(np.bool_), _instances(arrays, f"label {path}")


def read_prediction(
    path: Path, taxonomy: Taxonomy = OCC3D
) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]] | None]:
    """Semantics and, where given, instances of a prediction.

    Args:
        path: the file.
        taxonomy: the classes that it may hold.

    Raises:
        PredictionError: the file is damaged, or a key, shape, dtype or id is not what it should be.
    """
    arrays = _arrays(path, "prediction", {*PREDICTION_KEYS, INSTANCES_KEY})
    keys = [key for key in PREDICTION_KEYS if key in arrays]
    if len(keys) != 1:
        raise PredictionError(
            f"prediction {path} holds {', '.join(keys) or 'none'} of the keys "
            f"{', '.join(PREDICTION_KEYS)}: expected one; save it with np.savez_compressed(path, "
            "pred=array)"
        )
    semantics = _semantics(arrays[keys[0]], f"prediction {path}, key {keys[0]}")
    _check_taxonomy(semantics, f"prediction {path}", taxonomy)
    return semantics, _instances(arrays, f"prediction {path}")


def read_class_groups(path: Path) -> ClassGroups:
    """The classes that a prediction tells apart; Occ3D's where it says nothing.

    Raises:
        PredictionError: the file is damaged, or what it says makes no sense.
    """
    arrays = _arrays(path, "prediction", {CLASS_IDS_KEY, CLASS_NAMES_KEY, TAXONOMY_KEY})
    if CLASS_IDS_KEY not in arrays:
        return OCC3D_CLASSES
    taxonomy = _taxonomy(arrays.get(TAXONOMY_KEY), path)
    try:
        return ClassGroups.of_table(arrays[CLASS_IDS_KEY], arrays[CLASS_NAMES_KEY], taxonomy)
    except KeyError as error:
        raise PredictionError(f"prediction {path} has {CLASS_IDS_KEY} and lacks {error}") from error
    except ValueError as error:
        raise PredictionError(f"prediction {path}, key {CLASS_IDS_KEY} is {error}") from error


def groups_stamp(groups: ClassGroups) -> dict[str, NDArray[Any]]:
    """What a prediction's file says of its classes beside ``pred``; nothing of Occ3D's."""
    if groups.plain:
        return {}
    stamp = {CLASS_IDS_KEY: groups.table, CLASS_NAMES_KEY: np.array(groups.names)}
    if groups.taxonomy != OCC3D:
        stamp[TAXONOMY_KEY] = np.array(json.dumps(groups.taxonomy.meaning()))
    return stamp


def _taxonomy(said: NDArray[Any] | None, path: Path) -> Taxonomy:
    if said is None:
        return OCC3D
    try:
        return Taxonomy.of(json.loads(str(said)))
    except (ValueError, RecursionError) as error:
        raise PredictionError(f"prediction {path}, key {TAXONOMY_KEY}: {error}") from error


def _arrays(path: Path, what: str, wanted: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The wanted arrays that a file holds; what it may hold beside them is not read."""
    try:
        return read_npz(path, wanted, OCC3D_GRID.shape)
    except Exception as error:  # a damaged archive fails in many ways
        problem = str(error) or type(error).__name__
        raise PredictionError(
            f"{what} {path} cannot be read ({problem}): write it again"
        ) from error


def _semantics(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if array.shape != OCC3D_GRID.shape:
        raise PredictionError(
            f"{what} has shape {array.shape}, expected {OCC3D_GRID.shape} = (x, y, z)"
        )
    if array.dtype != np.uint8:
        raise PredictionError(f"{what} is {array.dtype}, expected uint8: use .astype(np.uint8)")
    if array.max() > FREE:
        raise PredictionError(
            f"{what} holds id {array.max()}, expected 0..{FREE} with {FREE} = free"
        )
    return np.ascontiguousarray(array)


def _check_taxonomy(semantics: NDArray[np.uint8], what: str, taxonomy: Taxonomy) -> None:
    if (odd := _odd_class(semantics, taxonomy)) is not None:
        raise PredictionError(
            f"{what} holds class {odd}, and the predictions' taxonomy has "
            f"{len(taxonomy.classes)}: {', '.join(taxonomy.classes)}"
        )


def _is_0_or_1(mask: NDArray[Any]) -> bool:
    return bool(mask.min() >= 0 and mask.max() <= 1)


def _instances(arrays: Mapping[str, NDArray[Any]], what: str) -> NDArray[np.integer[Any]] | None:
    if INSTANCES_KEY not in arrays:
        return None
    ids = arrays[INSTANCES_KEY]
    if ids.shape != OCC3D_GRID.shape or ids.dtype.kind not in "ui" or ids.min() < 0:
        raise PredictionError(
            f"{what}, key {INSTANCES_KEY} is {ids.dtype} {ids.shape}, expected ids of 0 or more "
            f"{OCC3D_GRID.shape}"
        )
    return ids
