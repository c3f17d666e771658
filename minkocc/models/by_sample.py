"""A batch of sparse voxels, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from minkocc.ops.row_sums import count_rows


def by_sample(coords: Tensor, samples: int, *values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Voxels and what belongs to them, sample by sample, in their order.

    Args:
        coords: ``(V, 4)`` = (batch, x, y, z).
        samples: how many there are.
        values: each ``(V, ...)``.

    Yields:
        Indices ``(V_b, 3)`` and the values of each sample.
    """
    if samples == 1:
        yield coords[:, 1:], *values
        return
    sample = coords[:, 0].long()
    order = sample.argsort(stable=True)
    for rows in order.split(count_rows(sample, samples).tolist()):
        yield coords[rows, 1:], *(value[rows] for value in values)
