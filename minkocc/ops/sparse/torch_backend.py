"""Sparse convolution in plain PyTorch, on any device: the reference of this package.

A convolution gathers the rows that a kernel meets side by side and multiplies them with all of its
weights at once, and so do its gradients. Nothing is scattered.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from minkocc.ops.row_sums import gather_rows, scatter_sum
from minkocc.ops.sparse.interface import (
    GenerativeConvolution,
    SparseBackend,
    SparseConvolution,
    SparseTensor,
    check_addends,
    check_mask,
    check_rows,
    check_voxels,
    checked_span,
)
from minkocc.ops.sparse.voxel_set import Box, Gather, KernelMap, Triple, Voxels, VoxelSet

_CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Of gathered features at a time: what stays in a core's cache; on a GPU, what fills it."""


class TorchSparseTensor:
    """``SparseTensor`` of the torch backend."""

    def __init__(self, feats: Tensor, voxel_set: VoxelSet) -> None:
        self.feats, self.voxel_set = feats, voxel_set

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 ``(batch, x, y, z)``."""
        return self.voxel_set.voxels.coords

    @property
    def stride(self) -> int:
        """Edge length of a voxel in units of stride-1 voxels."""
        return self.voxel_set.voxels.box.stride

    @property
    def samples(self) -> int:
        """One more than the greatest batch index of the beginning."""
        return self.voxel_set.voxels.box.batch

    def replace(self, feats: Tensor) -> TorchSparseTensor:
        """Other features on the same voxels.

        Raises:
            ValueError: they do not have one row per voxel.
        """
        check_rows(self, feats)
        return TorchSparseTensor(feats, self.voxel_set)


class _Convolve(Function):
    """``out[u] = sum over offsets o of feats[row that u meets through o] @ kernel[o]``.

    ``generative`` gathers from the coarse voxels of the map to the fine ones, else the other way.
    A plain autograd graph would keep the gathered features, 27 times the input.
    """

    @staticmethod
    def forward(
        ctx: Any, feats: Tensor, kernel: Tensor, kernel_map: KernelMap, generative: bool
    ) -> Tensor:
        ctx.save_for_backward(feats, kernel)
        ctx.kernel_map, ctx.generative = kernel_map, generative
        gathers = kernel_map.to_fine() if generative else kernel_map.to_coarse()
        out = kernel_map.fine if generative else kernel_map.coarse
        return _multiply(feats, kernel, gathers, len(out))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        feats, kernel = ctx.saved_tensors
        kernel_map = ctx.kernel_map
        gathers = kernel_map.to_coarse() if ctx.generative else kernel_map.to_fine()
        wanted = ctx.needs_input_grad
        return *_gradients(grad, feats, kernel, gathers, wanted[0], wanted[1]), None, None


def _multiply(feats: Tensor, kernel: Tensor, gathers: list[Gather], num_rows: int) -> Tensor:
    """Features ``(num_rows, C')`` of the rows that the gathers lead to; 0 elsewhere."""
    channels = kernel.shape[2]
    whole = len(gathers) == 1 and gathers[0].outputs is None
    if whole and channels == 1:
        return _multiply_first(feats, kernel, gathers[0])
    out = (feats.new_empty if whole else feats.new_zeros)(num_rows, channels)
    for gather in gathers:
        weights = kernel.index_select(0, gather.offsets).reshape(-1, channels)
        for rows, beside in _gathered(feats, gather):
            if gather.outputs is None:
                torch.mm(beside, weights, out=out[rows])
            else:
                out.index_copy_(0, gather.outputs[rows], beside @ weights)
    return out


def _multiply_first(feats: Tensor, kernel: Tensor, gather: Gather) -> Tensor:
    """The same for one output channel: products are gathered, which are fewer than features."""
    products = _padded(feats) @ kernel.index_select(0, gather.offsets).squeeze(2).t()  # [V + 1, M]
    out = feats.new_empty(len(gather.inputs), 1)
    column = torch.arange(len(gather.offsets), dtype=torch.int32, device=feats.device)
    for rows in _chunks(gather, out):
        cells = gather.inputs[rows] * len(column) + column
        picked = products.view(-1).index_select(0, cells.view(-1))
        torch.sum(picked.view(cells.shape), 1, keepdim=True, out=out[rows])
    return out


def _gradients(
    grad: Tensor,
    feats: Tensor,
    kernel: Tensor,
    gathers: list[Gather],
    of_feats: bool,
    of_kernel: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """What the gradients of the output rows that an input row goes to say, gathered once."""
    grad_feats = torch.zeros_like(feats) if of_feats else None
    # Half-precision products are summed over the chunks in single precision.
    wide = torch.promote_types(kernel.dtype, torch.float32)
    grad_kernel = torch.zeros_like(kernel, dtype=wide) if of_kernel else None
    for gather in gathers:
        weights = kernel.index_select(0, gather.offsets).transpose(1, 2).contiguous()  # [M, C', C]
        part = torch.zeros_like(weights, dtype=wide)
        for chunk, beside in _gathered(grad, gather):
            rows = chunk if gather.outputs is None else gather.outputs[chunk]
            if grad_feats is not None:
                grad_feats[rows] = beside @ weights.view(-1, weights.shape[2])
            if grad_kernel is not None:
                part += (beside.t() @ feats[rows]).view(part.shape)
        if grad_kernel is not None:
            grad_kernel.index_copy_(0, gather.offsets, part.transpose(1, 2))
    return grad_feats, None if grad_kernel is None else grad_kernel.to(kernel.dtype)


def _gathered(feats: Tensor, gather: Gather) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of rows, and what they read, ``(rows, M * C)``; zeros for missing voxels."""
    padded = _padded(feats)
    if feats.shape[1] == 1:
        padded = padded.view(-1)  # which torch gathers faster
    for rows in _chunks(gather, feats):
        chunk = gather.inputs[rows]
        yield rows, padded.index_select(0, chunk.reshape(-1)).view(len(chunk), -1)


def _padded(feats: Tensor) -> Tensor:
    """One more row, of zeros: that of the voxels that do not exist."""
    return torch.cat([feats, _zeros(feats.shape[1], feats.dtype, feats.device)])


@lru_cache
@torch.inference_mode(False)
def _zeros(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros(1, channels, dtype=dtype, device=device)


def _chunks(gather: Gather, feats: Tensor) -> Iterator[slice]:
    """Rows of which so many features are gathered at a time as the cache holds."""
    rows, width = gather.inputs.shape[0], gather.inputs.shape[1] * feats.shape[1]
    limit = _CHUNK_BYTES["cpu" if feats.device.type == "cpu" else "cuda"]
    step = max(1, limit // (width * feats.element_size()))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


class _TorchConvolution(SparseConvolution):
    def _apply_kernel(
        self, feats: Tensor, kernel_map: KernelMap | None, generative: bool = False
    ) -> Tensor:
        """Features after the kernel and the bias; no map means a pointwise kernel."""
        kernel: Tensor = self.kernel
        if torch.is_autocast_enabled(feats.device.type) and feats.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(feats.device.type)
            feats, kernel = feats.to(dtype), kernel.to(dtype)
        if kernel_map is None:
            out = feats @ kernel
        else:
            kernel = kernel.view(-1, *kernel.shape[-2:])
            out = _Convolve.apply(feats, kernel, kernel_map, generative)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class Conv3d(_TorchConvolution):
    """Sparse convolution."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve on the voxels of ``x``, or on the coarser ones of a strided convolution."""
        assert isinstance(x, TorchSparseTensor)
        self.check_input(x)
        if self.kernel_size == self.stride == 1:
            return x.replace(self._apply_kernel(x.feats, None))
        out, kernel_map = x.voxel_set.convolution(self.kernel_size, self.stride)
        return TorchSparseTensor(self._apply_kernel(x.feats, kernel_map), out)


class GenerativeConvTranspose3d(_TorchConvolution, GenerativeConvolution):
    """Transposed sparse convolution on every voxel that the kernel reaches inside the bounds."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Upsample ``x``."""
        assert isinstance(x, TorchSparseTensor)
        self.check_input(x)
        self.fine_stride(x.stride)
        out, kernel_map = x.voxel_set.generation(self.kernel_size, self.stride)
        return TorchSparseTensor(self._apply_kernel(x.feats, kernel_map, generative=True), out)


def tensor(
    feats: Tensor, coords: Tensor, stride: int = 1, bounds: Triple | None = None
) -> TorchSparseTensor:
    """A sparse tensor of (V, C) features on (V, 4) int32 voxels ``(batch, x, y, z)``.

    Raises:
        ValueError: shapes or types are wrong, coordinates repeat, are no multiples of ``stride``,
            lie outside the bounds or span more than keys can tell apart.
    """
    check_voxels(feats, coords, stride)
    box = Box.around(*checked_span(coords, bounds), stride, bounds)
    voxels = Voxels(box, box.to_keys(coords), coords)
    if len(box.unique(voxels.keys)) != len(coords):
        raise ValueError("coords repeat: expected unique rows, merge their features first")
    return TorchSparseTensor(feats, VoxelSet(voxels))


def add(a: SparseTensor, b: SparseTensor) -> TorchSparseTensor:
    """Sum on the union of the voxels of ``a`` and ``b``.

    Raises:
        ValueError: they differ in stride or channels.
    """
    assert isinstance(a, TorchSparseTensor)
    assert isinstance(b, TorchSparseTensor)
    check_addends(a, b)
    if a.voxel_set is b.voxel_set:
        return a.replace(a.feats + b.feats)
    union, rows = a.voxel_set.voxels.joined(b.voxel_set.voxels)
    dtype = torch.promote_types(a.feats.dtype, b.feats.dtype)
    feats = torch.cat([a.feats.to(dtype), b.feats.to(dtype)])
    return TorchSparseTensor(scatter_sum(feats, rows, len(union)), VoxelSet(union))


def prune(x: SparseTensor, mask: Tensor) -> TorchSparseTensor:
    """Only the voxels of the true rows of ``mask``, (V,) bool.

    Raises:
        ValueError: the mask is not (V,) bool.
    """
    assert isinstance(x, TorchSparseTensor)
    check_mask(x, mask)
    rows = mask.nonzero().squeeze(1)
    voxels = x.voxel_set.voxels
    kept = Voxels(voxels.box, voxels.keys[rows], voxels.coords[rows])
    return TorchSparseTensor(gather_rows(x.feats, rows), VoxelSet(kept))


BACKEND = SparseBackend("torch", tensor, Conv3d, GenerativeConvTranspose3d, add, prune)
