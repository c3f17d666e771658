"""PointFusion over several views: every LiDAR point takes the image features where it projects."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.ops.point_sampling import project_points, sample_features
from minkocc.ops.row_sums import gather_rows, scatter_sum
from minkocc.registry import MODELS


@MODELS.register_module()
class PointFusion(BaseModule):
    """Samples the pyramid where a point is seen, fuses views adaptively, then a shared MLP.

    Paper Sec. IV-A. Each (point, view) pair with the point in front of the camera and inside its
    image gets a logit from its sampled feature; a softmax over the views that see the point weighs
    them. A point that no view sees gets a zero image feature; with one view it gets that feature
    exactly.

    Args:
        point_channels: width of the incoming point features.
        image_channels: width of one pyramid level.
        num_levels: pyramid levels.
        out_channels: width of the fused point features.
    """

    def __init__(
        self, point_channels: int, image_channels: int, num_levels: int, out_channels: int
    ) -> None:
        super().__init__()
        sampled = image_channels * num_levels
        self.view_logit = nn.Sequential(
            nn.Linear(sampled, out_channels),
            nn.ReLU(inplace=True),
            nn.Linear(out_channels, 1, bias=False),
        )
        self.mlp = nn.Sequential(
            nn.Linear(point_channels + sampled, out_channels, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self,
        points: list[Tensor],
        point_feats: Tensor,
        levels: list[Tensor],
        ego2img: Tensor,
        image_size: tuple[int, int],
    ) -> Tensor:
        """Fuse a batch.

        Args:
            points: per sample ``(P_b, 3)``, augmented ego frame, metres.
            point_feats: ``(sum P_b, point_channels)`` in the same order.
            levels: pyramid of ``(B, N, C, H_l, W_l)``.
            ego2img: ``(B, N, 4, 4)`` to network-input pixels.
            image_size: network input ``(height, width)``.

        Returns:
            ``(sum P_b, out_channels)``.
        """
        image_feats = [
            self.image_features(xyz, [level[b] for level in levels], ego2img[b], image_size)
            for b, xyz in enumerate(points)
        ]
        return self.mlp(torch.cat([point_feats, torch.cat(image_feats).to(point_feats)], dim=1))

    def image_features(
        self, points: Tensor, levels: list[Tensor], ego2img: Tensor, image_size: tuple[int, int]
    ) -> Tensor:
        """Image feature of each point of one sample, ``(P, num_levels * C)``."""
        uv, _, valid = project_points(points, ego2img, image_size)
        view, point = valid.nonzero(as_tuple=True)
        pair_uv = uv[view, point]
        sampled = torch.cat(
            [sample_features(level, view, pair_uv, image_size) for level in levels], dim=1
        )
        weight = _softmax_by_point(self.view_logit(sampled).squeeze(1), point, len(points))
        return scatter_sum(sampled * weight.to(sampled.dtype)[:, None], point, len(points))


def _softmax_by_point(logits: Tensor, point: Tensor, num_points: int) -> Tensor:
    """Softmax of ``(M,)`` logits over the pairs that share a point."""
    logits = logits.float()
    peak = logits.new_full((num_points,), -torch.inf)
    peak = peak.scatter_reduce(0, point, logits.detach(), "amax")
    weight = (logits - peak[point]).exp()
    total = scatter_sum(weight[:, None], point, num_points)
    return weight / gather_rows(total, point).squeeze(1)
