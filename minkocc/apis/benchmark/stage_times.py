"""Where an iteration's time goes: seconds of every stage, by phase."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from minkocc.engine.runner import unwrapped
from minkocc.models.minkocc import MinkOcc
from minkocc.structures.errors import UserError


def clock() -> float:
    """Seconds, after all that a GPU was given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class StageTimes(Hook):
    """Seconds of every stage of training iterations and of predicted frames.

    A stage is a module or a step; what runs inside another stage is not counted for the outer one.
    A GPU is waited for at every border, so that its stages are told apart: their sum is more than
    an undisturbed iteration takes. Backward is one stage.
    """

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.laps: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._now: dict[str, float] = defaultdict(float)
        self._open: list[tuple[str, float]] = []
        self._since = 0.0

    def before_run(self, runner: Any) -> None:
        """Watch the model and the optimiser."""
        model = unwrapped(runner.model)
        if not isinstance(model, MinkOcc):
            raise UserError(
                f"stages are those of a MinkOcc, the recipe's model is {type(model).__name__}: "
                "leave --stages out"
            )
        for name, module in stages(model):
            self._watch(name, module)
        self._wrap(model.data_preprocessor, "forward", "to the device")
        if model.pulsar_head is not None:
            self._wrap(model.pulsar_head, "_project", "rendering")
        self._wrap(runner.optim_wrapper, "backward", "backward")
        self._wrap(runner.optim_wrapper, "step", "optimiser")

    def before_train_epoch(self, runner: Any) -> None:
        """Time from here."""
        self._since = clock()

    before_val_epoch = before_train_epoch

    def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        """The batch is there."""
        self._now.clear()
        now = clock()
        self._now["loading"] = now - self._since
        self._since = now

    before_val_iter = before_train_iter

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        """One iteration is over."""
        self._lap(runner.message_hub.get_info("phase"))

    def after_val_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        """One frame is predicted and measured."""
        self._lap("prediction")

    def medians(self, warm_up: int) -> dict[str, dict[str, float]]:
        """Median seconds of every stage by phase, ``prediction`` among them.

        Args:
            warm_up: laps at the start of a phase that are not counted.
        """
        return {
            phase: {
                name: round(statistics.median(lap.get(name, 0.0) for lap in counted), 4)
                for name in dict.fromkeys(name for lap in counted for name in lap)
            }
            for phase, laps in self.laps.items()
            if (counted := laps[warm_up:] or laps)
        }

    def _lap(self, phase: str) -> None:
        now = clock()
        within = sum(seconds for name, seconds in self._now.items() if name != "loading")
        self._now["rest"] = now - self._since - within
        self.laps[phase].append(dict(self._now))
        self._since = now

    def _enter(self, name: str) -> None:
        self._open.append((name, clock()))

    def _leave(self) -> None:
        name, start = self._open.pop()
        took = clock() - start
        self._now[name] += took
        if self._open:  # the outer stage does not count it
            self._now[self._open[-1][0]] -= took

    def _watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self._enter(name))
        module.register_forward_hook(lambda *_: self._leave())

    def _wrap(self, owner: Any, method: str, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        @wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._enter(name)
            try:
                return inner(*args, **kwargs)
            finally:
                self._leave()

        setattr(owner, method, timed)


def stages(model: MinkOcc) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a ``MinkOcc`` that are timed, and what they are called."""
    if model.image_encoder is not None:
        yield "image encoder", model.image_encoder
    yield "voxel encoder", model.voxel_encoder
    if model.voxel_encoder.fusion is not None:
        yield "fusion", model.voxel_encoder.fusion
    yield "semantic head", model.semantic_head
    if model.pulsar_head is not None:
        yield "shader", model.pulsar_head.shader
    net = model.genunet
    yield "GenUNet: targets, union, pruning", net
    yield "GenUNet: stride 1, in", net.stem
    yield "GenUNet: stride 1, in", net.stem_norm
    for level, modules in enumerate(zip(net.down, net.encode), start=1):
        for module in modules:
            yield f"GenUNet: stride {2**level}, in", module
    for level, decoder in enumerate(zip(net.up, net.up_norm, net.occupancy, net.decode), start=1):
        for module in decoder:
            yield f"GenUNet: stride {2 ** (len(net.up) - level)}, out", module
