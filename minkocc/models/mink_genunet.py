"""Mink-GenUNet: a sparse U-Net whose decoder grows the support and prunes it (paper Sec. IV-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.models.losses import lookup, occupancy_pyramid
from minkocc.models.sync_batch_norm import SyncBatchNorm
from minkocc.ops.sparse import SparseBackend, SparseTensor, get_backend
from minkocc.ops.voxelize import scatter_mean
from minkocc.registry import MODELS
from minkocc.structures.taxonomy import WEAK_OCCUPIED, WEAK_UNKNOWN
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

_OCCUPANCY_PRIOR = -1.0
"""Initial logit: about a quarter of the candidates is occupied. At 0 an untrained network keeps
half of what it generates, and its first iterations cost several times the later ones."""


@dataclass
class DecoderLevel:
    """What one decoder level says of its candidate voxels before it prunes them."""

    coords: Tensor
    """int32 ``(V, 4)`` in stride-1 voxels."""
    logits: Tensor
    """Occupancy logits ``(V,)``."""
    targets: Tensor | None
    """uint8 ``(V,)``: 0 free, 1 occupied, 255 in no loss; None at inference."""
    stride: int


class SparseNorm(nn.Module):
    """Batch normalisation of the features, and ReLU when asked.

    A single row has no variance; it is normalised by the running statistics.
    """

    def __init__(self, channels: int, relu: bool = True) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)
        self.relu = relu

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Normalise ``x``."""
        bn = self.bn
        # A SyncBatchNorm sees to it itself: the other processes wait for this one in its forward.
        if self.training and len(x.feats) < 2 and not isinstance(bn, SyncBatchNorm):
            feats = nn.functional.batch_norm(
                x.feats, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps
            )
        else:
            feats = bn(x.feats)
        return x.replace(feats.relu() if self.relu else feats)


class SqueezeExcite(nn.Module):
    """Channel weights from each sample's mean feature."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Recalibrate ``x``."""
        sample = x.coords[:, 0].long()
        count = int(sample.max()) + 1 if len(sample) else 1
        gate = self.gate(scatter_mean(x.feats.float(), sample, count)).sigmoid().to(x.feats)
        return x.replace(x.feats * gate[sample])


