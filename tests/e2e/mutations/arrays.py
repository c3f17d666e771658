"""Damage to archives of arrays: labels, predictions, kept targets."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.mutations.any_file import (
    CUT,
    FLIPPED,
    HOLE,
    LONGER,
    MAGIC,
    NO_FILE,
    NOISE,
    Mutation,
)
from tests.e2e.mutations.values import put_one


def of_arrays(change: Callable[[dict[str, Any], np.random.Generator], None]) -> Callable[..., None]:
    """A change of what an ``.npz`` holds."""

    def write(path: Path, rng: np.random.Generator) -> None:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files}
        change(arrays, rng)
        np.savez_compressed(path, **arrays)

    return write


def _any(arrays: dict[str, Any], rng: np.random.Generator, keys: tuple[str, ...]) -> str:
    found = [key for key in keys if key in arrays]
    return found[rng.integers(len(found))]


def _array_changes(*keys: str) -> list[Mutation]:
    """What makes of one of the arrays no right one, whatever it holds."""
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "float32": lambda a: a.astype(np.float32),
        "NaN": lambda a: np.full(a.shape, np.nan),
        "int16": lambda a: a.astype(np.int16),
        "text": lambda a: a.astype("U1"),
        "flat": lambda a: a.reshape(-1),
        "one plane less": lambda a: a[:-1],
        "other axes": lambda a: a.T,
        "one number": lambda a: a.reshape(-1)[0],
        "no number": lambda a: a[:0],
        "an axis more": lambda a: a[None],
    }

    def changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
        def apply(arrays: dict[str, Any], rng: np.random.Generator) -> None:
            key = _any(arrays, rng, keys)
            arrays[key] = change(arrays[key])

        return of_arrays(apply)

    def lost(arrays: dict[str, Any], rng: np.random.Generator) -> None:
        key = _any(arrays, rng, keys)
        arrays[f"{key}_"] = arrays.pop(key)

    def in_columns(arrays: dict[str, Any], rng: np.random.Generator) -> None:
        arrays.update({key: np.asfortranarray(array) for key, array in arrays.items()})

    def objects(path: Path, rng: np.random.Generator) -> None:
        with np.load(path) as archive:
            np.savez_compressed(path, **{key: archive[key].astype(object) for key in archive.files})

    return [
        *(Mutation(name, changed(change)) for name, change in changes.items()),
        Mutation("key lost", of_arrays(lost)),
        Mutation("in columns", of_arrays(in_columns)),
        Mutation("a key more", of_arrays(lambda a, rng: a.update(more=np.zeros(3)))),
        Mutation("objects", objects),
        Mutation("no key", of_arrays(lambda arrays, rng: arrays.clear())),
        Mutation("two of a name", _twice),
    ]


def _twice(path: Path, rng: np.random.Generator) -> None:
    """A member again, with nothing in it: which of the two is meant?"""
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[0]
        archive.writestr(name, b"")


def one_of(key: str, value: Any, dtype: Any = None) -> Callable[..., None]:
    """One element that is another, or would be in another type."""

    def apply(arrays: dict[str, Any], rng: np.random.Generator) -> None:
        found = next(k for k in (key, *arrays) if k in arrays)
        array = arrays[found] if dtype is None else arrays[found].astype(dtype)
        arrays[found] = put_one(array, value, rng)

    return of_arrays(apply)


_NPZ = [*NO_FILE, CUT, LONGER, MAGIC, FLIPPED, FLIPPED, HOLE, NOISE]
LABEL = [
    *_NPZ,
    *_array_changes("semantics", "mask_camera"),
    Mutation("class 18", one_of("semantics", 18)),
    Mutation("class 255", one_of("semantics", 255)),
    Mutation("semantics of bool", of_arrays(lambda a, rng: a.update(semantics=a["semantics"] > 3))),
    Mutation("mask of 2", one_of("mask_camera", 2)),
    Mutation("mask of -1", one_of("mask_camera", -1, np.int8)),
    Mutation("mask_lidar of 7", one_of("mask_lidar", 7)),
]
WEAK_CACHE = [
    *_NPZ,
    *_array_changes("weak_occupancy"),
    Mutation("value 2", one_of("weak_occupancy", 2)),
    Mutation("value 254", one_of("weak_occupancy", 254)),
    Mutation("of something else", of_arrays(lambda a, rng: a.update(made_of=a["made_of"][::-1]))),
    Mutation("of nothing", of_arrays(lambda a, rng: a.pop("made_of"))),
]


def _other_ids(arrays: dict[str, Any], rng: np.random.Generator) -> None:
    """The same instances under other, huge numbers."""
    if "instances" in arrays:
        ids = arrays["instances"].astype(np.uint64)
        arrays["instances"] = np.where(ids > 0, np.uint64(2**64 - 1) - ids, np.uint64(0))


PREDICTION = [
    *_NPZ,
    *_array_changes("pred", "semantics", "arr_0"),
    Mutation("class 18", one_of("pred", 18)),
    Mutation("two keys", of_arrays(lambda a, rng: a.update(pred=next(iter(a.values())), arr_0=0))),
    Mutation("instance -1", one_of("instances", -1, np.int32)),
    Mutation("other instance ids", of_arrays(_other_ids)),
]
