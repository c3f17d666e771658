"""What the damaged files are read by: a small world, and the paths through which data comes in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import runpy
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from minkocc.datasets.infos import create_infos
from minkocc.datasets.label_audit import merge_audit
from minkocc.datasets.label_budget import LabelBudget
from minkocc.datasets.lidarseg import read_categories
from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset
from minkocc.datasets.nuscenes_tables import open_keyframes
from minkocc.engine.checkpoint_fit import check_state, load_weights
from minkocc.engine.run_settings import check_resumed
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.evaluation.prediction_folder import (
    evaluate_frames,
    frames_of_infos,
    frames_of_origins,
    match_frames,
)
from minkocc.files.checkpoints import read_checkpoint
from minkocc.files.infos import read_infos
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.forked import ROOT
from tests.unit.evaluation.prediction_folders import write_folders

VERSION = "v1.0-synthetic"
_GRID = {"point_cloud_range": list(OCC3D_GRID.point_cloud_range), "voxel_size": 0.4}
_LOADING = [{"type": "LoadPoints", "sweeps": 2}, {"type": "LoadImages"}]
TRAIN = [
    *_LOADING,
    {"type": "LoadOccupancyLabel", **_GRID},
    {"type": "LoadPseudoLabels", "lift_weight": 1.0},
    {"type": "LiftPseudoLabels", "lift_weight": 1.0},
    {"type": "SampleLattice", "render_stride": 4},
    {"type": "LoadWeakOccupancy", **_GRID, "sky": True},
    {"type": "AugmentImages", "image_size": [45, 80]},
    {"type": "PackOccInputs"},
]
TEST = [
    *_LOADING,
    {"type": "LoadOccupancyLabel", **_GRID},
    {"type": "LoadPseudoLabels"},
    {"type": "AugmentImages", "image_size": [45, 80]},
    {"type": "PackOccInputs"},
]


def dataset(root: Path, split: str, **settings: Any) -> Occ3DNuScenesDataset:
    """The training or the validation set of a root."""
    init_default_scope("minkocc")
    mode: dict[str, Any] = {"test_mode": True} if split == "val" else {"alpha": 1.0}
    pipeline = TEST if split == "val" else TRAIN
    settings = {"pipeline": pipeline, "weak_frames": (1, 0), **mode, **settings}
    return Occ3DNuScenesDataset(str(root), f"minkocc_infos_{split}.pkl", **settings)


def digest(node: Any) -> str:
    """Of everything that a reader gave, to the bit; equal is what has the same."""
    hashed = hashlib.sha256()
    for part in _parts(node):
        hashed.update(part)
    return hashed.hexdigest()


def _parts(node: Any) -> Iterator[bytes]:
    if isinstance(node, torch.Tensor):
        node = node.numpy()
    if isinstance(node, np.ndarray):
        yield f"{node.dtype} {node.shape}".encode()
        yield np.ascontiguousarray(node).tobytes()
    elif isinstance(node, Mapping):
        for key in sorted(node, key=str):
            yield str(key).encode()
            yield from _parts(node[key])
    elif isinstance(node, (list, tuple)):
        yield f"{len(node)}".encode()
        for item in node:
            yield from _parts(item)
    else:
        yield str(node).encode()


def of_item(item: Mapping[str, Any]) -> str:
    """The digest of a sample."""
    sample = item["data_samples"]
    told = {name: sample.get(name) for name in sample.all_keys() if name != "lattice"}
    return digest({**item["inputs"], **told})


class World:
    """A root whose files may be damaged and put back, beside one that stays whole.

    Args:
        whole: root of a train and a val scene, without infos.
        folder: for the copy, by links, and all else.
    """

    def __init__(self, whole: Path, folder: Path) -> None:
        self.whole, self.root = folder / "whole", folder / "root"
        shutil.copytree(whole, self.whole, copy_function=os.link)
        self._add_results(self.whole)
        shutil.copytree(self.whole, self.root, copy_function=os.link)
        self.train, self.val = dataset(self.root, "train"), dataset(self.root, "val")

    def _add_results(self, root: Path) -> None:
        """What tools and a run leave in a root, and some things that stand beside one."""
        create_infos(root, VERSION)
        train = dataset(root, "train")
        for index in range(len(train)):
            train[TrainIndex(index, 0, Phase.WEAK)]
        train.class_counts(None)
        (root / "predictions").mkdir()
        write_folders(root / "predictions")
        _add_instances(root / "predictions" / "pred" / "aa.npz")
        (root / "audit").mkdir()
        token = train.frames()[0]["token"]
        (root / "audit" / "log").mkdir()
        (root / "audit" / "label_audit.json").write_text(json.dumps({"read": [token]}))
        torch.save(checkpoint(), root / "epoch_1.pth")

    @contextmanager
    def damaged(self, path: Path) -> Iterator[Path]:
        """A file of the root as the test's own, put back at the end."""
        original = self.whole / path
        copied = self.root / path
        copied.unlink()
        shutil.copyfile(original, copied)
        try:
            yield copied
        finally:
            if copied.is_dir() and not copied.is_symlink():
                shutil.rmtree(copied)
            else:
                copied.unlink(missing_ok=True)
            self._put_back()

    def _put_back(self) -> None:
        """Links to whole files; also where a reader has written anew, and nothing beside them."""
        for folder in ("label_budget", "weak_occupancy", "audit"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
            shutil.copytree(self.whole / folder, self.root / folder, copy_function=os.link)
        for path in self.files:
            here, there = self.root / path, self.whole / path
            if not here.exists() or not here.samefile(there):
                here.unlink(missing_ok=True)
                os.link(there, here)

    @cached_property
    def files(self) -> list[Path]:
        """All files of the root, relative to it."""
        return sorted(p.relative_to(self.whole) for p in self.whole.rglob("*") if p.is_file())

    def matching(self, pattern: str) -> list[Path]:
        """Files of the root by a pattern, relative to it; at least one."""
        found = sorted(path.relative_to(self.whole) for path in self.whole.glob(pattern))
        assert found, pattern
        return found

    # What reads

    def items(self, phases: Sequence[Phase | None], fresh: bool = True) -> list[str]:
        """Every frame in these phases; None is a tested one."""
        train = dataset(self.root, "train") if fresh else self.train
        val = dataset(self.root, "val") if fresh else self.val
        out = []
        for phase in phases:
            frames = range(len(val if phase is None else train))
            at = [i if phase is None else TrainIndex(i, 3, phase) for i in frames]
            out += [of_item((val if phase is None else train)[index]) for index in at]
        return out

    def infos(self) -> list[str]:
        """What training and testing make of the infos."""
        splits = ("train", "val")
        found = [frames_of_infos(self.root / f"minkocc_infos_{split}.pkl") for split in splits]
        told = [[sorted(each.origins.items()), sorted(each.scenes.items())] for each in found]
        train = dataset(self.root, "train")
        told.append([train.metainfo["classes"], train.scene_of])
        return [digest(told), *self.items([Phase.WARM, Phase.WEAK, None])]

    def class_counts(self) -> str:
        """The counts of the training set."""
        return digest([self.train.class_counts(mask) for mask in ("camera", None)])

    def weak(self) -> list[str]:
        """The weak occupancy of the training frames, kept or made anew."""
        return [digest(self.train.pipeline.transforms[6].transform(
            self.train.start(TrainIndex(i, 0, Phase.WEAK)))["weak_occupancy"])
            for i in range(len(self.train))]  # fmt: skip

    def figures(self, origins: bool) -> str:
        """What ``tools/evaluate.py`` measures."""
        folder = self.root / "predictions"
        listed = frames_of_origins(folder / "origins.json") if origins else None
        matched = match_frames(folder / "pred", folder / "gts", listed)
        if matched.missing or matched.extra:
            raise WarnedError(f"missing {matched.missing}, extra {matched.extra}")
        chosen = ["occ3d", "rayiou", "raypq"] if origins else ["occ3d"]
        return digest(evaluate_frames(matched.frames, chosen))

    def created(self) -> str:
        """What ``tools/create_data.py`` makes of the tables, and what is read by it."""
        made = create_infos(self.root, VERSION)
        if made.missing_sweeps:
            raise WarnedError(f"{len(made.missing_sweeps)} sweeps are missing")
        found = digest([read_infos(path)["data_list"] for path in made.paths.values()])
        if found != self._created:
            self.items([Phase.WARM, Phase.WEAK, None])
        return found

    @cached_property
    def _created(self) -> str:
        paths = [self.whole / f"minkocc_infos_{split}.pkl" for split in ("train", "val")]
        return digest([read_infos(path)["data_list"] for path in paths])

    def lidarseg(self) -> list[str]:
        """The classes of all keyframes' returns."""
        nusc, keyframes = self._keyframes
        out = []
        for _, sample in keyframes:
            lidar = sample["data"]["LIDAR_TOP"]
            points = (self.whole / nusc.get("sample_data", lidar)["filename"]).stat().st_size // 20
            path = self.root / nusc.get("lidarseg", lidar)["filename"]
            out.append(digest(read_categories(path, nusc.lidarseg_idx2name_mapping, points)))
        return out

    @cached_property
    def _keyframes(self) -> tuple[Any, Any]:
        return open_keyframes(self.whole, VERSION)

    def audit(self) -> str:
        """What a run knows that it has read."""
        folder = self.root / "audit"
        budget = LabelBudget.of(self.train.scene_of.values(), 1.0, 0)
        path = folder / "label_audit.json"
        return digest(merge_audit(folder / "log", path, budget, self.train.scene_of))

    def tool(self, script: str, *arguments: Any) -> str:
        """What a tool prints."""
        main = runpy.run_path(str(ROOT / "tools" / script))["main"]
        printed = io.StringIO()
        named = [str(self.root / each) if "/" in str(each) else str(each) for each in arguments]
        with mock.patch.object(sys, "argv", [script, *named]), redirect_stdout(printed):
            main()
        return printed.getvalue()

    def resumed(self) -> str:
        """What a run that goes on takes from a checkpoint, and what a tested model does."""
        path = self.root / "epoch_1.pth"
        content, cfg, model = read_checkpoint(path), Config(RUN), network()
        check_state(cfg, content, str(path))
        load_weights(model, content, str(path))
        check_resumed(cfg, content, str(path))
        SafeCheckpointHook().after_load_checkpoint(None, content)
        return digest([model.state_dict(), content["meta"]["iter"], content["optimizer"]])


class WarnedError(Exception):
    """What a tool says and then goes on; the user was told."""


RUN = {"alpha": 0.1, "seed": 0, "optim_wrapper": {"optimizer": {"type": "AdamW"}}}


def network() -> torch.nn.Module:
    """A model with weights, running statistics and a count."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.BatchNorm1d(50))


def checkpoint() -> dict[str, Any]:
    """What training leaves."""
    model = network()
    settings = {"alpha": 0.1, "seed": 0, "optimizer": "AdamW", "processes": 1}
    return {
        "meta": {"iter": 6, "epoch": 1, "run": settings, "labelled_scenes": ["scene-0001"]},
        "state_dict": dict(model.state_dict()),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "message_hub": {
            "log_scalars": {"loss": [torch.ones(3), torch.ones(3)]},
            "runtime_info": {"iter": 6},
            "resumed_keys": {"loss": True},
        },
    }


def _add_instances(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    ids = (np.arange(200 * 200 * 16).reshape(200, 200, 16) // 6400).astype(np.int32)
    np.savez_compressed(path, **arrays, instances=ids)
