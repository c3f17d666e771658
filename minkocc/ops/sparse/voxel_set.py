"""Sets of voxels, and which of them meet under a convolution's kernel (torch backend).

A voxel's key is its cell in a box around the set, so that a table of the box answers which row a
voxel has with one read, and voxels beside one another differ by the same in every key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from minkocc.ops.row_sums import count_rows
from minkocc.ops.sparse.interface import kernel_ends, kernel_offsets

TABLE_LIMIT = 1 << 28
"""Cells of the largest box that gets a table, of 4 bytes each; larger ones are searched."""

_MARGIN = 3
"""Cells between neighbouring lines of a box: how far a kernel may reach out of it."""

_KEY_LIMIT = 1 << 62

_RUN = {"cpu": 1 << 16, "cuda": 1 << 20}
"""Voxels whose neighbours are looked up at a time."""

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """The cells of one stride that voxels may lie in, and the keys of the cells.

    Lines, planes and samples are ``_MARGIN`` empty cells apart, which also is where a step out of
    the box ends on its other side: a neighbour's key is a sum, without a test for the border.
    """

    batch: int
    """Samples."""
    low: Triple
    """First cell."""
    size: Triple
    """Cells of each edge, without the margin."""
    stride: int
    """Stride-1 voxels of a cell's edge."""
    bounds: Triple | None
    """Stride-1 voxels of the grid, from 0, outside of which none is generated."""

    @property
    def _weights(self) -> tuple[int, int, int, int]:
        """What a sample, and a cell along each axis, add to a key."""
        x, y, z = (size + _MARGIN for size in self.size)
        return x * y * z, y * z, z, 1

    @property
    def _first(self) -> int:
        """Key of the first cell: room for steps to lower ones."""
        return _MARGIN * sum(self._weights[1:])

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self.batch * self._weights[0] + self._first

    def to_keys(self, coords: Tensor) -> Tensor:
        """Keys ``(V,)`` int64 of the cells that hold ``(V, 4)`` stride-1 voxels."""
        _, wx, wy, _ = weights = self._weights
        shift = self._first - sum(low * w for low, w in zip(self.low, weights[1:]))
        cells = coords[:, 1:]
        if self.stride > 1:
            cells = cells.div(self.stride, rounding_mode="floor")
        cells = cells.long()
        keys = coords[:, 0].long().mul_(weights[0]).add_(cells[:, 2]).add_(shift)
        return keys.add_(cells[:, 0], alpha=wx).add_(cells[:, 1], alpha=wy)

    def to_coords(self, keys: Tensor) -> Tensor:
        """Stride-1 voxels ``(V, 4)`` int32 of the first corners of cells."""
        # As few operators as will do: on a GPU each one's start costs more than its work.
        columns = []
        rest = keys - self._first
        for weight in self._weights[:3]:
            columns.append(rest.div(weight, rounding_mode="floor"))
            rest = rest.sub(columns[-1], alpha=weight)
        columns.append(rest)
        for axis, low in enumerate(self.low, start=1):
            if low:
                columns[axis] = columns[axis] + low
            if self.stride > 1:
                columns[axis] = columns[axis] * self.stride
        return torch.stack(columns, 1).int()

    def steps(self, kernel_size: int, device: torch.device) -> Tensor:
        """What each offset of a kernel, in cells, adds to a key, ``(K,)``."""
        return _steps(self._weights[1:], kernel_size, device)

    def steps_back(
        self, kernel_size: int, factor: int, device: torch.device
    ) -> list[tuple[Tensor, Tensor]]:
        """For each remainder of a fine voxel, x slowest: its offsets, and what they add to a key.

        ``u = factor * c + offset`` needs an offset of the same remainder, and then ``c`` lies
        ``(remainder - offset) / factor`` of these cells from ``floor(u / factor)``.
        """
        return _steps_back(self._weights[1:], kernel_size, factor, device)

    def unique(self, *keys: Tensor) -> Tensor:
        """The different keys that lie in the box, ascending, of some of any shape."""
        if self.keys > TABLE_LIMIT:
            return self._inside(torch.unique(torch.cat([each.reshape(-1) for each in keys])))
        seen = keys[0].new_zeros(self.keys, dtype=torch.bool)
        for each in keys:
            seen.index_fill_(0, each.reshape(-1), True)
        seen[: self._first] = False
        body = seen[self._first :].view(self.batch, *(size + _MARGIN for size in self.size))
        for axis, size in enumerate(self.size, start=1):
            body.narrow(axis, size, _MARGIN).fill_(False)
        return seen.nonzero().squeeze(1)

    def _inside(self, keys: Tensor) -> Tensor:
        cells = self.to_coords(keys)[:, 1:].div(self.stride, rounding_mode="floor")
        low, size = cells.new_tensor(self.low), cells.new_tensor(self.size)
        return keys[((cells >= low) & (cells < low + size)).all(1)]

    @classmethod
    def around(
        cls, low: Sequence[int], high: Sequence[int], stride: int, bounds: Triple | None
    ) -> Box:
        """The box of ``(batch, x, y, z)`` stride-1 voxels from ``low`` to ``high``."""
        if bounds is not None:
            low, high = [0] * 4, [high[0], *(size - 1 for size in bounds)]
        point = cls(high[0] + 1, (0, 0, 0), (1, 1, 1), stride, bounds)
        return point._with([c // stride for c in low[1:]], [c // stride for c in high[1:]], stride)

    def coarser(self, factor: int) -> Box:
        """The box of the cells at ``factor`` times the stride."""
        low = [low // factor for low in self.low]
        high = [(low + size - 1) // factor for low, size in zip(self.low, self.size)]
        return self._with(low, high, self.stride * factor)

    def finer(self, factor: int, first: int, last: int) -> Box:
        """The box of all that a generative kernel makes with offsets of ``first`` to ``last``."""
        low = [low * factor + first for low in self.low]
        high = [(low + size - 1) * factor + last for low, size in zip(self.low, self.size)]
        stride = self.stride // factor
        if self.bounds is not None:
            low = [max(0, cell) for cell in low]
            high = [min(cell, (b - 1) // stride) for cell, b in zip(high, self.bounds)]
        return self._with(low, high, stride)

    def joined(self, other: Box) -> Box:
        """The box around two."""
        low = [min(pair) for pair in zip(self.low, other.low)]
        high = [
            max(a + m, b + n) - 1 for a, m, b, n in zip(self.low, self.size, other.low, other.size)
        ]
        return self._with(low, high, self.stride)

    def _with(self, low: list[int], high: list[int], stride: int) -> Box:
        """A box from the cells ``low`` to ``high``.

        Raises:
            ValueError: it has more cells than there are keys.
        """
        size = [last - first + 1 for first, last in zip(low, high)]
        box = Box(
            self.batch, (low[0], low[1], low[2]), (size[0], size[1], size[2]), stride, self.bounds
        )
        if box.keys >= _KEY_LIMIT:
            raise ValueError(
                f"voxels span {self.batch} samples of {size} cells: expected fewer than 2**62 "
                "cells in all, crop the points to the grid first"
            )
        return box


@dataclass(frozen=True)
class Gather:
    """Output rows that the same offsets of a kernel reach, and the input rows they read."""

    offsets: Tensor
    """int64 ``(M,)`` indices into ``kernel_offsets``."""
    inputs: Tensor
    """int32 ``(V, M)`` input rows; the number of input rows where there is no voxel."""
    outputs: Tensor | None
    """int64 ``(V,)`` output rows; None: all, in their order."""


class Voxels:
    """Unique voxels of one stride, in the order of their rows."""

    def __init__(self, box: Box, keys: Tensor, coords: Tensor | None = None) -> None:
        self.box, self.keys = box, keys
        self._coords = coords

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 ``(batch, x, y, z)`` in stride-1 voxels."""
        if self._coords is None:
            self._coords = self.box.to_coords(self.keys)
        return self._coords

    def find(self, keys: Tensor) -> Tensor:
        """Rows, int32, of keys of any shape; ``len(self)`` where there is no such voxel."""
        return self.finder()(keys)

    def finder(self) -> Callable[[Tensor], Tensor]:
        """``find`` for several calls, which share its table or its sorting."""
        nothing, cells = len(self), self.box.keys
        if cells <= TABLE_LIMIT:
            table = self.keys.new_full((cells,), nothing, dtype=torch.int32)
            table[self.keys] = torch.arange(nothing, dtype=torch.int32, device=table.device)
            # Indexing does the same, six times slower on a CPU.
            return lambda keys: table.index_select(0, keys.reshape(-1)).view(keys.shape)
        if not nothing:
            return lambda keys: torch.zeros_like(keys, dtype=torch.int32)
        ordered, rows = self.keys.sort()

        def search(keys: Tensor) -> Tensor:
            place = torch.searchsorted(ordered, keys).clamp_(max=nothing - 1)
            return rows[place].masked_fill_(ordered[place] != keys, nothing).int()

        return search

    def strided(self, factor: int) -> Voxels:
        """The coarser voxels ``floor(c / s) * s`` at ``factor`` times the stride."""
        box = self.box.coarser(factor)
        return Voxels(box, box.unique(box.to_keys(self.coords)))

    def generated(self, kernel_size: int, factor: int) -> Voxels:
        """The finer voxels that a generative kernel reaches, inside the bounds."""
        box = self.box.finer(factor, *kernel_ends(kernel_size))
        steps = box.steps(kernel_size, self.keys.device)
        return Voxels(box, box.unique(box.to_keys(self.coords)[:, None] + steps))

    def joined(self, other: Voxels) -> tuple[Voxels, Tensor]:
        """The voxels of both, and the row, int64, of each of this one's and of the other's."""
        box = self.box.joined(other.box)
        mine, others = (v.keys if v.box == box else box.to_keys(v.coords) for v in (self, other))
        union = Voxels(box, box.unique(mine, others))
        return union, union.find(torch.cat([mine, others])).long()


class VoxelSet:
    """Voxels, and what was made from them so far: coarser and finer sets with their kernel maps."""

    def __init__(self, voxels: Voxels) -> None:
        self.voxels = voxels
        self._strided: dict[int, VoxelSet] = {}
        self._maps: dict[tuple[int, int], KernelMap] = {}
        self._generated: dict[tuple[int, int], tuple[VoxelSet, KernelMap]] = {}

    def strided(self, factor: int) -> VoxelSet:
        """The coarser voxels at ``factor`` times the stride."""
        if factor == 1:
            return self
        if factor not in self._strided:
            self._strided[factor] = VoxelSet(self.voxels.strided(factor))
        return self._strided[factor]

    def convolution(self, kernel_size: int, factor: int) -> tuple[VoxelSet, KernelMap]:
        """Output voxels and map of ``out[c] = sum over offsets of W_o in[factor * c + o]``."""
        out = self.strided(factor)
        if (kernel_size, factor) not in self._maps:
            kernel_map = KernelMap(out.voxels, self.voxels, kernel_size, factor)
            self._maps[kernel_size, factor] = kernel_map
        return out, self._maps[kernel_size, factor]

    def generation(self, kernel_size: int, factor: int) -> tuple[VoxelSet, KernelMap]:
        """Output voxels and map of ``out[factor * c + o] += W_o in[c]``."""
        if (kernel_size, factor) not in self._generated:
            out = VoxelSet(self.voxels.generated(kernel_size, factor))
            kernel_map = KernelMap(self.voxels, out.voxels, kernel_size, factor)
            self._generated[kernel_size, factor] = out, kernel_map
        return self._generated[kernel_size, factor]


class KernelMap:
    """Which coarse voxel ``c`` meets which fine one ``u``: ``u = factor * c + offset``.

    A convolution gathers from the fine to the coarse, a generative one from the coarse to the
    fine, and the gradient of either goes through the other's gathers. They are made when they are
    first asked for: inference needs one direction alone.
    """

    def __init__(self, coarse: Voxels, fine: Voxels, kernel_size: int, factor: int) -> None:
        reach = kernel_size - 1 if factor == 1 else factor - 1 + kernel_size // 2
        if reach > _MARGIN:
            raise ValueError(
                f"kernel_size {kernel_size} with stride {factor} reaches further than the torch "
                "backend looks: use kernels of 3, or the minkowski backend"
            )
        self.coarse, self.fine = coarse, fine
        self.kernel_size, self.factor = kernel_size, factor
        self._to_coarse: list[Gather] | None = None
        self._to_fine: list[Gather] | None = None

    def to_coarse(self) -> list[Gather]:
        """What each coarse voxel reads of the fine ones: one gather of all offsets."""
        if self._to_coarse is None:
            coarse, fine = self.coarse, self.fine
            steps = fine.box.steps(self.kernel_size, coarse.keys.device)
            keys = coarse.keys if coarse is fine else fine.box.to_keys(coarse.coords)
            inputs = _rows_around(fine.finder(), keys, steps)
            self._to_coarse = [Gather(torch.arange(len(steps), device=steps.device), inputs, None)]
        return self._to_coarse

    def to_fine(self) -> list[Gather]:
        """What each fine voxel reads of the coarse ones: one gather for each remainder."""
        if self._to_fine is None:
            if self.coarse is self.fine and self.kernel_size % 2:
                (gather,) = self.to_coarse()
                # The neighbour at -offset is the one at the mirrored place of the kernel.
                self._to_fine = [Gather(gather.offsets, gather.inputs.flip(1), None)]
            else:
                self._to_fine = self._gathers_by_remainder()
        return self._to_fine

    def _gathers_by_remainder(self) -> list[Gather]:
        coarse, fine = self.coarse, self.fine
        steps = coarse.box.steps_back(self.kernel_size, self.factor, coarse.keys.device)
        parents = coarse.box.to_keys(fine.coords)
        find, gathers = coarse.finder(), []
        for (offsets, back), rows in zip(steps, _rows_by_remainder(fine, self.factor)):
            if len(offsets):
                keys = parents if rows is None else parents[rows]
                inputs = _rows_around(find, keys, back)
                gathers.append(Gather(offsets, inputs, rows))
        return gathers


def _rows_around(find: Callable[[Tensor], Tensor], keys: Tensor, steps: Tensor) -> Tensor:
    """Rows, int32 ``(V, M)``, of the voxels that lie ``(M,)`` steps from ``(V,)`` keys.

    In runs, because the keys of the neighbours take twice the memory of their rows.
    """
    rows = keys.new_empty((len(keys), len(steps)), dtype=torch.int32)
    length = _RUN["cpu" if keys.device.type == "cpu" else "cuda"]
    for start in range(0, len(keys), length):
        run = slice(start, start + length)
        rows[run] = find(keys[run, None] + steps)
    return rows


# Kept, because the boxes of a bounded grid are the same in every frame.
@lru_cache
def _steps(weights: Triple, kernel_size: int, device: torch.device) -> Tensor:
    return torch.from_numpy(kernel_offsets(kernel_size).numpy() @ np.array(weights)).to(device)


@lru_cache
def _steps_back(
    weights: Triple, kernel_size: int, factor: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    offsets = kernel_offsets(kernel_size).numpy()
    out = []
    for remainder in product(range(factor), repeat=3):
        back = np.array(remainder) - offsets
        fits = np.flatnonzero((back % factor == 0).all(1))
        steps = back[fits] // factor @ np.array(weights)
        out.append((torch.from_numpy(fits).to(device), torch.from_numpy(steps).to(device)))
    return out


def _rows_by_remainder(fine: Voxels, factor: int) -> list[Tensor | None]:
    """Rows of the fine voxels of each remainder, x slowest; None: all."""
    if factor == 1:
        return [None]
    digits = fine.coords[:, 1:].div(fine.box.stride, rounding_mode="floor") % factor
    number = (digits[:, 0] * factor + digits[:, 1]) * factor + digits[:, 2]
    rows = number.argsort(stable=True)
    return list(rows.split(count_rows(number.long(), factor**3).tolist()))
