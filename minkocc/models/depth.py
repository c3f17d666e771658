"""How far away the cameras' rays meet something, by the LiDAR and by what is rendered."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NEAREST = 0.1  # metres before the camera


def return_ranges(
    points: Tensor, ego2cam: Tensor, cam2img: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """Distance from the camera of the nearest return in every pixel, ``(N, h, w)`` metres.

    Infinite where there is none.

    Args:
        points: (P, 3 or more) metres.
        ego2cam: (N, 4, 4) from their frame.
        cam2img: (N, 3, 3) intrinsics for ``image_size``.
        image_size: (h, w).
    """
    h, w = image_size
    exact = points[:, :3].double()
    seen = exact @ ego2cam[:, :3, :3].double().transpose(1, 2) + ego2cam[:, None, :3, 3].double()
    image = seen @ cam2img.double().transpose(1, 2)
    ahead = seen[..., 2] > _NEAREST
    pixel = (image[..., :2] / torch.where(ahead, image[..., 2], 1.0)[..., None]).floor().long()
    u, v = pixel.unbind(-1)
    inside = ahead & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    view = torch.arange(len(ego2cam), device=points.device)[:, None]
    # One more pixel takes what is outside.
    place = torch.where(inside, (view * h + v) * w + u, len(ego2cam) * h * w).flatten()
    ranges = exact.new_full((len(ego2cam) * h * w + 1,), torch.inf)
    ranges = ranges.scatter_reduce(0, place, seen.norm(dim=2).flatten(), "amin")
    return ranges[:-1].view(len(ego2cam), h, w).to(points.dtype)


def depth_loss(depth: Tensor, ranges: Tensor, used: Tensor, voxel_size: float) -> Tensor:
    """Mean smooth L1 of the rendered depth and the returns' range, in voxels.

    Args:
        depth: (N, h, w) metres along the ray.
        ranges: (N, h, w) metres, what ``return_ranges`` gave.
        used: (N, h, w) bool, the pixels that count, of those with a return.
        voxel_size: metres; an error of less than a voxel counts little.

    Returns:
        Scalar; 0 with a gradient path where no pixel counts.
    """
    used = used & ranges.isfinite()
    wanted = torch.where(used, ranges, depth.detach())
    cost = F.smooth_l1_loss(depth / voxel_size, wanted / voxel_size, reduction="none")
    return (cost * used).sum() / used.sum().clamp(min=1)
