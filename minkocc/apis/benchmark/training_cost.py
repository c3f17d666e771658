"""What a recipe costs: seconds an iteration and a frame, and the memory of all its processes."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
from collections import defaultdict
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner

from minkocc.apis.benchmark.stage_times import StageTimes, clock
from minkocc.engine.runner import build_runner, unwrapped
from minkocc.files.infos import read_infos

_WARM_UP = 2
"""Laps at the start of a phase that are not counted: caches fill and kernels are compiled."""

_LATENCY_FRAMES = 12
"""Frames that are predicted for the latency at most, after ``_WARM_UP`` more."""


class _Stopwatch(Hook):
    """Seconds of every training iteration by phase, and of every validated frame, data included."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.laps: dict[str, list[float]] = defaultdict(list)
        self.metrics: dict[str, float] = {}
        self._last = 0.0

    def _lap(self, name: str | None = None) -> None:
        now = clock()
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


class _PeakMemory:
    """Watches the memory of this process and its children in KiB, twice a second.

    Linux's proportional set size: a page that n processes share counts as 1/n in each of them.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            processes = [os.getpid(), *(child.pid for child in active_children())]
            self.peak = max(self.peak, sum(_proportional_set_size(pid) for pid in processes))


def _proportional_set_size(pid: int | None) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has just ended
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def measure_training(
    cfg: Config, frames: int | None = None, stages: bool = False
) -> dict[str, Any]:
    """Train a recipe to its end, validate it, and say what that took.

    Args:
        cfg: a resolved recipe.
        frames: use so many frames of training and of validation, spread evenly; None uses all.
        stages: time every stage too, which takes a little itself, on a GPU more.

    Returns:
        Medians ``seconds_per_iteration`` of each phase and ``seconds_per_frame`` in validation;
        ``peak_memory_gib`` of this process and its data workers together, pages that they share
        counted once; ``latency``, what ``predicted_latency`` gives; on CUDA
        ``peak_device_memory_gib`` of training and ``latency_device_memory_gib``; ``iterations`` and
        validation ``metrics``; with ``stages`` their ``seconds_per_stage``.
    """
    loaders = [cfg[name] for name in ("train_dataloader", "val_dataloader") if cfg.get(name)]
    if frames is not None:
        for loader in loaders:
            _thin_out(loader.dataset, frames)
    watch, by_stage = _Stopwatch(), StageTimes()
    with tempfile.TemporaryDirectory() as folder, _PeakMemory() as memory:
        cfg.work_dir = folder
        runner = build_runner(cfg)
        runner.register_hook(watch)
        if stages:
            runner.register_hook(by_stage)
        runner.train()
        iterations = runner.max_iters
    device: dict[str, float] = {}
    _note_device_memory(device, "peak_device_memory_gib")
    latency = predicted_latency(runner)
    _note_device_memory(device, "latency_device_memory_gib")
    tested = watch.laps.pop("frame", [])
    cost = {
        "iterations": iterations,
        "seconds_per_iteration": {name: _median(laps) for name, laps in watch.laps.items()},
        "seconds_per_frame": _median(tested) if tested else None,
        "latency": latency,
        "peak_memory_gib": round(memory.peak / 2**20, 2),
        **device,
        "metrics": {name: round(value, 2) for name, value in watch.metrics.items()},
    }
    if stages:
        cost["seconds_per_stage"] = by_stage.medians(_WARM_UP)
    return cost


def _note_device_memory(figures: dict[str, float], name: str) -> None:
    """The peak since the last note, where there is a CUDA device."""
    if torch.cuda.is_available():
        figures[name] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        torch.cuda.reset_peak_memory_stats()


@torch.no_grad()
def predicted_latency(runner: Runner) -> dict[str, Any] | None:
    """Seconds from a loaded frame to its prediction, one frame at a time, the device waited for.

    Under the training's mixed precision, if it has any.

    Returns:
        ``median`` and ``quartiles`` (first and third) of single frames; None without validation.
    """
    if runner.val_loop is None:
        return None
    dataset, model = runner.val_loop.dataloader.dataset, unwrapped(runner.model).eval()
    laps = []
    for number in range(_WARM_UP + min(_LATENCY_FRAMES, len(dataset))):
        batch = pseudo_collate([dataset[number % len(dataset)]])
        start = clock()
        with runner.optim_wrapper.optim_context(model):
            model.test_step(batch)
        laps.append(clock() - start)
    first, middle, third = np.percentile(laps[_WARM_UP:], (25, 50, 75)).round(4).tolist()
    return {"median": middle, "quartiles": [first, third]}


def _thin_out(dataset: ConfigDict, frames: int) -> None:
    """Keep so many frames of a dataset, spread evenly over its scenes."""
    path = Path(dataset.data_root) / dataset.ann_file
    count = len(read_infos(path, dataset.get("paths_leave_root", False), None)["data_list"])
    picked = np.linspace(0, count - 1, min(frames, count)).round().astype(int)
    dataset.indices = sorted({int(index) for index in picked})


def _median(laps: list[float]) -> float:
    return round(statistics.median(laps[_WARM_UP:] or laps), 3)
