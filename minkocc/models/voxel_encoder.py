"""MVX-Net's dynamic voxel encoder: point features, fused with images, max-pooled to voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.ops.row_sums import count_rows
from minkocc.ops.voxelize import DROPPED, dynamic_voxelize, scatter_max, scatter_mean
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError
from minkocc.structures.voxel_grid import VoxelGrid

_POINT_INPUTS = 5 + 3 + 3  # x y z intensity dt, offset to the voxel's mean, to its centre


class NoPointsError(UserError, ValueError):
    """Samples of a batch have no point inside the grid, so that nothing can be said of them.

    Args:
        samples: their places in the batch.
        grid: the model's.
        tokens: their frames', where they are known.
    """

    def __init__(self, samples: Sequence[int], grid: VoxelGrid, tokens: Sequence[str] = ()) -> None:
        self.samples = list(samples)
        self.grid = grid
        name = f"frame {tokens[0]}" if tokens else f"sample {self.samples[0]} of the batch"
        super().__init__(
            f"{name} has no LiDAR point inside {grid.point_cloud_range}: check its sweeps and "
            "their poses, or take it out of the infos"
        )


class PointsInVoxels(NamedTuple):
    """The P points of a batch that lie inside the grid, and their V voxels."""

    points: Tensor
    """(P, C), those of a sample together, in its order."""
    voxel: Tensor
    """(P,) int64 row of ``coords``."""
    coords: Tensor
    """(V, 4) int32 ``(batch, x, y, z)``, in lexicographic order."""
    sizes: list[int]
    """Points of each sample."""


def points_in_voxels(points: list[Tensor], grid: VoxelGrid) -> PointsInVoxels:
    """Put a batch's points into voxels, and leave out those outside the grid.

    Args:
        points: per sample ``(P_b, C)``: x, y, z in metres, then other values.
        grid: the grid.

    Raises:
        NoPointsError: a sample has no point inside the grid.
    """
    flat = torch.cat(points)
    batch = torch.cat(
        [cloud.new_full((len(cloud),), b, dtype=torch.long) for b, cloud in enumerate(points)]
    )
    coords, voxel = dynamic_voxelize(flat, batch, grid, len(points))
    inside = voxel != DROPPED
    sizes: list[int] = count_rows(batch, len(points), inside).tolist()
    if not all(sizes):
        empty = [sample for sample, size in enumerate(sizes) if not size]
        raise NoPointsError(empty, grid)
    rows = inside.nonzero().squeeze(1)
    return PointsInVoxels(flat.index_select(0, rows), voxel.index_select(0, rows), coords, sizes)


@MODELS.register_module()
class DynamicVoxelEncoder(BaseModule):
    """Every point in range is used; no voxel has a point limit (paper Sec. IV-A, MVX-Net).

    Args:
        point_cloud_range: of the model's grid.
        voxel_size: of the model's grid, metres.
        point_channels: widths of the shared point MLP.
        fusion: config of ``PointFusion``; its ``point_channels`` is filled in. None is LiDAR only.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        point_channels: Sequence[int],
        fusion: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        layers: list[nn.Module] = []
        for inputs, outputs in zip([_POINT_INPUTS, *point_channels[:-1]], point_channels):
            layers += [
                nn.Linear(inputs, outputs, bias=False),
                nn.BatchNorm1d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.point_mlp = nn.Sequential(*layers)
        self.fusion = (
            MODELS.build({**fusion, "point_channels": point_channels[-1]}) if fusion else None
        )
        self.out_channels: int = self.fusion.out_channels if self.fusion else point_channels[-1]

    def forward(
        self,
        points: list[Tensor],
        levels: list[Tensor],
        ego2img: Tensor,
        image_size: tuple[int, int],
        img2raw: Sequence[Tensor | None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            points: per sample ``(P_b, 5)``: x, y, z (augmented ego frame), intensity, dt.
            levels: image pyramid of ``(B, N, C, H_l, W_l)``.
            ego2img: ``(B, N, 4, 4)``.
            image_size: network input ``(height, width)``.
            img2raw: as ``PointFusion`` takes it.

        Returns:
            Voxel features ``(V, C)`` and coordinates int32 ``(V, 4)`` = (batch, x, y, z).

        Raises:
            NoPointsError: a sample has no point inside the grid.
        """
        flat, voxel, coords, sizes = points_in_voxels(points, self.grid)
        feats = self.point_mlp(self._decorate(flat, coords, voxel))
        if self.fusion is not None:
            xyz = list(flat[:, :3].split(sizes))
            feats = self.fusion(xyz, feats, levels, ego2img, image_size, img2raw)
        return scatter_max(feats, voxel, len(coords)), coords

    def _decorate(self, points: Tensor, coords: Tensor, voxel: Tensor) -> Tensor:
        xyz = points[:, :3]
        mean = scatter_mean(xyz, voxel, len(coords))[voxel]
        centre = self.grid.to_centre(coords[:, 1:])[voxel]
        return torch.cat([points, xyz - mean, xyz - centre], dim=1)
