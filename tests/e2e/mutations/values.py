"""Values that are wrong wherever they stand, and where they may stand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np


def put_one(array: np.ndarray, value: Any, rng: np.random.Generator) -> np.ndarray:
    """An array with one element, somewhere, that is another."""
    out = np.array(array)
    out[tuple(rng.integers(0, size) for size in out.shape)] = value
    return out


def deep(levels: int = 100_000) -> list[Any]:
    """A list in a list in a list."""
    out: list[Any] = []
    for _ in range(levels):
        out = [out]
    return out


WRONG = [
    None, True, 7, -1, 1.5, float("nan"), float("inf"), 1e30, -1e30, 10**400, 10**5000, "x", "",
    "../x", "a\0b", "\ud800", b"x", [], {}, [1, "x"], {"x": 1}, "deep", "long",
]  # fmt: skip
WRONG_ARRAYS = [
    np.array([1.0]),
    np.array(["x", None], object),
    np.array(1e30),
    np.array(["1", "2"]),
    np.zeros((0, 3)),
    np.float64("nan"),
    np.int64(-1),
    np.ones((2, 2), bool),
]


def wrong_value(rng: np.random.Generator, arrays: bool) -> Any:
    """One of them."""
    values = WRONG + WRONG_ARRAYS if arrays else WRONG
    value = values[rng.integers(len(values))]
    if isinstance(value, str) and value == "deep":
        return deep()
    if isinstance(value, str) and value == "long":
        return ["long" * 1000] * 1000
    return copy.deepcopy(value)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of plain containers."""
    out: list[tuple[Any, Any]] = []
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        out.append((node, key))
        out += places(node[key])
    return out


MARK = "here it is deep"
"""Stands for what is too deep to be written by the ordinary writers."""


def shallow(node: Any) -> Any:
    """The same with the mark in the place of what is deep."""
    if isinstance(node, dict):
        return {key: shallow(value) for key, value in node.items()}
    if isinstance(node, list):
        is_deep = len(node) == 1 and isinstance(node[0], list) and len(node[0]) == 1
        return MARK if is_deep else [shallow(value) for value in node]
    return node
