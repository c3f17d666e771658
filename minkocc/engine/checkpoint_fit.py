"""Whether a checkpoint fits: a run that goes on from it, or a model that takes its weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from minkocc.engine.run_settings import check_meaning
from minkocc.structures.errors import UserError


def check_state(cfg: Config, checkpoint: dict[str, Any], name: str) -> None:
    """Refuse to resume from what says too little of the run, which would begin half of it anew.

    Args:
        cfg: the resolved recipe of the run that goes on.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: the text names what the checkpoint lacks.
    """
    meta = _dict(checkpoint.get("meta"))
    places = [meta.get(key) for key in ("iter", "epoch")]
    lacks = [
        what
        for what, there in (
            ("the iteration it is of", all(isinstance(place, int) for place in places)),
            ("the log", "message_hub" in checkpoint),
            ("the optimiser's state", "param_groups" in _dict(checkpoint.get("optimizer"))),
            ("the schedule's", not cfg.get("param_scheduler") or "param_schedulers" in checkpoint),
        )
        if not there
    ]
    if lacks:
        raise UserError(
            f"--resume: checkpoint {name} lacks {', '.join(lacks)}, so that no run can go on from "
            "it: resume from another one, or begin a new run from its weights with --cfg-options "
            "load_from=PATH"
        )


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def check_overlap(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Weights to begin a new run from may be a part of the model's, or more, but not none.

    Args:
        model: what they are for.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: not one tensor is of this model.
    """
    state, wanted = checkpoint.get("state_dict", checkpoint), model.state_dict()
    taken = [key for key in wanted if key in state and _fits(state[key], wanted[key])]
    if not taken:
        raise UserError(
            f"load_from {name} holds none of this model's {len(wanted)} tensors (it has "
            f"{', '.join(map(str, list(state)[:2]))}, ...): use it with the config it was trained "
            "with"
        )
    try:
        check_meaning(model, checkpoint, name)
    except UserError as error:
        print_log(f"load_from: {error}", logger="current", level=logging.WARNING)
    if len(taken) < len(wanted):
        print_log(
            f"load_from {name} fills {len(taken)} of the model's {len(wanted)} tensors; the others "
            "start anew",
            logger="current",
            level=logging.WARNING,
        )


def check_weights(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Refuse a checkpoint whose weights are not exactly this model's.

    Args:
        model: what they are for.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: the checkpoint is of another model, of another voxel grid, of other classes, or
            of weights that are whole numbers.
    """
    check_meaning(model, checkpoint, name)
    state = checkpoint.get("state_dict", checkpoint)
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    unknown = sorted(state.keys() - wanted.keys(), key=str)
    reshaped = sorted(
        key for key in wanted.keys() & state.keys() if not _fits(state[key], wanted[key])
    )
    for what, keys in (("lacks", missing), ("has unknown", unknown), ("differs in", reshaped)):
        if keys:
            raise UserError(
                f"checkpoint {name} is of another model: it {what} {len(keys)} tensors "
                f"({keys[0]}, ...); use it with the config it was trained with"
            )


def _fits(value: Any, weight: torch.Tensor) -> bool:
    """Whether shapes and kinds of numbers agree: torch would round floats to integers unasked."""
    if not isinstance(value, torch.Tensor) or value.shape != weight.shape:
        return False
    first, second = (
        (tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool)
        for tensor in (value, weight)
    )
    return first == second


def load_weights(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Load a checkpoint's weights into the model, all of them or none.

    Args:
        model: what to fill.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: the checkpoint is of another model.
    """
    check_weights(model, checkpoint, name)
    model.load_state_dict(checkpoint.get("state_dict", checkpoint))
