"""Damage to raw LiDAR and its classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.e2e.mutations.any_file import (
    CUT,
    LONGER,
    NO_FILE,
    NOISE,
    UNTOLD,
    Mutation,
    cut,
    longer,
    of_bytes,
)


def _points(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, np.float32).reshape(-1, 5).copy()


def _not_whole(change: Callable[..., bytes]) -> Callable[..., None]:
    def odd(raw: bytes, rng: np.random.Generator) -> bytes:
        changed = change(raw, rng)
        return changed + b"x" if len(changed) % 20 == 0 else changed

    return of_bytes(odd)


def _bad_number(raw: bytes, rng: np.random.Generator) -> bytes:
    points = _points(raw)
    column = int(rng.integers(0, 4))
    choices = [np.nan, np.inf, -np.inf, 3e38, -3e38]
    points[rng.integers(0, len(points)), column] = rng.choice(choices)
    return points.tobytes()


def _scaled(raw: bytes, rng: np.random.Generator) -> bytes:
    points = _points(raw)
    points[:, 3] = points[:, 3] * 300 + 256
    return points.tobytes()


def _ring(raw: bytes, rng: np.random.Generator) -> bytes:
    """Nothing that a network is fed with."""
    points = _points(raw)
    points[rng.integers(0, len(points)), 4] = 7
    return points.tobytes()


LIDAR = [
    *NO_FILE,
    Mutation("cut", _not_whole(cut)),
    Mutation("lengthened", _not_whole(longer)),
    NOISE,
    Mutation("bad number", of_bytes(_bad_number)),
    Mutation("other unit", of_bytes(_scaled)),
    Mutation("as float64", of_bytes(lambda raw, rng: _points(raw).astype(np.float64).tobytes())),
    Mutation("another ring", of_bytes(_ring)),
    UNTOLD,
]
LIDARSEG = [
    *NO_FILE,
    CUT,
    LONGER,
    Mutation("unknown category", of_bytes(lambda raw, rng: b"\xfa" + raw[1:])),
    UNTOLD,
]
