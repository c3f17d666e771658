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

from minkocc.models.sync_batch_norm import SyncBatchNorm
from minkocc.models.targets import level_targets, occupancy_pyramid
from minkocc.ops.row_sums import count_rows, gather_rows
from minkocc.ops.sparse import SparseBackend, SparseTensor, get_backend
from minkocc.ops.voxelize import scatter_mean
from minkocc.registry import MODELS
from minkocc.structures.taxonomy import WEAK_OCCUPIED
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

_OCCUPANCY_PRIOR = -3.0
"""Initial logit: below all thresholds, so that an untrained network keeps its targets alone. At 0
it keeps half of what it generates, and its first iterations cost several times the later ones."""


@dataclass
class DecoderLevel:
    """What one decoder level says of its candidate voxels, and which of them it keeps."""

    coords: Tensor
    """int32 ``(V, 4)`` in stride-1 voxels."""
    logits: Tensor
    """Occupancy logits ``(V,)``."""
    targets: Tensor | None
    """uint8 ``(V,)``: 0 free, 1 occupied, 255 unknown, 254 or 253 in no loss; None in inference."""
    kept: Tensor
    """bool ``(V,)``."""
    cut: list[int]
    """Of each sample: voxels that were to be kept and that the cap took."""
    threshold: Tensor
    """Probability above which candidates are kept, scalar."""
    stride: int

    @property
    def likely(self) -> Tensor:
        """Above the threshold, whatever the target says; bool ``(V,)``."""
        return above(self.logits, self.threshold)


def above(logits: Tensor, threshold: Tensor) -> Tensor:
    """Which logits have a probability above a threshold.

    By logit, not by its sigmoid, which is 1 for all confident voxels.
    """
    return logits > threshold.logit()


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
        mean = scatter_mean(x.feats.float(), sample, x.samples)
        gate = self.gate(mean).sigmoid().to(x.feats)
        return x.replace(x.feats * gather_rows(gate, sample))


