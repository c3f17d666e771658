"""PointFusion over several views: every LiDAR point takes the image features where it projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.ops.point_sampling import in_picture, project_points, sample_features
from minkocc.ops.row_sums import gather_rows, scatter_sum
from minkocc.registry import MODELS


class SampledViews(NamedTuple):
    """The M pairs of a point and a view that sees it."""

    feats: Tensor
    """(M, num_levels * C) of the image, where the point falls."""
    weight: Tensor
    """(M,) of the view; those of a point sum to 1."""
    point: Tensor
    """(M,) row among the points of all samples."""


@MODELS.register_module()
class PointFusion(BaseModule):
    """Samples the pyramid where a point is seen, fuses views adaptively, then a shared MLP.

    Paper Sec. IV-A. Each (point, view) pair with the point in front of the camera and inside its
    image, without the black border of an augmented one, gets a logit from its sampled feature; a
    softmax over the views that see the point weighs them. A point that no view sees gets a zero
    image feature; with one view it gets that feature exactly.

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
        self.image_channels, self.out_channels = image_channels, out_channels
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
        img2raw: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Fuse a batch.

        Args:
            points: per sample ``(P_b, 3)``, augmented ego frame, metres.
            point_feats: ``(sum P_b, point_channels)`` in the same order.
            levels: pyramid of ``(B, N, C, H_l, W_l)``.
            ego2img: ``(B, N, 4, 4)`` to network-input pixels.
            image_size: network input ``(height, width)``.
            img2raw: per sample what ``in_picture`` takes; None where no image has a border.

        Returns:
            ``(sum P_b, out_channels)``.
        """
        views = self.sample_views(points, levels, ego2img, image_size, img2raw)
        linear, norm, relu = self.mlp
        assert isinstance(linear, nn.Linear)
        own, image = linear.weight.split([point_feats.shape[1], views.feats.shape[1]], dim=1)
        # The MLP's first layer is linear, so that it may come before the weighted sum over the
        # views, which is then of its few channels instead of those of all levels.
        seen = F.linear(views.feats, image)
        seen = scatter_sum(seen * views.weight.to(seen)[:, None], views.point, len(point_feats))
        return relu(norm(F.linear(point_feats, own) + seen))

    def sample_views(
        self,
        points: list[Tensor],
        levels: list[Tensor],
        ego2img: Tensor,
        image_size: tuple[int, int],
        img2raw: Sequence[Tensor | None] | None = None,
    ) -> SampledViews:
        """What the views see of the points, and how much each counts; arguments as above."""
        seen = [project_points(xyz, matrices, image_size) for xyz, matrices in zip(points, ego2img)]
        uv = torch.cat([each.uv for each in seen], dim=1)
        shown = [
            each.valid if to_raw is None else each.valid & in_picture(each.uv, to_raw)
            for each, to_raw in zip(seen, img2raw or [None] * len(seen))
        ]
        view, point = torch.cat(shown, dim=1).nonzero(as_tuple=True)
        first = [
            torch.full((len(xyz),), b * len(ego2img[b]), device=xyz.device)
            for b, xyz in enumerate(points)
        ]
        number = view + torch.cat(first).index_select(0, point)
        at = uv[view, point]
        feats = torch.cat(
            [sample_features(level.flatten(0, 1), number, at, image_size) for level in levels],
            dim=1,
        )
        logits = self.view_logit(feats).squeeze(1)
        return SampledViews(feats, _softmax_by_point(logits, point, uv.shape[1]), point)


def _softmax_by_point(logits: Tensor, point: Tensor, num_points: int) -> Tensor:
    """Softmax of ``(M,)`` logits over the pairs that share a point."""
    logits = logits.float()
    peak = logits.new_full((num_points,), -torch.inf)
    peak = peak.scatter_reduce(0, point, logits.detach(), "amax")
    weight = (logits - peak[point]).exp()
    total = scatter_sum(weight[:, None], point, num_points)
    return weight / gather_rows(total, point).squeeze(1)
