"""Occ3D-nuScenes as a dataset whose samples carry their phase and never exceed the budget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose

from minkocc.datasets.label_audit import watch_truth
from minkocc.datasets.label_budget import LabelBudget, LabelReader, class_counts
from minkocc.datasets.transforms.augment import plain_steps
from minkocc.datasets.weak_occupancy import keyframes_around, sweeps_around
from minkocc.files.infos import InfoError, read_infos
from minkocc.registry import DATASETS
from minkocc.structures.phase import TrainIndex
from minkocc.structures.taxonomy import Taxonomy


@DATASETS.register_module()
class Occ3DNuScenesDataset(BaseDataset):
    """Frames of a nuScenes root with Occ3D labels (paper Sec. V-A).

    Training frames are fetched with a ``TrainIndex``: the phase decides which targets the pipeline
    loads, and augmentation is seeded from ``(seed, iteration, index)``. Other frames are fetched
    with an int and need no ground truth.

    Args:
        data_root: the nuScenes root.
        ann_file: info file, relative to the root.
        pipeline: transforms.
        alpha: share of the scenes whose dense labels may be read; None outside training.
        seed: draws the label budget and the augmentations.
        weak_frames: keyframes ``(past, future)`` that the weak occupancy is accumulated over.
        cache_root: where weak occupancy and class counts are kept once they are computed, in a
            folder for each data root; None keeps them in ``data_root``.
        cache_by_content: tell files that kept results were made of apart by their content; else by
            size and modification time.
        paths_leave_root: whether the info file may name files outside the data root.
        test_mode: evaluation data: dense labels are read when present, without a budget.
        taxonomy: the classes of the labels, as ``Taxonomy.of`` takes them; the info file must be of
            the same ones.
        indices: keep only the first so many frames, or those listed.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        pipeline: Sequence[dict | Callable],
        alpha: float | None = None,
        seed: int = 0,
        weak_frames: Sequence[int] = (8, 0),
        cache_root: str | None = None,
        cache_by_content: bool = False,
        paths_leave_root: bool = False,
        test_mode: bool = False,
        taxonomy: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.taxonomy = Taxonomy.of(taxonomy)
        self.alpha = alpha
        self.seed = seed
        self.cache_by_content = cache_by_content
        self.paths_leave_root = paths_leave_root
        past, future = weak_frames
        self.weak_frames = (past, future)
        kept = data_root if cache_root is None else _own_folder(cache_root, data_root)
        self.cache_root = str(kept)
        super().__init__(
            ann_file=ann_file,
            metainfo={"classes": self.taxonomy.classes, "palette": self.taxonomy.colours},
            data_root=str(data_root),
            pipeline=list(pipeline),
            test_mode=test_mode,
            indices=indices,
            serialize_data=True,
        )
        frames = self.frames()
        self._plain, self._bare = (
            Compose(list(plain_steps(self.pipeline.transforms, targets)))
            for targets in (True, False)
        )
        self._index_of = {frame["token"]: i for i, frame in enumerate(frames)}
        self.scene_names = [frame["scene_name"] for frame in frames]
        self.label_budget = self._budget()
        self.label_reader = LabelReader(Path(self.data_root), self.label_budget, self.taxonomy)
        self.audit: tuple[Path, int, frozenset[str]] | None = None
        """The run's audit, ``watch_truth``'s arguments: processes that load frames keep it too."""

    def load_data_list(self) -> list[dict]:
        """Frames of the info file, read without running code from it.

        Raises:
            InfoError: the file cannot be used, or holds no frame.
        """
        content = read_infos(self.ann_file, self.paths_leave_root, self.taxonomy)
        if not content["data_list"]:
            raise InfoError(
                f"info file {self.ann_file} holds no frame: create it with other --val-scenes"
            )
        self._metainfo: dict[str, Any] = {**self.metainfo, **content["metainfo"]}
        # Before `indices` cuts: a subset has the budget of the set it is cut from.
        self.scene_of = {frame["token"]: frame["scene_name"] for frame in content["data_list"]}
        """The scene of every frame of the info file, by token."""
        return list(content["data_list"])

    def frames(self) -> list[dict]:
        """The info of every frame, in order."""
        return [self.get_data_info(i) for i in range(len(self))]

    def labelled_indices(self) -> list[int]:
        """Frames inside the label budget (none without one)."""
        scenes = self.label_budget.scenes if self.label_budget else frozenset()
        return [i for i, name in enumerate(self.scene_names) if name in scenes]

    def closed_labels(self) -> frozenset[str]:
        """Tokens of the frames outside the label budget (none without one)."""
        if self.label_budget is None:
            return frozenset()
        scenes = self.label_budget.scenes
        return frozenset(token for token, scene in self.scene_of.items() if scene not in scenes)

    def class_counts(self, train_mask: str | None) -> np.ndarray:
        """Mean voxels of each class per budgeted frame, ``(17,)`` (n of the paper's Eq. 4)."""
        return class_counts(
            self.label_reader,
            self.frames(),
            train_mask,
            Path(self.cache_root),
            self.cache_by_content,
        )

    def __getitem__(self, index: int | TrainIndex) -> Any:
        return self.prepare_data(index)

    def prepare_data(self, index: int | TrainIndex) -> Any:
        """Run the pipeline on one frame.

        Raises:
            TypeError: a training frame was asked for without a phase.
        """
        if not isinstance(index, TrainIndex) and not self.test_mode:
            raise TypeError(
                "a training frame needs a TrainIndex, got an int: set sampler="
                "dict(type='WarmStartSampler') in the train_dataloader"
            )
        return self.pipeline(self.start(index))

    def plain_sample(self, index: TrainIndex) -> Any:
        """A training frame without augmentation and 2D labels, read under the budget."""
        return self._plain(self.start(index))

    def bare_sample(self, number: int) -> Any:
        """A frame as inference gets it: without augmentation, and no label or target is read."""
        return self._bare(self.start(number))

    def start(self, index: int | TrainIndex) -> dict[str, Any]:
        """What the pipeline begins with: the frame's info, and what steps ask the dataset for."""
        if self.audit is not None:
            watch_truth(*self.audit)
        number, iteration, phase = index if isinstance(index, TrainIndex) else (index, 0, None)
        return {
            **located(self.get_data_info(number), self.data_root),
            "cache_root": self.cache_root,
            "cache_by_content": self.cache_by_content,
            "phase": phase,
            "iteration": iteration,
            "rng": np.random.default_rng([self.seed, iteration, number]),
            "label_reader": self.label_reader,
            "taxonomy": self.taxonomy,
            "weak_sources": partial(self._around, number, sweeps_around),
            "weak_keyframes": partial(self._around, number, keyframes_around),
        }

    def _budget(self) -> LabelBudget | None:
        if self.test_mode:
            return None
        return LabelBudget.of(
            self.scene_of.values(), 0.0 if self.alpha is None else self.alpha, self.seed
        )

    def _around(self, index: int, what: Callable[..., list[Any]]) -> list[Any]:
        """What the weak targets of a frame are made of."""
        return what(self.get_data_info(index), self._frame_of, self.weak_frames)

    def _frame_of(self, token: str) -> dict[str, Any] | None:
        index = self._index_of.get(token)
        return None if index is None else self.get_data_info(index)


def located(frame: Mapping[str, Any], data_root: str | Path) -> dict[str, Any]:
    """A frame of an info file with its root, and the whole path of its LiDAR file.

    Steps of mmdet3d know no ``data_root``.

    Args:
        frame: an entry of ``read_infos(...)["data_list"]``.
        data_root: the folder that its paths are relative to.
    """
    lidar = frame["lidar_points"]
    path = Path(data_root).absolute() / lidar["lidar_path"]
    return {
        **frame,
        "data_root": str(data_root),
        "lidar_points": {**lidar, "lidar_path": str(path)},
    }


def _own_folder(cache_root: str, data_root: str) -> Path:
    """One cache folder for each data root, because roots may share tokens."""
    root = Path(data_root).resolve()
    return Path(cache_root) / f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
