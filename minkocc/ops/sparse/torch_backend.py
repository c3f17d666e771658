"""Sparse convolution in plain PyTorch: any device, mixed precision, and the readable reference.

Voxels are found by packing ``(batch, x, y, z)`` into one int64 key, sorting the keys once and
searching them. A kernel map lists, per kernel offset, which input row meets which output row; it
belongs to the coordinate set it starts from and is shared by all layers on that set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from minkocc.ops.sparse.interface import (
    GenerativeConvolution,
    SparseBackend,
    SparseConvolution,
    SparseTensor,
    check_addends,
    check_mask,
    check_rows,
    check_voxels,
    kernel_offsets,
)

_BITS = 16
_HALF = 1 << (_BITS - 1)
_FIELD = (1 << _BITS) - 1
_LIMIT = _HALF - (1 << 10)  # room for the offsets of kernels, so that keys can simply be added
_WEIGHTS = (1 << (3 * _BITS), 1 << (2 * _BITS), 1 << _BITS, 1)
_ORIGIN = _HALF * sum(_WEIGHTS[1:])


def _to_keys(coords: Tensor) -> Tensor:
    """(V, 4) coordinates as (V,) int64 keys, ordered like the coordinates."""
    return _to_deltas(coords) + _ORIGIN


def _to_deltas(offsets: Tensor) -> Tensor:
    """What adding (..., 4) or spatial (..., 3) offsets to coordinates adds to their keys."""
    weights = torch.tensor(_WEIGHTS[-offsets.shape[-1] :], device=offsets.device)
    return (offsets.long() * weights).sum(-1)


def _to_coords(keys: Tensor) -> Tensor:
    """(V,) keys as (V, 4) int32 coordinates."""
    x, y, z = ((keys >> (_BITS * i) & _FIELD) - _HALF for i in (2, 1, 0))
    return torch.stack([keys >> (3 * _BITS), x, y, z], 1).int()


@dataclass
class _KernelMap:
    """Which input row meets which output row, per kernel offset; None stands for all rows."""

    pairs: list[tuple[int, Tensor | None, Tensor | None]]
    num_out: int


class _Voxels:
    """A set of unique voxels and the kernel maps that start from it."""

    def __init__(self, keys: Tensor, stride: int, order: Tensor | None = None) -> None:
        """Take sorted keys; ``order`` is the row of each key unless rows are sorted too."""
        self.keys, self.stride, self.order = keys, stride, order
        self._coords: Tensor | None = None
        self._maps: dict[Any, _KernelMap] = {}
        self._strided: dict[int, _Voxels] = {}
        self._generated: dict[Any, tuple[_Voxels, _KernelMap]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def row_keys(self) -> Tensor:
        """The keys in the order of the rows."""
        if self.order is None:
            return self.keys
        return torch.empty_like(self.keys).index_copy_(0, self.order, self.keys)

    @property
    def coords(self) -> Tensor:
        if self._coords is None:
            self._coords = _to_coords(self.row_keys)
        return self._coords

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of keys of any shape, and which of them exist (other rows are arbitrary)."""
        if len(self) == 0:
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(self.keys, keys).clamp_(max=len(self) - 1)
        found = self.keys[place] == keys
        return (place if self.order is None else self.order[place]), found

    def strided(self, factor: int) -> _Voxels:
        """The coarser voxels ``floor(c / s) * s`` at ``factor`` times the stride."""
        if factor == 1:
            return self
        if factor not in self._strided:
            coarse = factor * self.stride
            coords = self.coords.clone()
            coords[:, 1:] = coords[:, 1:].div(coarse, rounding_mode="floor") * coarse
            self._strided[factor] = _Voxels(torch.unique(_to_keys(coords)), coarse)
        return self._strided[factor]

    def convolution(self, kernel_size: int, factor: int) -> tuple[_Voxels, _KernelMap]:
        """Output voxels and kernel map of ``out[u] = sum W_o in[u + o]``."""
        out = self.strided(factor)
        if (kernel_size, factor) not in self._maps:
            offsets = kernel_offsets(kernel_size).to(self.keys.device) * self.stride
            rows, found = self.find(out.row_keys + _to_deltas(offsets)[:, None])  # [K, V_out]
            kernel_index, out_rows = found.nonzero(as_tuple=True)
            counts = torch.bincount(kernel_index, minlength=len(offsets)).tolist()
            in_rows = rows[kernel_index, out_rows].split(counts)
            pairs: list[tuple[int, Tensor | None, Tensor | None]] = [
                (k, i, o) for k, (i, o) in enumerate(zip(in_rows, out_rows.split(counts))) if len(i)
            ]
            if factor == 1 and kernel_size % 2 and len(self):
                centre = len(offsets) // 2
                pairs = [(k, None, None) if k == centre else (k, i, o) for k, i, o in pairs]
            self._maps[kernel_size, factor] = _KernelMap(pairs, len(out))
        return out, self._maps[kernel_size, factor]

    def generation(self, kernel_size: int, fine: int) -> tuple[_Voxels, _KernelMap]:
        """Output voxels and kernel map of ``out[u + o] += W_o in[u]`` at stride ``fine``."""
        if (kernel_size, fine) not in self._generated:
            offsets = kernel_offsets(kernel_size).to(self.keys.device) * fine
            reached = self.row_keys + _to_deltas(offsets)[:, None]  # [K, V_in]
            keys, rows = torch.unique(reached, return_inverse=True)
            pairs: list[tuple[int, Tensor | None, Tensor | None]] = [
                (k, None, row) for k, row in enumerate(rows)
            ]
            kernel_map = _KernelMap(pairs if len(self) else [], len(keys))
            self._generated[kernel_size, fine] = _Voxels(keys, fine), kernel_map
        return self._generated[kernel_size, fine]