class ResidualBlock(nn.Module):
    """Two k3 convolutions with batch norm and ReLU, squeeze-and-excite, and the input added."""

    def __init__(self, backend: SparseBackend, channels: int, squeeze_excite: bool = True) -> None:
        super().__init__()
        self.conv1 = backend.Conv3d(channels, channels, 3)
        self.norm1 = SparseNorm(channels)
        self.conv2 = backend.Conv3d(channels, channels, 3)
        self.norm2 = SparseNorm(channels, relu=False)
        self.excite = SqueezeExcite(channels) if squeeze_excite else nn.Identity()

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
    union of coordinates, an occupancy logit, pruning, and a residual block on the survivors.
    (The block on all candidates instead takes twice the time and scores lower.) The logit is a
    convolution of k3: a candidate's own feature says too little of where a surface ends.

    The probabilities above which the levels keep a voxel are low at the coarse ones, because a
    dropped voxel is lost to all finer levels, so that 0.5 at each compounds; and low in training
    too, because a finer level learns nothing of places that were never its candidates. Those of
    inference are the buffer ``thresholds``, a part of the model, calibrated after training
    (``CalibrateHook``).

    Args:
        point_cloud_range: of the model's grid.
        voxel_size: of the model's grid, metres.
        in_channels: width of the voxel features.
        channels: width at strides 1, 2, 4, 8 and 16.
        blocks: residual blocks of each encoder stage.
        thresholds: coarse to fine: keep voxels with sigmoid(logit) above it in training, and at
            inference until they are calibrated.
        max_voxels: most voxels kept of one sample at any level: a guard for memory. Targets come
            first, then the likeliest of each 0.4 m cell, then the likeliest. A scene's label holds
            about 44,000 occupied voxels of 0.4 m.
        squeeze_excite: whether residual blocks weigh their channels by their mean.
        backend: ``'auto'``, ``'minkowski'`` or ``'torch'``.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 128, 192, 256),
        blocks: int = 1,
        thresholds: Sequence[float] = (0.1, 0.1, 0.2, 0.4),
        max_voxels: int = 400_000,
        squeeze_excite: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        if max_voxels < 1:
            raise ValueError(f"max_voxels {max_voxels} is not positive: 400000 is usual")
        self.train_thresholds: Tensor
        self.thresholds: Tensor
        wanted = torch.tensor([float(t) for t in thresholds])
        if len(wanted) != len(channels) - 1:
            raise ValueError(
                f"thresholds {list(thresholds)}: expected {len(channels) - 1}, one for each level "
                "of the decoder, coarse to fine"
            )
        self.register_buffer("train_thresholds", wanted, persistent=False)
        self.register_buffer("thresholds", wanted.clone())
        self.set_thresholds(thresholds)
        self.max_voxels = max_voxels
        self.sparse = sparse = get_backend(backend)
        self.in_channels, self.out_channels = in_channels, channels[0]
        self.stem = sparse.Conv3d(in_channels, channels[0], 3)
        self.stem_norm = SparseNorm(channels[0])
        self.down = nn.ModuleList()
        self.encode = nn.ModuleList()
        for inputs, outputs in pairwise(channels):
            self.down.append(
                nn.Sequential(sparse.Conv3d(inputs, outputs, 2, stride=2), SparseNorm(outputs))
            )
            self.encode.append(
                nn.Sequential(
                    *[ResidualBlock(sparse, outputs, squeeze_excite) for _ in range(blocks)]
                )
            )
        self.up = nn.ModuleList()
        self.up_norm = nn.ModuleList()
        self.decode = nn.ModuleList()
        self.occupancy = nn.ModuleList()
        for inputs, outputs in zip(channels[:0:-1], channels[-2::-1]):
            self.up.append(sparse.GenerativeConvTranspose3d(inputs, outputs, 3, stride=2))
            self.up_norm.append(SparseNorm(outputs))
            self.decode.append(ResidualBlock(sparse, outputs, squeeze_excite))
            logit = sparse.Conv3d(outputs, 1, 3, bias=True)
            assert logit.bias is not None
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
        x = self.stem_norm(self.stem(self.sparse.tensor(feats, coords, bounds=self.grid.shape)))
        skips = []
        for down, encode in zip(self.down, self.encode):
            skips.append(x)
            x = encode(down(x))
        levels = []
        pyramid = [] if target is None else occupancy_pyramid(target, len(self.up))
        thresholds = self.train_thresholds if self.training else self.thresholds
        for up, norm, decode, occupancy, threshold in zip(
            self.up, self.up_norm, self.decode, self.occupancy, thresholds
        ):
            x = self.sparse.add(norm(up(x)), skips.pop())
            logits = occupancy(x).feats.squeeze(1).float()
            targets = level_targets(pyramid.pop(), x.coords, x.stride) if pyramid else None
            kept, cut = self._keep(x, logits, targets, threshold)
            levels.append(DecoderLevel(x.coords, logits, targets, kept, cut, threshold, x.stride))
            x = decode(self.sparse.prune(x, kept))
        return x, levels

    @torch.no_grad()
    def set_thresholds(self, thresholds: Sequence[float]) -> None:
        """Set the levels' thresholds, coarse to fine.

        Raises:
            ValueError: another number of them, or one that is no probability.
        """
        if len(thresholds) != len(self.thresholds) or not all(0 < t < 1 for t in thresholds):
            raise ValueError(
                f"thresholds {list(thresholds)}: expected {len(self.thresholds)} probabilities in "
                "(0, 1), coarse to fine"
            )
        self.thresholds.copy_(torch.as_tensor(thresholds))

    @torch.no_grad()
    def _keep(
        self, x: SparseTensor, logits: Tensor, targets: Tensor | None, threshold: Tensor
    ) -> tuple[Tensor, list[int]]:
        """Which candidates survive, bool ``(V,)``, and how many of each sample the cap cut.

        At least one of a sample is kept, and ``max_voxels`` at most: where there are more, first
        the likeliest of every 0.4 m cell, which is what metrics see of a finer model.
        """
        target = None if targets is None else targets == WEAK_OCCUPIED
        keep = above(logits, threshold)
        if target is not None:
            keep |= target
        sample = x.coords[:, 0].long()
        wanted = count_rows(sample, x.samples, keep).tolist()
        cut = [max(0, count - self.max_voxels) for count in wanted]
        for b in (b for b, count in enumerate(wanted) if not count or cut[b]):
            rows = (sample == b).nonzero().squeeze(1)
            # Softsign keeps the order within (-1, 1), which leaves room for targets to come first,
            # and of both the likeliest of each cell ahead.
            score = F.softsign(logits[rows]) + (0.0 if target is None else 4.0 * target[rows])
            if cut[b]:
                score.masked_fill_(~keep[rows], -torch.inf)
                score += 2.0 * self._likeliest_of_cells(x.coords[rows, 1:], score, x.stride)
            most = min(len(rows), max(1, min(wanted[b], self.max_voxels)))
            keep[rows] = False
            keep[rows[score.topk(most).indices]] = True
        return keep, cut

    def _likeliest_of_cells(self, voxels: Tensor, score: Tensor, stride: int) -> Tensor:
        """Which voxels ``(V, 3)`` have the best score of their 0.4 m cell; no coarse ones."""
        edge = round(OCC3D_GRID.voxel_size / self.grid.voxel_size)
        if stride >= edge:
            return torch.zeros_like(score, dtype=torch.bool)
        sizes = [-(-size // edge) for size in self.grid.shape]
        x, y, z = voxels.long().div(edge, rounding_mode="floor").unbind(1)
        cell = (x * sizes[1] + y) * sizes[2] + z
        best = score.new_full((math.prod(sizes),), -torch.inf)
        best.scatter_reduce_(0, cell, score, "amax")
        return (score == best[cell]) & score.isfinite()
