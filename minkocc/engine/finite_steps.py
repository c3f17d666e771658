"""No step is taken from a loss or a gradient that is not finite."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from minkocc.engine.runner import unwrapped
from minkocc.registry import HOOKS
from minkocc.structures.errors import UserError

_SKIPPED = "skipped_steps"
_NAMED_FRAMES = 8


class NotFiniteError(UserError, ArithmeticError):
    """Training has left the finite numbers; the text says when, on which frames, and where."""


@HOOKS.register_module()
class FiniteStepHook(Hook):
    """Looks at loss and gradients before every step, and ends the run at the first that is lost.

    The weights stay as they were. All terms and the gradients' norm come to the host together, and
    so does what the log wants of an iteration, for each term of which mmengine alone would wait.

    Args:
        max_skips: so many steps of a run may be left out instead, weights and running statistics
            as before them. The log counts them (``skipped_steps``) and names their frames.

    Raises:
        ValueError: ``max_skips`` is negative.
    """

    priority = "HIGHEST"  # before mmengine takes the terms for its log one by one

    def __init__(self, max_skips: int = 0) -> None:
        if max_skips < 0:
            raise ValueError(f"max_skips {max_skips} is negative: 0 leaves no step out")
        self.max_skips = max_skips
        self._model = nn.Module()
        self._message_hub: Any = None
        self._optim_wrapper: Any = None
        self._where = ""
        self._terms: dict[str, Tensor] = {}
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._looked = False
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Any) -> None:
        """Look where a loss leaves the model, and where the optimiser is about to step."""
        self._model, self._message_hub = unwrapped(runner.model), runner.message_hub
        self._optim_wrapper = runner.optim_wrapper
        self._handles = [
            self._model.register_forward_hook(self._note_terms),
            runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_step),
        ]

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Forget the former iteration; keep the running statistics where a step may be left out."""
        self._where = f"iteration {runner.iter}, {_frames(data_batch)}"
        self._terms, self._looked = {}, False
        if self.max_skips:
            self._buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at a loss without a step, and bring to the host at once what the log wants of it.

        Raises:
            NotFiniteError: the loss is not finite, and no step may be left out any more.
        """
        if not self._looked:  # gradients are accumulated, or a loss scaler left the step out
            problem = self._terms_problem(self._on_host())
            if self._somewhere(problem):
                self._leave_out(problem)
        if outputs:
            _bring_to_host(outputs)

    def after_train(self, runner: Any) -> None:
        """Leave model and optimiser as they were."""
        while self._handles:
            self._handles.pop().remove()

    def _note_terms(self, model: nn.Module, arguments: Any, result: Any) -> None:
        if model.training and isinstance(result, Mapping):
            self._terms = {
                name: term.detach().mean()
                for name, term in result.items()
                if "loss" in name and isinstance(term, Tensor)
            }

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """With the gradients of all processes at hand, and the weights as they were.

        Raises:
            NotFiniteError: loss or gradients are not finite, and no step may be left out any more.
        """
        self._looked = True
        norm = self._clipped_norm()
        if norm is None:
            *terms, norm = self._on_host(_norm(optimizer))
        else:
            terms = self._on_host()
        problem = self._terms_problem(terms)
        if problem is None and not math.isfinite(norm):
            problem = _gradient_problem(self._model)
        if self._somewhere(problem):
            self._leave_out(problem)
            optimizer.zero_grad(set_to_none=True)  # the step that follows finds nothing to do

    def _clipped_norm(self) -> float | None:
        """Gradient norm before clipping, which hides infinity; None if it was not logged."""
        wrapper = self._optim_wrapper
        if wrapper.clip_grad_kwargs and wrapper.grad_name == "grad_norm":
            return float(self._message_hub.get_scalar("train/grad_norm").current())
        return None

    def _on_host(self, *more: Tensor) -> list[float]:
        """The loss's terms, and what else is wanted of the device."""
        values = [*self._terms.values(), *more]
        return torch.stack([value.float() for value in values]).tolist() if values else []

    def _terms_problem(self, values: list[float]) -> str | None:
        lost = [f"{k} is {v}" for k, v in zip(self._terms, values) if not math.isfinite(v)]
        return ", ".join(lost) or None

    def _somewhere(self, problem: str | None) -> bool:
        """Whether a process has a problem: all of them leave a step out, or none.

        Where none may be left out, the process that has it ends, and with it the run.
        """
        if not self.max_skips or get_world_size() == 1:
            return problem is not None
        device = next(self._model.parameters()).device
        flag = torch.tensor([float(problem is not None)], device=device)
        all_reduce(flag, "max")
        return bool(flag.item())

    def _leave_out(self, problem: str | None) -> None:
        problem = problem or "the loss of another process is not finite"
        count = 1 + int(self._message_hub.get_info(_SKIPPED, 0))
        if count > self.max_skips:
            raise NotFiniteError(_ending(self._where, problem, self.max_skips))
        for buffer, former in self._buffers:
            buffer.copy_(former)
        self._message_hub.update_info(_SKIPPED, count)
        self._message_hub.update_scalar(f"train/{_SKIPPED}", count)
        print_log(
            f"{self._where}: {problem}; step {count} of at most {self.max_skips} is left out",
            logger="current",
            level=logging.WARNING,
        )


def _ending(where: str, problem: str, max_skips: int) -> str:
    skipped = f", and {max_skips} steps have been left out already" if max_skips else ""
    return (
        f"{where}: {problem}{skipped}. No step was taken from it, and the checkpoints of before "
        "are whole. Look at these frames; begin a new run with a lower lr, from one of these "
        "checkpoints if it is good (--cfg-options load_from=PATH); or --resume and leave some "
        f"such steps out with --cfg-options default_hooks.finite.max_skips={max(10, 2 * max_skips)}"
    )


def _frames(data_batch: Any) -> str:
    """The frames of a batch in words, by their tokens."""
    samples = data_batch.get("data_samples", ()) if isinstance(data_batch, Mapping) else ()
    tokens = [str(sample.get("token")) for sample in samples]
    more = f" and {len(tokens) - _NAMED_FRAMES} more" if len(tokens) > _NAMED_FRAMES else ""
    return f"frames {', '.join(tokens[:_NAMED_FRAMES]) or 'unknown'}{more}"


def _norm(optimizer: torch.optim.Optimizer) -> Tensor:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _gradient_problem(model: nn.Module) -> str:
    lost = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    if not lost:
        return "the gradients are so large that their squares are not finite"
    others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"the gradient of {lost[0]}{others} is not finite"


def _bring_to_host(outputs: dict[str, Any]) -> None:
    """Replace what lies on a device, all in one copy."""
    there = {k: v for k, v in outputs.items() if isinstance(v, Tensor) and v.device.type != "cpu"}
    if there:
        outputs.update(zip(there, torch.stack([v.float() for v in there.values()]).cpu()))
