"""What the renderers are given, and refuse where it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FINDERS = ("auto", "numba", "torch")
"""``numba`` needs CPU tensors and is the default there; ``torch`` runs anywhere."""


def check_depths(min_depth: float, max_depth: float) -> None:
    """Refuse a range of depths, in metres, that is none.

    Raises:
        ValueError: it is empty, or begins behind the camera.
    """
    if not 0 <= min_depth < max_depth:
        raise ValueError(
            f"min_depth {min_depth} and max_depth {max_depth}: expected 0 <= min_depth < max_depth"
        )


def check_finder(finder: str) -> None:
    """Refuse a finder's name that is none of ``FINDERS``.

    Raises:
        ValueError: it is unknown.
    """
    if finder not in FINDERS:
        raise ValueError(f"unknown finder {finder!r}: expected one of {', '.join(FINDERS)}")


def uses_numba(finder: str, device: torch.device) -> bool:
    """Whether a finder works with numba on tensors of a device.

    Raises:
        ValueError: the finder is unknown, or ``numba`` is asked for on another device than a CPU.
    """
    check_finder(finder)
    on_cpu = device.type == "cpu"
    if finder == "numba" and not on_cpu:
        raise ValueError(f"the numba finder got tensors on {device}: use finder='torch'")
    return on_cpu and finder != "torch"


def check_shapes(expected: Mapping[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    """Refuse arguments that do not belong together.

    Args:
        expected: each with the shape that the others ask of it, by name.

    Raises:
        ValueError: one has another shape.
    """
    for name, (value, shape) in expected.items():
        if tuple(value.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {shape}")
