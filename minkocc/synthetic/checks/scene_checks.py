"""Reads every file of one scene back through nuscenes-devkit and measures its agreement."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nuscenes.nuscenes import NuScenes

from minkocc.structures.taxonomy import FREE, NUM_CLASSES
from minkocc.synthetic.checks import agreement
from minkocc.synthetic.checks.file_checks import (
    confidence_fault,
    fault,
    jpeg_fault,
    label_fault,
    lidar_fault,
    lidarseg_fault,
    pseudo_label_fault,
)
from minkocc.synthetic.rig import LIDAR
from minkocc.synthetic.writing.tables import VERSION, Record

Faults = dict[Path, str | None]
"""What is wrong with each file that was read, None where nothing is."""


@dataclass(frozen=True)
class SceneJob:
    """One scene to check.

    Args:
        root: of the data set.
        scene: its name.
        clean: whether the pseudo-labels are the truth, so that images can be compared.
        run: tells one check from the next, between which files may change.
    """

    root: Path
    scene: str
    clean: bool
    run: int


@dataclass(frozen=True)
class SceneReport:
    """What a check found.

    Args:
        problems: a sentence each, with file and remedy.
        figures: summed over the keyframes whose files are sound.
        voxels: ``(17,)`` occupied voxels by class.
        keyframes: how many were measured.
    """

    problems: list[str]
    figures: agreement.Agreement
    voxels: agreement.Counts
    keyframes: int


@functools.lru_cache(maxsize=1)
def open_tables(root: Path, run: int) -> NuScenes:
    """The data set, loaded once per process and ``run``."""
    return NuScenes(version=VERSION, dataroot=str(root), verbose=False)


def rewrite_scene(root: Path, scene: str) -> str:
    """How to have a scene written again: its file of records marks it as finished."""
    return f"delete {root / '.scenes' / f'{scene}.json'} and run the same command again"


def check_scene(job: SceneJob) -> SceneReport:
    """Check one scene; what cannot be read is a problem, never an exception."""
    remedy = rewrite_scene(job.root, job.scene)
    try:
        faults, report = _check(job)
    except (KeyError, ValueError, OSError) as error:
        problem = (
            f"{job.root}: {job.scene} cannot be followed through the tables "
            f"({type(error).__name__}: {error}): {remedy}"
        )
        return SceneReport([problem], {}, np.zeros(NUM_CLASSES, np.int64), 0)
    problems = [f"{path} {found}: {remedy}" for path, found in faults.items() if found]
    return replace(report, problems=problems)


def _check(job: SceneJob) -> tuple[Faults, SceneReport]:
    nusc = open_tables(job.root, job.run)
    scene = next(record for record in nusc.scene if record["name"] == job.scene)
    samples = [record for record in nusc.sample if record["scene_token"] == scene["token"]]
    of_keyframe: dict[str, Faults] = {sample["token"]: {} for sample in samples}
    faults = dict([_map_fault(nusc, scene)])
    for record in nusc.sample_data:
        if record["sample_token"] in of_keyframe:
            found = dict(_measurement_faults(nusc, record))
            faults |= found
            if record["is_key_frame"]:
                of_keyframe[record["sample_token"]] |= found
    figures: list[agreement.Agreement] = []
    voxels = np.zeros(NUM_CLASSES, np.int64)
    for token, found in of_keyframe.items():
        path = job.root / "gts" / job.scene / token / "labels.npz"
        faults[path] = found[path] = fault(label_fault, path)
        if any(found.values()):
            continue  # what is broken is told, and measures nothing
        keyframe = agreement.read_keyframe(nusc, token, job.clean)
        figures.append(agreement.measure(keyframe))
        voxels += np.bincount(keyframe.semantics.reshape(-1), minlength=FREE + 1)[:NUM_CLASSES]
    return faults, SceneReport([], agreement.merge(figures), voxels, len(figures))


def _map_fault(nusc: NuScenes, scene: Record) -> tuple[Path, str | None]:
    """The map mask, and whether the devkit can read it."""
    record = nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])

    def load() -> str | None:
        return None if record["mask"].mask().any() else "shows nothing to drive on"

    return Path(nusc.dataroot) / record["filename"], fault(load)


def _measurement_faults(nusc: NuScenes, record: Record) -> Iterator[tuple[Path, str | None]]:
    """The files of one measurement: itself and the labels that go with a keyframe."""
    root, path = Path(nusc.dataroot), Path(nusc.get_sample_data_path(record["token"]))
    if record["channel"] == LIDAR:
        found = fault(lidar_fault, path)
        yield path, found
        if record["is_key_frame"] and not found:
            labels = root / nusc.get("lidarseg", record["token"])["filename"]
            yield labels, fault(lidarseg_fault, labels, path)
        return
    size = (record["width"], record["height"])
    yield path, fault(jpeg_fault, path, size)
    name = Path(record["channel"]) / f"{path.stem}.png"
    labels = root / "pseudo_labels" / "labels" / name
    found = fault(pseudo_label_fault, labels, size)
    yield labels, found
    if not found:
        scores = root / "pseudo_labels" / "confidence" / name
        yield scores, fault(confidence_fault, scores, labels)