class TorchSparseTensor:
    """``SparseTensor`` of the torch backend."""

    def __init__(self, feats: Tensor, voxels: _Voxels) -> None:
        self.feats, self.voxels = feats, voxels

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 ``(batch, x, y, z)``."""
        return self.voxels.coords

    @property
    def stride(self) -> int:
        """Edge length of a voxel in units of stride-1 voxels."""
        return self.voxels.stride

    def replace(self, feats: Tensor) -> TorchSparseTensor:
        """Other features on the same voxels.

        Raises:
            ValueError: they do not have one row per voxel.
        """
        check_rows(self, feats)
        return TorchSparseTensor(feats, self.voxels)


def _take(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x.index_select(0, rows)


def _accumulate(out: Tensor, rows: Tensor | None, values: Tensor) -> None:
    values = values.to(out.dtype)
    if rows is None:
        out.add_(values)
    else:
        out.index_add_(0, rows, values)


class _Convolve(Function):
    """Gather, multiply, scatter-add, one kernel offset at a time.

    A plain autograd graph would keep the gathered copy of the features of every offset.
    """

    @staticmethod
    def forward(ctx: Any, feats: Tensor, kernel: Tensor, kernel_map: _KernelMap) -> Tensor:
        ctx.save_for_backward(feats, kernel)
        ctx.kernel_map = kernel_map
        # Half-precision products are summed over the offsets in single precision.
        out = torch.zeros(
            kernel_map.num_out,
            kernel.shape[2],
            dtype=torch.promote_types(feats.dtype, torch.float32),
            device=feats.device,
        )
        for k, in_rows, out_rows in kernel_map.pairs:
            _accumulate(out, out_rows, _take(feats, in_rows) @ kernel[k])
        return out.to(feats.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, kernel = ctx.saved_tensors
        wide = torch.promote_types(feats.dtype, torch.float32)
        grad_feats = torch.zeros_like(feats, dtype=wide) if ctx.needs_input_grad[0] else None
        grad_kernel = torch.zeros_like(kernel) if ctx.needs_input_grad[1] else None
        for k, in_rows, out_rows in ctx.kernel_map.pairs:
            part = _take(grad, out_rows)
            if grad_feats is not None:
                _accumulate(grad_feats, in_rows, part @ kernel[k].t())
            if grad_kernel is not None:
                torch.mm(_take(feats, in_rows).t(), part, out=grad_kernel[k])
        return None if grad_feats is None else grad_feats.to(feats.dtype), grad_kernel, None


class _TorchConvolution(SparseConvolution):
    def _apply_kernel(self, x: TorchSparseTensor, kernel_map: _KernelMap | None) -> Tensor:
        """Features after the kernel and the bias; no map means a pointwise kernel."""
        feats = x.feats
        kernel: Tensor = self.kernel
        if torch.is_autocast_enabled(feats.device.type) and feats.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(feats.device.type)
            feats, kernel = feats.to(dtype), kernel.to(dtype)
        if kernel_map is None:
            out = feats @ kernel
        else:
            out = _Convolve.apply(feats, kernel.view(-1, *kernel.shape[-2:]), kernel_map)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class Conv3d(_TorchConvolution):
    """Sparse convolution."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve on the voxels of ``x``, or on the coarser ones of a strided convolution."""
        assert isinstance(x, TorchSparseTensor)
        self.check_input(x)
        if self.kernel_size == self.stride == 1:
            return x.replace(self._apply_kernel(x, None))
        out, kernel_map = x.voxels.convolution(self.kernel_size, self.stride)
        return TorchSparseTensor(self._apply_kernel(x, kernel_map), out)


