"""Writes a whole synthetic data set, scene by scene, in parallel and resumably."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from minkocc.files.pseudo_label_meta import make_meta, write_meta
from minkocc.files.writing import write_json
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.taxonomy import NAMES_2D
from minkocc.synthetic.writing import tables
from minkocc.synthetic.writing.scene_writer import SceneSpec, SceneWriter

_PARAMETERS = "synthetic.json"
_FINISHED = ".scenes"  # one file of records per finished scene
_FORMAT = 2  # counts up whenever the same settings give other files
_DERIVED = ("minkocc_infos_train.pkl", "minkocc_infos_val.pkl", "label_budget", "weak_occupancy")
"""What other tools made of a set; none of it is true of the next."""
_OWN = (
    _FINISHED,  # first: a set without its files must not look finished
    "samples",
    "sweeps",
    "lidarseg",
    "gts",
    "pseudo_labels",
    "maps",
    tables.VERSION,
    "splits.json",
)


@dataclass(frozen=True)
class WorldSettings:
    """What a synthetic data set holds.

    Args:
        train_scenes: number of training scenes, which come first.
        val_scenes: number of validation scenes.
        keyframes: per scene, 2 a second.
        seed: of everything.
        image_size: width and height in pixels.
        clean_pseudo_labels: write the true 2D semantics as pseudo-labels.
        shifted: of another town, to measure what a change of place costs: see ``build_world``.

    Raises:
        ValueError: a number is out of range.
    """

    train_scenes: int
    val_scenes: int
    keyframes: int
    seed: int = 0
    image_size: tuple[int, int] = (800, 450)
    clean_pseudo_labels: bool = False
    shifted: bool = False

    def __post_init__(self) -> None:
        for name, least in (("train_scenes", 0), ("val_scenes", 0), ("keyframes", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} is too small: use {least} or more")
        if self.train_scenes + self.val_scenes == 0:
            raise ValueError("train_scenes and val_scenes are both 0: ask for at least one scene")
        if min(self.image_size) < 16:
            raise ValueError(f"image_size {self.image_size} is too small: use e.g. (800, 450)")

    def parameters(self) -> dict[str, Any]:
        """What decides the contents of every file, JSON-ready."""
        values = asdict(self)
        values["image_size"] = list(self.image_size)
        if not self.shifted:
            del values["shifted"]  # as the sets say that were written before there was another town
        # More scenes may be added to either split's end only by starting over: val follows train.
        return {"format": _FORMAT, **values}

    def spec(self, out: Path, index: int) -> SceneSpec:
        """One scene of the set."""
        contents = (self.keyframes, self.image_size, self.clean_pseudo_labels, self.shifted)
        return SceneSpec(out, self.seed, index, *contents)

    def specs(self, out: Path) -> list[SceneSpec]:
        """Every scene, training first."""
        return [self.spec(out, i) for i in range(self.train_scenes + self.val_scenes)]


def write_dataset(
    out: Path, settings: WorldSettings, workers: int = 1, overwrite: bool = False
) -> dict[str, int]:
    """Write a data set, skipping the scenes that an earlier run has finished.

    Args:
        out: its root; created if absent.
        settings: what it holds.
        workers: number of processes; does not change a byte.
        overwrite: delete a data set that was written with other settings.

    Returns:
        How many scenes were written and how many were there already.

    Raises:
        ValueError: ``workers`` is not positive.
        FileExistsError: ``out`` holds something else.
    """
    with WorkerPool(workers) as pool:
        _prepare(out, settings.parameters(), overwrite)
        specs = settings.specs(out)
        missing = [spec for spec in specs if _records(spec) is None]
        _remove_leftovers(out)
        written = pool.run(_write_scene, missing)
        for _ in tqdm(written, total=len(missing), desc="scenes", unit="scene"):
            pass
    _write_tables(out, specs)
    names = [spec.name for spec in specs]
    train = settings.train_scenes
    write_json(out / "splits.json", {"train": names[:train], "val": names[train:]})
    write_meta(out / "pseudo_labels", _meta(settings))
    return {"written": len(missing), "skipped": len(specs) - len(missing)}


def begun_settings(out: Path) -> WorldSettings | None:
    """The settings that ``out`` was begun with; None if this package has begun nothing there.

    Raises:
        ValueError: the note of them is damaged.
    """
    note = out / _PARAMETERS
    if not note.is_file():
        return None
    try:
        begun = json.loads(note.read_text(encoding="utf-8"))
        begun.pop("format")
        return WorldSettings(**{**begun, "image_size": tuple(begun["image_size"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{note} is damaged ({type(error).__name__}: {error}): delete {out} and make it anew"
        ) from error


def is_outdated(out: Path, settings: WorldSettings) -> bool:
    """Whether ``out`` holds these settings as an earlier version of this package wrote them."""
    note = out / _PARAMETERS
    if not note.is_file():
        return False
    before = json.loads(note.read_text(encoding="utf-8"))
    return bool(before != settings.parameters() == {**before, "format": _FORMAT})


def _prepare(out: Path, parameters: dict[str, Any], overwrite: bool) -> None:
    """Make sure that ``out`` is ours and was begun with the same parameters."""
    note = out / _PARAMETERS
    if not note.exists():
        if out.exists() and not all(_is_leftover(path, note) for path in out.iterdir()):
            raise FileExistsError(
                f"{out} is not empty and holds no {_PARAMETERS}: choose a new or empty directory"
            )
        write_json(note, parameters)
        return
    before = json.loads(note.read_text())
    if before == parameters:
        return
    changed = [k for k in parameters if before.get(k) != parameters[k]]
    if not overwrite:
        changes = ", ".join(f"{k} {before.get(k)} -> {parameters[k]}" for k in changed)
        raise FileExistsError(
            f"{out} was written with other parameters ({changes}): use --overwrite to replace it, "
            "or another directory"
        )
    for name in (*_OWN, *_DERIVED):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Last: until then the next run sees other parameters, and deletes on.
    write_json(note, parameters)


def _record_file(spec: SceneSpec) -> Path:
    return spec.out / _FINISHED / f"{spec.name}.json"


def _records(spec: SceneSpec) -> tables.Tables | None:
    """The records of a finished scene; None if it is not finished or its file is damaged."""
    try:
        records: tables.Tables = json.loads(_record_file(spec).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return records


def _is_leftover(path: Path, of: Path) -> bool:
    """Whether a run was killed that had begun to write a file there."""
    return path.name.startswith(f".{of.name}.") and path.suffix == ".part"


def _remove_leftovers(out: Path) -> None:
    """Delete the half-written files of a run that was killed."""
    for name in (_PARAMETERS, *_OWN):
        beside = (path for path in out.glob("*.part") if _is_leftover(path, out / name))
        for path in (*beside, *(out / name).rglob("*.part")):
            path.unlink(missing_ok=True)


def _write_scene(spec: SceneSpec) -> str:
    """Write one scene and, last, the records that mark it as finished."""
    cv2.setNumThreads(1)  # processes are the parallelism
    records = SceneWriter(spec).write()
    os.sync()  # when the power goes, what is on record is there
    write_json(_record_file(spec), records)
    return spec.name


def _write_tables(out: Path, specs: list[SceneSpec]) -> None:
    """Merge the scenes' records into the tables."""
    merged: tables.Tables = {name: [] for name in tables.TABLE_NAMES}
    merged.update(tables.constant_tables())
    for spec in specs:
        for name, records in (_records(spec) or {}).items():
            merged[name] += records
    for name, records in merged.items():
        write_json(out / tables.VERSION / f"{name}.json", records)


def _meta(settings: WorldSettings) -> dict[str, Any]:
    """How the pseudo-labels came about."""
    kind = "clean" if settings.clean_pseudo_labels else "degraded"
    names = {name: name for name in NAMES_2D[1:]}
    return make_meta(
        "synthetic", [f"synthetic-{kind}"], names, settings.image_size, seed=settings.seed
    )