class ResidualBlock(nn.Module):
    """Two k3 convolutions with batch norm and ReLU, squeeze-and-excite, and the input added."""

    def __init__(self, backend: SparseBackend, channels: int) -> None:
        super().__init__()
        self.conv1 = backend.Conv3d(channels, channels, 3)
        self.norm1 = SparseNorm(channels)
        self.conv2 = backend.Conv3d(channels, channels, 3)
        self.norm2 = SparseNorm(channels, relu=False)
        self.excite = SqueezeExcite(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Same coordinates, new features."""
        out = self.norm1(self.conv1(x))
        out = self.excite(self.norm2(self.conv2(out)))
        return out.replace((out.feats + x.feats).relu())


@MODELS.register_module()
class MinkGenUNet(BaseModule):
    """Sparse-to-dense completion.

    Stem, four encoder stages (stride-2 convolution, residual blocks), and a mirrored decoder: at
    every level a generative transposed convolution (k3 s2), the encoder's feature added over the
    union of coordinates, a residual block, an occupancy logit, and pruning.

    Args:
        point_cloud_range: of the model's grid.
        voxel_size: of the model's grid, metres.
        in_channels: width of the voxel features.
        channels: width at strides 1, 2, 4, 8 and 16.
        blocks: residual blocks of each encoder stage.
        threshold: keep voxels with sigmoid(logit) above it.
        max_voxels: most voxels kept of one sample at the level of 0.4 m voxels, by logit; in
            inverse proportion to the voxel's size at the other levels. So memory is bounded for
            every ``voxel_size``, and the 0.4 m level keeps as many for all of them. (A surface's
            voxels grow with the square: the finest levels keep the likeliest.)
        backend: ``'auto'``, ``'minkowski'`` or ``'torch'``.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 128, 192, 256),
        blocks: int = 1,
        threshold: float = 0.5,
        max_voxels: int = 100_000,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold {threshold} is not in (0, 1): 0.5 keeps the likely ones")
        if max_voxels < 1:
            raise ValueError(f"max_voxels {max_voxels} is not positive: 100000 is usual at 0.4 m")
        self.threshold = threshold
        self.max_voxels = max_voxels
        self.sparse = sparse = get_backend(backend)
        self.out_channels = channels[0]
        self.stem = sparse.Conv3d(in_channels, channels[0], 3)
        self.stem_norm = SparseNorm(channels[0])
        self.down = nn.ModuleList()
        self.encode = nn.ModuleList()
        for inputs, outputs in pairwise(channels):
            self.down.append(
                nn.Sequential(sparse.Conv3d(inputs, outputs, 2, stride=2), SparseNorm(outputs))
            )
            self.encode.append(
                nn.Sequential(*[ResidualBlock(sparse, outputs) for _ in range(blocks)])
            )
        self.up = nn.ModuleList()
        self.up_norm = nn.ModuleList()
        self.decode = nn.ModuleList()
        self.occupancy = nn.ModuleList()
        for inputs, outputs in zip(channels[:0:-1], channels[-2::-1]):
            self.up.append(sparse.GenerativeConvTranspose3d(inputs, outputs, 3, stride=2))
            self.up_norm.append(SparseNorm(outputs))
            self.decode.append(ResidualBlock(sparse, outputs))
            logit = nn.Linear(outputs, 1)
            nn.init.constant_(logit.bias, _OCCUPANCY_PRIOR)
            self.occupancy.append(logit)

    def forward(
        self, feats: Tensor, coords: Tensor, target: Tensor | None = None
    ) -> tuple[SparseTensor, list[DecoderLevel]]:
        """Complete a batch of sparse voxels.

        Args:
            feats: ``(V, C)``.
            coords: int32 ``(V, 4)`` = (batch, x, y, z) inside the grid.
            target: uint8 ``(B, X, Y, Z)`` occupancy (0, 1, 255) in training; its occupied voxels
                are kept at every level, whatever the logit says.

        Returns:
            The surviving voxels at stride 1 and the four decoder levels, coarse to fine.
        """
        x = self.stem_norm(self.stem(self.sparse.tensor(feats, coords)))
        skips = []
        for down, encode in zip(self.down, self.encode):
            skips.append(x)
            x = encode(down(x))
        levels = []
        pyramid = [] if target is None else occupancy_pyramid(target, len(self.up))
        for up, norm, decode, occupancy in zip(self.up, self.up_norm, self.decode, self.occupancy):
            x = self.sparse.add(norm(up(x)), skips.pop())
            x = decode(x)
            logits = occupancy(x.feats).squeeze(1).float()
            level = self._level(x, logits, pyramid.pop() if pyramid else None)
            levels.append(level)
            x = self.sparse.prune(x, self._keep(level))
        return x, levels

    def _level(self, x: SparseTensor, logits: Tensor, target: Tensor | None) -> DecoderLevel:
        targets = None
        if target is not None:
            index = self._level_index(x.coords, x.stride)
            targets = lookup(target, index, WEAK_UNKNOWN)
        return DecoderLevel(x.coords, logits, targets, x.stride)

    @staticmethod
    def _level_index(coords: Tensor, stride: int) -> Tensor:
        index = coords.clone()
        index[:, 1:] = coords[:, 1:].div(stride, rounding_mode="floor")
        return index

    @torch.no_grad()
    def _keep(self, level: DecoderLevel) -> Tensor:
        """Which candidates survive, bool ``(V,)``; at least one and a bounded number each."""
        inside = self.grid.contains(level.coords[:, 1:])
        # By logit, not by its sigmoid, which is 1 for all confident voxels. Softsign keeps the
        # order within (-1, 1), which leaves room for targets to come first, the likeliest ahead.
        score = F.softsign(level.logits)
        keep = level.logits > math.log(self.threshold / (1 - self.threshold))
        if level.targets is not None:
            target = level.targets == WEAK_OCCUPIED
            score = score + 2.0 * target
            keep |= target
        keep &= inside
        score = score.masked_fill(~inside, -torch.inf)
        sample = level.coords[:, 0]
        most = self._most(level.stride)
        for b in sample.unique():
            rows = (sample == b).nonzero().squeeze(1)
            kept = int(keep[rows].sum())
            if kept == 0 or kept > most:
                best = score[rows].topk(max(1, min(kept, most))).indices
                keep[rows] = False
                keep[rows[best]] = True
        return keep

    def _most(self, stride: int) -> int:
        """Most voxels kept of one sample at a level."""
        return max(
            1, round(self.max_voxels * OCC3D_GRID.voxel_size / self.grid.voxel_size / stride)
        )
