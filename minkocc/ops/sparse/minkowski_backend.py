"""Sparse convolution by MinkowskiEngine, behind the interface of this package.

Importing this module imports MinkowskiEngine: go through ``get_backend``.
"""

from __future__ import annotations

import os
import warnings

import torch
from torch import Tensor

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

# OpenBLAS reads this when it is loaded, i.e. by the next import. MinkowskiEngine calls it for many
# small products; its threads beside OpenMP's, where anything else runs on the machine, make a
# training iteration 5 to 14 times slower.
_THREADS = "OPENBLAS_NUM_THREADS"
_threads_before = os.environ.get(_THREADS)
os.environ.setdefault(_THREADS, "1")
with warnings.catch_warnings():
    # A CPU-only build and a large machine are both fine, and a warning at every start is noise.
    warnings.simplefilter("ignore")
    import MinkowskiEngine as ME  # noqa: N817 - its own convention
    from MinkowskiEngineBackend._C import ConvolutionMode
if _threads_before is None:
    del os.environ[_THREADS]


def has_cuda() -> bool:
    """Whether this MinkowskiEngine was built with CUDA."""
    return bool(ME.is_cuda_available())


class MinkowskiSparseTensor:
    """``SparseTensor`` of the minkowski backend: a key into a coordinate manager."""

    def __init__(
        self,
        feats: Tensor,
        key: ME.CoordinateMapKey,
        manager: ME.CoordinateManager,
        bounds: tuple[int, int, int] | None,
        samples: int,
    ) -> None:
        self.feats, self.key, self.manager = feats, key, manager
        self.bounds, self.samples = bounds, samples
        self._coords: Tensor | None = None

    @property
    def coords(self) -> Tensor:
        """(V, 4) int32 ``(batch, x, y, z)``."""
        if self._coords is None:
            self._coords = self.manager.get_coordinates(self.key)
        return self._coords

    @property
    def stride(self) -> int:
        """Edge length of a voxel in units of stride-1 voxels."""
        return int(self.key.get_tensor_stride()[0])

    def replace(self, feats: Tensor) -> MinkowskiSparseTensor:
        """Other features on the same voxels.

        Raises:
            ValueError: they do not have one row per voxel.
        """
        check_rows(self, feats)
        out = MinkowskiSparseTensor(feats, self.key, self.manager, self.bounds, self.samples)
        out._coords = self._coords
        return out


class _MinkowskiConvolution(SparseConvolution):
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias)
        self._region = ME.KernelGenerator(
            kernel_size=kernel_size,
            stride=stride,
            expand_coordinates=self.transposed,
            dimension=3,
        )

    def _convolve(self, x: MinkowskiSparseTensor) -> MinkowskiSparseTensor:
        function = (
            ME.MinkowskiConvolutionTransposeFunction
            if self.transposed
            else ME.MinkowskiConvolutionFunction
        )
        key = ME.CoordinateMapKey(4)
        with torch.autocast(x.feats.device.type, enabled=False):  # there is no half precision
            feats = function.apply(
                x.feats.to(self.kernel.dtype),
                self.kernel.view(-1, self.in_channels, self.out_channels),
                self._region,
                ConvolutionMode.DEFAULT,
                x.key,
                key,
                x.manager,
            )
            if self.bias is not None:
                feats = feats + self.bias
        return MinkowskiSparseTensor(feats, key, x.manager, x.bounds, x.samples)


class Conv3d(_MinkowskiConvolution):
    """Sparse convolution."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve on the voxels of ``x``, or on the coarser ones of a strided convolution."""
        assert isinstance(x, MinkowskiSparseTensor)
        self.check_input(x)
        if self.kernel_size == self.stride == 1:
            out = x.feats @ self.kernel
            return x.replace(out if self.bias is None else out + self.bias.to(out.dtype))
        return self._convolve(x)


class GenerativeConvTranspose3d(GenerativeConvolution, _MinkowskiConvolution):
    """Transposed sparse convolution on every voxel that the kernel reaches inside the bounds."""

    transposed = True

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Upsample ``x``."""
        assert isinstance(x, MinkowskiSparseTensor)
        self.check_input(x)
        self.fine_stride(x.stride)
        out = self._convolve(x)
        if x.bounds is None:
            return out
        xyz = out.coords[:, 1:]
        return prune(out, ((xyz >= 0) & (xyz < xyz.new_tensor(x.bounds))).all(1))


def tensor(
    feats: Tensor,
    coords: Tensor,
    stride: int = 1,
    bounds: tuple[int, int, int] | None = None,
) -> MinkowskiSparseTensor:
    """A sparse tensor of (V, C) features on (V, 4) int32 voxels ``(batch, x, y, z)``.

    Raises:
        ValueError: shapes or types are wrong, coordinates repeat, are no multiples of ``stride``
            or lie outside the bounds.
    """
    check_voxels(feats, coords, stride)
    _, high = checked_span(coords, bounds)
    kind = ME.CoordinateMapType.CUDA if coords.is_cuda else ME.CoordinateMapType.CPU
    manager = ME.CoordinateManager(D=3, coordinate_map_type=kind)
    key, (unique, _) = manager.insert_and_map(coords.contiguous(), [stride] * 3)
    if len(unique) != len(coords):
        raise ValueError("coords repeat: expected unique rows, merge their features first")
    return MinkowskiSparseTensor(feats, key, manager, bounds, high[0] + 1)


def add(a: SparseTensor, b: SparseTensor) -> MinkowskiSparseTensor:
    """Sum on the union of the voxels of ``a`` and ``b``.

    Raises:
        ValueError: they differ in stride or channels, or do not descend from one ``tensor``.
    """
    assert isinstance(a, MinkowskiSparseTensor)
    assert isinstance(b, MinkowskiSparseTensor)
    check_addends(a, b)
    if a.manager is not b.manager:
        raise ValueError("cannot add tensors that do not descend from the same call of tensor()")
    if a.key == b.key:
        return a.replace(a.feats + b.feats)
    if len(a.feats) == 0 or len(b.feats) == 0:  # MinkowskiEngine's union crashes on these
        return a if len(b.feats) == 0 else b
    key = ME.CoordinateMapKey(4)
    (a_in, a_out), (b_in, b_out) = a.manager.union_map([a.key, b.key], key)
    dtype = torch.promote_types(a.feats.dtype, b.feats.dtype)
    feats = a.feats.new_zeros(a.manager.size(key), a.feats.shape[1], dtype=dtype)
    feats = feats.index_add(0, a_out.long(), a.feats.to(dtype)[a_in.long()])
    feats = feats.index_add(0, b_out.long(), b.feats.to(dtype)[b_in.long()])
    return MinkowskiSparseTensor(feats, key, a.manager, a.bounds, a.samples)


def prune(x: SparseTensor, mask: Tensor) -> MinkowskiSparseTensor:
    """Only the voxels of the true rows of ``mask``, (V,) bool.

    Raises:
        ValueError: the mask is not (V,) bool.
    """
    assert isinstance(x, MinkowskiSparseTensor)
    check_mask(x, mask)
    key = ME.CoordinateMapKey(4)
    feats = ME.MinkowskiPruningFunction.apply(x.feats, mask, x.key, key, x.manager)
    return MinkowskiSparseTensor(feats, key, x.manager, x.bounds, x.samples)


BACKEND = SparseBackend("minkowski", tensor, Conv3d, GenerativeConvTranspose3d, add, prune)
