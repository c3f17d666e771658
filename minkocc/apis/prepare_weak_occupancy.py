"""Weak targets of a whole training set, computed before it is trained on."""

from __future__ import annotations

import pickle
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

from minkocc.config import ConfigError
from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset
from minkocc.datasets.transforms.voted_labels import LoadVotedLabels
from minkocc.datasets.transforms.weak_targets import WEAK_OCCUPANCY, LoadWeakOccupancy
from minkocc.registry import DATASETS
from minkocc.runtime.worker_pool import WorkerPool

_CHUNK = 4


class Prepared(NamedTuple):
    """How many targets there are now."""

    frames: int
    computed: int
    """Of these, the ones that were not kept yet."""
    folder: Path
    """Where they are."""


def prepare_weak_occupancy(cfg: Config, workers: int = 1) -> Prepared:
    """Compute and keep the weak targets of every training frame, as training would.

    What is kept already stays, so that a run that was stopped goes on where it was.

    Args:
        cfg: a resolved recipe; its ``data_root``, ``cache_root``, ``voxel_size``, ``weak_*`` and
            ``vote_weight`` decide.
        workers: processes; changes no byte.

    Raises:
        ConfigError: the recipe loads no weak occupancy, or does not keep it.
        UserError: a file is damaged, or a target cannot be kept.
    """
    settings = pickle.dumps(cfg.train_dataloader.dataset.to_dict())
    dataset, _ = _training_set(settings)
    frames = len(dataset)
    with WorkerPool(workers) as pool:
        done = pool.run(partial(_prepare, settings), range(frames), _CHUNK)
        with tqdm(done, total=frames, desc="weak occupancy", unit="frame") as computed:
            return Prepared(frames, sum(computed), Path(dataset.cache_root, WEAK_OCCUPANCY))


def _prepare(settings: bytes, index: int) -> bool:
    dataset, steps = _training_set(settings)
    computed = [step.prepare(dataset.start(index)) for step in steps]
    return any(computed)


@cache
def _training_set(
    settings: bytes,
) -> tuple[Occ3DNuScenesDataset, list[LoadWeakOccupancy | LoadVotedLabels]]:
    """The training set, and its steps that load weak targets; once a process."""
    init_default_scope("minkocc")
    own: dict[str, Any] = pickle.loads(settings)  # of this process or of its parent
    dataset = DATASETS.build(own)
    steps = dataset.pipeline.transforms
    occupancy = [step for step in steps if isinstance(step, LoadWeakOccupancy) and step.cache]
    if not occupancy:
        raise ConfigError(
            "the recipe's training pipeline has no LoadWeakOccupancy(cache=True): there is nothing "
            "to prepare"
        )
    voted = [step for step in steps if isinstance(step, LoadVotedLabels)]
    return dataset, [occupancy[0], *voted]
