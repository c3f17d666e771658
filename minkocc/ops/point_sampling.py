"""Points into images, and image features at points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minkocc.ops.exact_products import exact_products
from minkocc.ops.row_sums import weighted_gather

MIN_DEPTH = 0.1
"""Points nearer to the image plane than this are not seen, metres."""


class Projection(NamedTuple):
    """Where every point falls in every view."""

    uv: Tensor
    """(N, P, 2) pixels; (0, 0) is the corner of the image. Meaningless where not valid."""
    depth: Tensor
    """(N, P) metres along the optical axis."""
    valid: Tensor
    """(N, P) bool: in front of the camera and inside the image."""


def project_points(points: Tensor, ego2img: Tensor, image_size: tuple[int, int]) -> Projection:
    """Project points into views; valid where depth > ``MIN_DEPTH`` and the pixel exists.

    Args:
        points: (P, 3) metres, ego frame (augmented if ``ego2img`` is).
        ego2img: (N, 4, 4), gives ``(u z, v z, z, 1)``.
        image_size: (h, w) of the images that ``ego2img`` refers to.

    Raises:
        ValueError: the shapes are wrong.
    """
    if points.ndim != 2 or points.shape[1] != 3 or ego2img.shape[1:] != (4, 4):
        raise ValueError(
            f"points {tuple(points.shape)} and ego2img {tuple(ego2img.shape)}: expected (P, 3) "
            "and (N, 4, 4)"
        )
    with exact_products(points.device.type):
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        matrix = ego2img.to(points.dtype)
        # One product for all views: [3, P] coordinates are contiguous for what follows.
        in_image = torch.addmm(
            matrix[:, :3, 3].reshape(-1, 1), matrix[:, :3, :3].reshape(-1, 3), points.t()
        ).view(len(matrix), 3, len(points))
        depth = in_image[:, 2]
        uv = in_image[:, :2] / depth.clamp_min(MIN_DEPTH)[:, None]
    u, v = uv.unbind(1)
    h, w = image_size
    inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
    return Projection(uv.transpose(1, 2), depth, inside & (depth > MIN_DEPTH))


def in_picture(uv: Tensor, img2raw: Tensor) -> Tensor:
    """Whether pixels of the network's input show something: an augmented one has a black border.

    Args:
        uv: (N, P, 2) pixels.
        img2raw: (N, 2, 3), gives the raw image's pixels from ``(u, v, 1)``, as shares of its width
            and height.

    Returns:
        (N, P) bool.
    """
    with exact_products(uv.device.type):
        matrix = img2raw.to(uv.dtype)
        share = torch.baddbmm(matrix[:, :, 2:], matrix[:, :, :2], uv.transpose(1, 2))
    return ((share >= 0) & (share < 1)).all(1)


def sample_features(
    feature_maps: Tensor, view_idx: Tensor, uv: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """Bilinear samples of feature maps at pixels of the image they cover.

    Same as ``grid_sample(2 * uv / (w, h) - 1, padding_mode="border", align_corners=False)`` on
    the view of each pair, without touching pairs that are not asked for. Differentiable in the
    maps and in ``uv``.

    Args:
        feature_maps: (N, C, Hf, Wf), covering the whole image.
        view_idx: (M,) integer view of each sample.
        uv: (M, 2) pixels of an image of ``image_size``.
        image_size: (h, w).

    Returns:
        (M, C) in the type of the maps.

    Raises:
        ValueError: the shapes are wrong.
    """
    if feature_maps.ndim != 4 or uv.shape != (len(view_idx), 2):
        raise ValueError(
            f"feature_maps {tuple(feature_maps.shape)}, view_idx {tuple(view_idx.shape)} and uv "
            f"{tuple(uv.shape)}: expected (N, C, Hf, Wf), (M,) and (M, 2)"
        )
    height, width = feature_maps.shape[2:]
    x = (uv[:, 0] * (width / image_size[1]) - 0.5).clamp(0, width - 1)
    y = (uv[:, 1] * (height / image_size[0]) - 0.5).clamp(0, height - 1)
    x0, y0 = x.detach().long(), y.detach().long()
    right, below = x - x0, y - y0
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    weights = torch.stack(
        [
            (1 - right) * (1 - below),
            right * (1 - below),
            (1 - right) * below,
            right * below,
        ],
        1,
    )
    first = view_idx.long() * (height * width)
    cells = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], 1)
    table = feature_maps.permute(0, 2, 3, 1).reshape(-1, feature_maps.shape[1])
    return weighted_gather(table, cells + first[:, None], weights.to(table.dtype))
