"""What every sparse backend offers: one tensor type, one weight layout, five operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class SparseTensor(Protocol):
    """Features on a set of unique voxels.

    ``coords`` are in units of stride-1 voxels whatever the stride, i.e. multiples of ``stride``,
    and may be negative unless the tensor has bounds. Row ``i`` of ``coords`` is the voxel of row
    ``i`` of ``feats``; operations promise no order beyond that.
    """

    @property
    def feats(self) -> Tensor:
        """(V, C) features."""

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 ``(batch, x, y, z)``."""

    @property
    def stride(self) -> int:
        """Edge length of a voxel in units of stride-1 voxels."""

    @property
    def samples(self) -> int:
        """One more than the greatest batch index that it or what it descends from began with."""

    def replace(self, feats: Tensor) -> SparseTensor:
        """Other features, (V, C'), on the same voxels; kernel maps stay shared."""


@dataclass(frozen=True)
class SparseBackend:
    """The operations of one implementation of sparse convolution.

    Args:
        name: ``"torch"`` or ``"minkowski"``.
        tensor: ``tensor(feats, coords, stride=1, bounds=None)`` makes a ``SparseTensor`` whose rows
            keep their order; coordinates must be unique. With ``bounds = (X, Y, Z)``, of stride-1
            voxels from 0, nothing that descends from it leaves the grid.
        Conv3d: ``Conv3d(in_channels, out_channels, kernel_size, stride=1, bias=False)``, a module
            on sparse tensors. At stride 1 it keeps the voxels, otherwise its output lies on
            ``floor(c / s) * s`` with ``s = stride * x.stride``.
        GenerativeConvTranspose3d: the same arguments, ``stride=2``; divides the stride of its
            input and creates every voxel that its kernel reaches inside the bounds.
        add: sum on the union of the voxels of two tensors of equal stride and channels that
            descend from one call of ``tensor``.
        prune: ``prune(x, mask)`` keeps the voxels of the true rows of the (V,) bool mask, also
            when there are none.
    """

    name: str
    tensor: Callable[..., SparseTensor]
    Conv3d: type[SparseConvolution]
    GenerativeConvTranspose3d: type[SparseConvolution]
    add: Callable[[SparseTensor, SparseTensor], SparseTensor]
    prune: Callable[[SparseTensor, Tensor], SparseTensor]


class SparseConvolution(nn.Module):
    """Parameters of a sparse convolution in MinkowskiEngine's layout.

    ``kernel`` is (k^3, C_in, C_out), or (C_in, C_out) for k = 1, with the offsets in the order of
    ``kernel_offsets``; ``bias`` is (1, C_out). They are drawn from torch's global generator, so
    the same seed gives the same weights on every backend.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: edge length k.
        stride: ratio between the strides of output and input, or of input and output if
            transposed.
        bias: whether to add one.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} {size} is not positive")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        shape = (in_channels, out_channels)
        if kernel_size > 1:
            shape = (kernel_size**3, *shape)  # type: ignore[assignment]
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(1, out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as ``torch.nn.Conv3d`` does: uniform within 1 / sqrt(C_in k^3)."""
        bound = 1.0 / math.sqrt(self.in_channels * self.kernel_size**3)
        nn.init.uniform_(self.kernel, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, bias={self.bias is not None}"
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve; each backend has its own."""
        raise NotImplementedError

    def check_input(self, x: SparseTensor) -> None:
        """Refuse features of another width.

        Raises:
            ValueError: ``x.feats`` has not ``in_channels`` columns.
        """
        if x.feats.shape[1] != self.in_channels:
            raise ValueError(f"x has {x.feats.shape[1]} channels: expected {self.in_channels}")

    def fine_stride(self, stride: int) -> int:
        """The stride of a transposed convolution's output, given that of its input.

        Raises:
            ValueError: the input is too fine to be upsampled by ``self.stride``.
        """
        if stride % self.stride:
            raise ValueError(
                f"a tensor of stride {stride} cannot be upsampled by {self.stride}: "
                "use the stride of the convolution that made it"
            )
        return stride // self.stride


class GenerativeConvolution(SparseConvolution):
    """A transposed convolution that creates voxels; upsamples by 2 unless told otherwise."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 2,
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias)


def kernel_ends(kernel_size: int) -> tuple[int, int]:
    """Least and greatest offset along an axis: odd kernels are centred, even ones start at 0."""
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    return first, first + kernel_size - 1


def kernel_offsets(kernel_size: int) -> Tensor:
    """Offsets of a cubic kernel in voxels, (k^3, 3) int64, x fastest, as in MinkowskiEngine."""
    first, last = kernel_ends(kernel_size)
    line = torch.arange(first, last + 1)
    return torch.cartesian_prod(line, line, line).flip(1)


def check_voxels(feats: Tensor, coords: Tensor, stride: int) -> None:
    """Refuse what is no sparse tensor, apart from duplicates, which the backends find themselves.

    Raises:
        ValueError: shapes or types are wrong, or coordinates are no multiples of the stride.
    """
    if feats.ndim != 2 or coords.shape != (len(feats), 4):
        raise ValueError(
            f"feats {tuple(feats.shape)} and coords {tuple(coords.shape)} do not match: expected "
            "(V, C) and (V, 4), the batch index first"
        )
    if coords.dtype != torch.int32:
        raise ValueError(f"coords are {coords.dtype}: expected torch.int32, use coords.int()")
    if stride > 1 and bool((coords[:, 1:] % stride != 0).any()):
        raise ValueError(f"coords are not multiples of stride {stride}: they count stride-1 voxels")


def checked_span(
    coords: Tensor, bounds: tuple[int, int, int] | None
) -> tuple[list[int], list[int]]:
    """Least and greatest ``(batch, x, y, z)`` of voxels, zeros where there are none.

    Raises:
        ValueError: a voxel lies outside ``bounds = (X, Y, Z)``, or a batch index is below 0.
    """
    ends = torch.stack([coords.amin(0), coords.amax(0)]) if len(coords) else coords.new_zeros(2, 4)
    low, high = ends.tolist()
    outside = bounds is not None and (
        min(low[1:]) < 0 or any(last >= size for last, size in zip(high[1:], bounds))
    )
    if outside or low[0] < 0:
        raise ValueError(
            f"coords span {low} .. {high}: expected batch indices from 0 and voxels inside "
            f"{'any grid' if bounds is None else bounds}"
        )
    return low, high


def check_mask(x: SparseTensor, mask: Tensor) -> None:
    """Refuse a mask that is not (V,) bool.

    Raises:
        ValueError: it is not.
    """
    if mask.shape != (len(x.feats),) or mask.dtype != torch.bool:
        raise ValueError(
            f"mask is {tuple(mask.shape)} {mask.dtype}: expected ({len(x.feats)},) torch.bool"
        )


def check_addends(a: SparseTensor, b: SparseTensor) -> None:
    """Refuse to add what differs in stride or channels.

    Raises:
        ValueError: they differ.
    """
    if a.stride != b.stride or a.feats.shape[1] != b.feats.shape[1]:
        raise ValueError(
            f"cannot add a tensor of stride {b.stride} with {b.feats.shape[1]} channels to one of "
            f"stride {a.stride} with {a.feats.shape[1]}: they must be equal"
        )


def check_rows(x: SparseTensor, feats: Tensor) -> None:
    """Refuse features that do not have one row per voxel.

    Raises:
        ValueError: they do not.
    """
    if feats.ndim != 2 or len(feats) != len(x.feats):
        raise ValueError(f"feats are {tuple(feats.shape)}: expected ({len(x.feats)}, C)")
