"""Products of coordinates in full precision, whatever those of features have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_products(device_type: str) -> Iterator[None]:
    """Within, matrix products of float32 are just that: no autocast, and no TF32 on a card.

    TF32 keeps ten bits of what it multiplies: 40 m to 2 cm, and a pixel, the quotient of two such
    sums, to about one.

    Args:
        device_type: of the tensors, ``'cpu'`` or ``'cuda'``.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
