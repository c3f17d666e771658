"""What a recipe costs: seconds an iteration and a frame, and the memory of all its processes."""

from __future__ import annotations

import gc
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook

from minkocc.datasets.info_file import read_infos
from minkocc.engine.launch import build_runner

_WARM_UP = 2
"""Laps at the start of a phase that are not counted: caches fill and kernels are compiled."""


class _Stopwatch(Hook):
    """Seconds of every training iteration by phase, and of every validated frame, data included."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.laps: dict[str, list[float]] = defaultdict(list)
        self.metrics: dict[str, float] = {}
        self._last = 0.0

    def _lap(self, name: str | None = None) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if name is not None:
            self.laps[name].append(now - self._last)
        self._last = now

    def before_train_epoch(self, runner: Any) -> None:
        self._lap()

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        self._lap(runner.message_hub.get_info("phase"))

    def before_val_epoch(self, runner: Any) -> None:
        self._lap()

    def after_val_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        self._lap("frame")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self.metrics = dict(metrics or {})


def measure_training(cfg: Config, frames: int | None = None) -> dict[str, Any]:
    """Train a recipe to its end, validate it, and say what that took.

    Memory is counted from the start of the process: call it in a fresh one.

    Args:
        cfg: a resolved recipe.
        frames: use so many frames of training and of validation, spread evenly; None uses all.

    Returns:
        Medians ``seconds_per_iteration`` of each phase and ``seconds_per_frame`` in validation;
        ``peak_memory_gib``: the largest resident memory of this process plus, for each data worker,
        of training and validation, that of the largest (a bound: they share pages); on CUDA
        ``peak_device_memory_gib``; ``iterations`` and validation ``metrics``.
    """
    loaders = [cfg[name] for name in ("train_dataloader", "val_dataloader") if cfg.get(name)]
    if frames is not None:
        for loader in loaders:
            _thin_out(loader.dataset, frames)
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = build_runner(cfg)
        runner.register_hook(watch)
        runner.train()
        iterations = runner.max_iters
        workers = sum(loader.num_workers for loader in loaders)
        del runner
        gc.collect()  # ends the data workers, whose memory is known only then
    tested = watch.laps.pop("frame", [])
    cost = {
        "iterations": iterations,
        "seconds_per_iteration": {name: _median(laps) for name, laps in watch.laps.items()},
        "seconds_per_frame": _median(tested) if tested else None,
        "peak_memory_gib": round(_peak_memory(workers), 2),
        "metrics": {name: round(value, 2) for name, value in watch.metrics.items()},
    }
    if torch.cuda.is_available():
        cost["peak_device_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return cost


def _thin_out(dataset: ConfigDict, frames: int) -> None:
    """Keep so many frames of a dataset, spread evenly over its scenes."""
    count = len(read_infos(Path(dataset.data_root) / dataset.ann_file)["data_list"])
    picked = np.linspace(0, count - 1, min(frames, count)).round().astype(int)
    dataset.indices = sorted({int(index) for index in picked})


def _median(laps: list[float]) -> float:
    return round(statistics.median(laps[_WARM_UP:] or laps), 3)


def _peak_memory(workers: int) -> float:
    """GiB; Linux counts in KiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return float(own + workers * worker) / 2**20
