"""Occ3D-style labels of a nuScenes root, made of its own recordings."""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from nuscenes.nuscenes import NuScenes
from tqdm import tqdm

from minkocc.datasets.log_scene import manifest_files, read_log_scene
from minkocc.datasets.manifest import read_manifest
from minkocc.datasets.nuscenes_scene import read_scene
from minkocc.datasets.nuscenes_tables import broken_tables, open_keyframes, open_root
from minkocc.datasets.sensor_log import log_box, log_frames
from minkocc.files.fingerprint import fingerprint
from minkocc.files.infos import check_frames
from minkocc.files.npz import npz_bytes
from minkocc.files.occupancy import MADE_NOTE
from minkocc.files.reading import read_json
from minkocc.files.rig import NUSCENES_BOX
from minkocc.files.writing import atomic_write, write_json
from minkocc.occupancy_labels.label import label_scene
from minkocc.occupancy_labels.scene import Keyframe
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import raise_if_interrupted
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.errors import UserError, short

_LOW, _HIGH = ((float(x), float(y), float(z)) for x, y, z in NUSCENES_BOX)
NUSCENES = LabelSettings(ego_box=(_LOW, _HIGH))
"""Settings with nuScenes' recording vehicle."""


class OccupancyLabelError(UserError, ValueError):
    """Labels that cannot be made or added to; the text says what to do."""


@dataclass(frozen=True)
class LabelSource:
    """What labels are made of.

    Args:
        root: the nuScenes root, or that of logs.
        version: name of its tables' folder; None with ``logs``.
        logs: manifests of sensor logs, each a scene.
        lidarseg: read the classes of returns where the root holds them; else all that has no box
            becomes ``others``.
        settings: how.
        own_boxes: leave out what is inside each log's own vehicle, not inside ``settings.ego_box``.
    """

    root: Path
    version: str | None
    lidarseg: bool = True
    settings: LabelSettings = NUSCENES
    logs: tuple[Path, ...] = ()
    own_boxes: bool = False

    def keyframes(self) -> list[tuple[str, str]]:
        """Scene and token of every keyframe, in order."""
        if not self.logs:
            _, found = open_keyframes(self.root, str(self.version))
            return [(scene, sample["token"]) for scene, sample in found]
        frames: list[dict[str, Any]] = []
        for log in self.logs:
            own = log_frames(log, self.root, paths_leave_root=True)
            check_frames(own, f"manifest {log}", True, "correct the manifest")
            frames += own
        return [(frame["scene_name"], frame["token"]) for frame in frames]

    def log_of(self, scene: str) -> Path | None:
        """The manifest of a scene; None: it is of tables."""
        return self._log_by_scene.get(scene)

    @cached_property
    def _log_by_scene(self) -> dict[str, Path]:
        return {read_manifest(log).name("name"): log for log in self.logs}

    def settings_of(self, scene: str) -> LabelSettings:
        """How the labels of a scene are made."""
        log = self.log_of(scene)
        if log is None or not self.own_boxes:
            return self.settings
        return replace(self.settings, ego_box=log_box(log))

    def inputs_of(self, scene: str) -> str:
        """What tells the files that a scene's labels are made of from others."""
        log = self.log_of(scene)
        if log is None:
            return _tables_digest(self.root, str(self.version))
        files = [str(path) for path in manifest_files(log)]
        content = hashlib.sha256(log.read_bytes()).hexdigest() + fingerprint(log.parent, files)
        return hashlib.sha256(content.encode()).hexdigest()

    def scene(self, name: str) -> list[Keyframe]:
        """The keyframes of a scene with all that labels are made of."""
        log = self.log_of(name)
        if log is not None:
            return read_log_scene(log, self.root, self.lidarseg, self.settings.taxonomy)
        nusc = _tables(self.root, str(self.version))
        (record,) = (scene for scene in nusc.scene if scene["name"] == name)
        with broken_tables(self.root, str(self.version)):
            return read_scene(nusc, record, self.root, self.lidarseg)

    def recipe(self) -> dict[str, Any]:
        """All that changes a label, JSON-ready."""
        settings = self.settings.as_dict()
        if self.own_boxes:
            settings["ego_box"] = "each log's own"
        return {"lidarseg": self.lidarseg, "settings": settings}


class CreatedLabels(NamedTuple):
    """How many labels there are now."""

    keyframes: int
    created: int
    """Of these, the ones that were not there yet, or were overwritten."""
    seconds: list[float]
    """What each scene took that was worked on."""


@dataclass(frozen=True)
class _Job:
    scene: str
    tokens: tuple[str, ...]
    """The keyframes that get a label."""


