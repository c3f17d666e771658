"""Voxel encoders of mmdet3d, which want a fixed number of points in every voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from minkocc.models.voxel_encoder import points_in_voxels
from minkocc.ops.row_sums import count_rows
from minkocc.ops.voxelize import scatter_mean
from minkocc.registry import MODELS
from minkocc.structures.settings import check_number
from minkocc.structures.voxel_grid import VoxelGrid


@MODELS.register_module()
class HardVoxelEncoder(BaseModule):
    """An encoder of mmdet3d in the place of ``DynamicVoxelEncoder``; images join at the voxels.

    Args:
        point_cloud_range: of the model's grid.
        voxel_size: of the model's grid, metres.
        encoder: config of mmdet3d's ``HardSimpleVFE``, ``HardVFE``, ``PillarFeatureNet`` or any
            other that takes ``(V, max_points, 5)`` points, their numbers ``(V,)`` and the voxels'
            ``(batch, z, y, x)``. The five values are x, y, z (augmented ego frame), intensity, dt.
        channels: width of what it gives.
        max_points: points of a voxel that it sees: the first ones, the current sweep's before
            those of earlier ones.
        fusion: config of ``PointFusion``, applied at the mean of each voxel's points; its
            ``point_channels`` is filled in. None is LiDAR only.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        encoder: dict[str, Any],
        channels: int,
        max_points: int = 10,
        fusion: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        self.encoder = MODELS.build(encoder)
        self.channels = channels
        self.max_points = int(check_number("HardVoxelEncoder.max_points", max_points, 1, 1000))
        self.fusion = MODELS.build({**fusion, "point_channels": channels}) if fusion else None
        self.out_channels: int = self.fusion.out_channels if self.fusion else channels

    def forward(
        self,
        points: list[Tensor],
        levels: list[Tensor],
        ego2img: Tensor,
        image_size: tuple[int, int],
        img2raw: Sequence[Tensor | None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode a batch; arguments and what is returned as ``DynamicVoxelEncoder`` has them.

        Raises:
            NoPointsError: a sample has no point inside the grid.
            ValueError: the encoder gives something else than ``channels`` features a voxel.
        """
        inside = points_in_voxels(points, self.grid)
        coords = inside.coords
        padded, numbers = _padded(inside.points, inside.voxel, len(coords), self.max_points)
        feats = self.encoder(padded, numbers, coords[:, [0, 3, 2, 1]])
        if not isinstance(feats, Tensor) or feats.shape != (len(coords), self.channels):
            got = tuple(feats.shape) if isinstance(feats, Tensor) else type(feats).__name__
            raise ValueError(
                f"voxel_encoder.encoder gives {got} for {len(coords)} voxels, and "
                f"voxel_encoder.channels is {self.channels}: set it to the encoder's width"
            )
        if self.fusion is not None:
            mean = scatter_mean(inside.points[:, :3], inside.voxel, len(coords))
            sizes: list[int] = count_rows(coords[:, 0].long(), len(points)).tolist()
            means = list(mean.split(sizes))
            feats = self.fusion(means, feats, levels, ego2img, image_size, img2raw)
        return feats, coords


def _padded(points: Tensor, voxel: Tensor, num_voxels: int, most: int) -> tuple[Tensor, Tensor]:
    """The first ``most`` points of every voxel, zeros behind them, and how many there are."""
    counts = count_rows(voxel, num_voxels).long()
    order = voxel.argsort(stable=True)
    row = voxel.index_select(0, order)
    place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    kept = (place < most).nonzero().squeeze(1)
    padded = points.new_zeros(num_voxels, most, points.shape[1])
    padded[row[kept], place[kept]] = points.index_select(0, order[kept])
    return padded, counts.clamp(max=most)