class GenerativeConvTranspose3d(_TorchConvolution, GenerativeConvolution):
    """Transposed sparse convolution on every voxel that the kernel reaches."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Upsample ``x``."""
        assert isinstance(x, TorchSparseTensor)
        self.check_input(x)
        out, kernel_map = x.voxels.generation(self.kernel_size, self.fine_stride(x.stride))
        return TorchSparseTensor(self._apply_kernel(x, kernel_map), out)


def tensor(feats: Tensor, coords: Tensor, stride: int = 1) -> TorchSparseTensor:
    """A sparse tensor of (V, C) features on (V, 4) int32 voxels ``(batch, x, y, z)``.

    Raises:
        ValueError: shapes or types are wrong, coordinates repeat, are no multiples of ``stride``
            or lie further from 0 than the keys reach.
    """
    check_voxels(feats, coords, stride)
    if coords.numel():
        low, high = int(coords.min()), int(coords.max())
        if low < -_LIMIT or high > _LIMIT or int(coords[:, 0].min()) < 0:
            raise ValueError(
                f"coords span {low} .. {high}: expected batch indices from 0 and every value "
                f"within {_LIMIT} of 0"
            )
    keys, order = _to_keys(coords).sort()
    if bool((keys[1:] == keys[:-1]).any()):
        raise ValueError("coords repeat: expected unique rows, merge their features first")
    return TorchSparseTensor(feats, _Voxels(keys, stride, order))


def add(a: SparseTensor, b: SparseTensor) -> TorchSparseTensor:
    """Sum on the union of the voxels of ``a`` and ``b``.

    Raises:
        ValueError: they differ in stride or channels.
    """
    assert isinstance(a, TorchSparseTensor)
    assert isinstance(b, TorchSparseTensor)
    check_addends(a, b)
    if a.voxels is b.voxels:
        return a.replace(a.feats + b.feats)
    keys, rows = torch.unique(
        torch.cat([a.voxels.row_keys, b.voxels.row_keys]), return_inverse=True
    )
    dtype = torch.promote_types(a.feats.dtype, b.feats.dtype)
    feats = torch.cat([a.feats.to(dtype), b.feats.to(dtype)])
    out = feats.new_zeros(len(keys), feats.shape[1]).index_add(0, rows, feats)
    return TorchSparseTensor(out, _Voxels(keys, a.stride))


def prune(x: SparseTensor, mask: Tensor) -> TorchSparseTensor:
    """Only the voxels of the true rows of ``mask``, (V,) bool.

    Raises:
        ValueError: the mask is not (V,) bool.
    """
    assert isinstance(x, TorchSparseTensor)
    check_mask(x, mask)
    keys, order = x.voxels.row_keys[mask], None
    if x.voxels.order is not None:
        keys, order = keys.sort()
    return TorchSparseTensor(x.feats[mask], _Voxels(keys, x.stride, order))


BACKEND = SparseBackend("torch", tensor, Conv3d, GenerativeConvTranspose3d, add, prune)