def create_occupancy(
    source: LabelSource,
    out: Path,
    scenes: Sequence[str] | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> CreatedLabels:
    """Write ``<scene>/<token>/labels.npz`` of every keyframe.

    What is there stays, so that a run that was stopped goes on where it was.

    Args:
        source: what they are made of.
        out: the folder; ``gts`` of the root is where training looks for them.
        scenes: names; None takes all.
        workers: processes, a scene each; changes no byte.
        overwrite: replace labels that are there.

    Raises:
        InfoError: the root has no such version, or its tables are broken.
        OccupancyLabelError: a scene is not in the root, or ``out`` holds labels that were made
            otherwise, or of files that have changed since.
        InputError: a LiDAR or lidarseg file is missing or damaged.
        SceneError: a scene has no return, or boxes that contradict each other.
    """
    keyframes = source.keyframes()
    chosen = _chosen(scenes, [name for name, _ in keyframes])
    jobs = _jobs(keyframes, out, chosen, overwrite)
    _check_out(source, out, chosen, overwrite)
    seconds: list[float] = []
    worked = [job.scene for job in jobs]
    if jobs:
        _note(source, out, worked, overwrite)
    with (
        WorkerPool(workers) as pool,
        tqdm(total=sum(len(job.tokens) for job in jobs), desc="labels", unit="keyframe") as bar,
    ):
        for job, took in zip(jobs, pool.run(partial(_label, source, out), jobs)):
            seconds.append(took)
            bar.update(len(job.tokens))
    if jobs and overwrite:
        _note(source, out, worked, False)
    total = sum(name in chosen for name, _ in keyframes)
    return CreatedLabels(total, sum(len(job.tokens) for job in jobs), seconds)


def _chosen(scenes: Sequence[str] | None, known: Iterable[str]) -> set[str]:
    names = set(known)
    for name in scenes or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1) or sorted(names)[:1]
            raise OccupancyLabelError(
                f"--scenes {short(name)} is none of the root's {len(names)} scenes: did you mean "
                f"{near[0]}?"
            )
    return set(scenes) if scenes is not None else names


def _path(out: Path, scene: str, token: str) -> Path:
    return out / scene / token / "labels.npz"


def _jobs(
    keyframes: Iterable[tuple[str, str]], out: Path, scenes: set[str], overwrite: bool
) -> list[_Job]:
    """Scenes with keyframes that lack a label."""
    wanted: dict[str, list[str]] = {}
    for scene, token in keyframes:
        if scene in scenes and (overwrite or not _path(out, scene, token).exists()):
            wanted.setdefault(scene, []).append(token)
    return [_Job(scene, tuple(tokens)) for scene, tokens in wanted.items()]


def _check_out(source: LabelSource, out: Path, chosen: set[str], overwrite: bool) -> None:
    """Refuse to mix labels with those that were made otherwise."""
    there = {path.parent.parent.name for path in out.glob("*/*/labels.npz")}
    if not there:
        return
    note = _read_note(out)
    if note.get("made") == source.recipe() and (overwrite or not note.get("overwriting")):
        if not overwrite:
            _check_inputs(source, out, there & chosen, note.get("inputs", {}))
        return
    if not overwrite:
        raise OccupancyLabelError(
            f"{out} holds labels that were {_made_otherwise(note)}: name another folder, or use "
            "--overwrite to replace them"
        )
    if kept := sorted(there - chosen):
        raise OccupancyLabelError(
            f"{out} holds labels of {len(kept)} other scenes ({kept[0]}, ...) that were "
            f"{_made_otherwise(note)}: name another folder, or --overwrite those too"
        )


def _check_inputs(
    source: LabelSource, out: Path, scenes: set[str], made_of: dict[str, str]
) -> None:
    """Refuse to keep labels of which a box, a pose or a file was corrected since."""
    for scene in sorted(scenes & made_of.keys()):
        if source.inputs_of(scene) != made_of[scene]:
            raise OccupancyLabelError(
                f"{out / scene} holds labels that were made before the scene's manifest, tables or "
                f"LiDAR files changed: make them again with --scenes {scene} --overwrite"
            )


def _read_note(out: Path) -> dict[str, Any]:
    path = out / MADE_NOTE
    return dict(read_json(path)) if path.exists() else {}


def _made_otherwise(note: dict[str, Any]) -> str:
    if note.get("overwriting"):
        return "being overwritten when that was stopped"
    return f"made with other settings ({MADE_NOTE})" if "made" in note else "not made by this tool"


def _note(source: LabelSource, out: Path, scenes: Iterable[str], overwriting: bool) -> None:
    """Say beside the labels how, and of what, they are made."""
    inputs = {**_read_note(out).get("inputs", {}), **{s: source.inputs_of(s) for s in scenes}}
    content = {"made": source.recipe(), **provenance(), "inputs": inputs}
    write_json(out / MADE_NOTE, {**content, "overwriting": True} if overwriting else content)


@cache
def _tables_digest(root: Path, version: str) -> str:
    """Of the tables' content, read once a process: an unpacked copy has other times."""
    names = sorted(path.name for path in (root / version).glob("*.json"))
    return hashlib.sha256(fingerprint(root / version, names, by_content=True).encode()).hexdigest()


@cache
def _tables(root: Path, version: str) -> NuScenes:
    """The tables, read once a process."""
    return open_root(root, version)


def _label(source: LabelSource, out: Path, job: _Job) -> float:
    """Write the labels of a scene; the seconds that it took."""
    start = time.perf_counter()
    keyframes = source.scene(job.scene)
    settings = source.settings_of(job.scene)
    for keyframe, label in label_scene(keyframes, settings, set(job.tokens)):
        raise_if_interrupted()
        with atomic_write(_path(out, job.scene, keyframe.token)) as sink:
            sink.write(
                npz_bytes(
                    semantics=label.semantics,
                    mask_lidar=label.mask_lidar,
                    mask_camera=label.mask_camera,
                )
            )
    return time.perf_counter() - start
