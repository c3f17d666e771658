"""Damage to checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from tests.e2e.mutations.any_file import (
    CUT,
    FLIPPED,
    HOLE,
    MAGIC,
    NO_FILE,
    NOISE,
    Mutation,
    changed_by,
)
from tests.e2e.mutations.values import places

of_checkpoint = partial(
    changed_by,
    lambda path: torch.load(path, weights_only=True),
    lambda path, content: torch.save(content, path),
)
"""A change of what a checkpoint holds."""


def _weight(content: Any, rng: np.random.Generator) -> tuple[dict[str, Any], str]:
    state = content["state_dict"]
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    return state, names[rng.integers(len(names))]


def _of_weight(change: Callable[[torch.Tensor], Any]) -> Callable[..., None]:
    def apply(content: Any, rng: np.random.Generator) -> None:
        state, name = _weight(content, rng)
        state[name] = change(state[name])

    return of_checkpoint(apply)


def _renamed(content: Any, rng: np.random.Generator, name: Any) -> None:
    state, old = _weight(content, rng)
    state[name] = state.pop(old)


def _checkpoint_wrong(content: Any, rng: np.random.Generator) -> None:
    """The log and the notes of a run may say what they like, if they end in an order."""
    found = [p for p in places(content) if p[0] is not content["meta"]["run"]]
    node, key = found[rng.integers(len(found))]
    values = [None, 7, -1, 1.5, "x", [], {}, [1, "x"], torch.ones(2), torch.tensor(float("nan"))]
    node[key] = copy.deepcopy(values[rng.integers(len(values))])


CHECKPOINT = [
    *NO_FILE,
    CUT,
    MAGIC,
    *[FLIPPED] * 6,
    HOLE,
    NOISE,
    Mutation("weight NaN", _of_weight(lambda w: torch.full_like(w, torch.nan))),
    Mutation("weight of int8", _of_weight(lambda w: (w * 100).to(torch.int8))),
    Mutation("weight of bool", _of_weight(lambda w: w > 0)),
    Mutation("weight complex", _of_weight(lambda w: w.to(torch.complex64))),
    Mutation("weight of another shape", _of_weight(lambda w: w[None])),
    Mutation("weight a number", _of_weight(lambda w: 3.0)),
    Mutation("weight text", _of_weight(lambda w: "x")),
    Mutation("weight None", _of_weight(lambda w: None)),
    Mutation("weight sparse", _of_weight(lambda w: w.to_sparse())),
    Mutation("weight renamed", of_checkpoint(lambda c, rng: _renamed(c, rng, "other"))),
    Mutation("weight of a number", of_checkpoint(lambda c, rng: _renamed(c, rng, 7))),
    Mutation("weights lost", of_checkpoint(lambda c, rng: c.pop("state_dict") and None)),
    Mutation("a list", of_checkpoint(lambda c, rng: [c])),
    Mutation("another alpha", of_checkpoint(lambda c, rng: c["meta"]["run"].update(alpha="x"))),
    *[Mutation("wrong value", of_checkpoint(_checkpoint_wrong), loose=True)] * 6,
]
