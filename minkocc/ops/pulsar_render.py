"""Pulsar, the sphere renderer that the paper names, by its own code in pytorch3d.

For comparisons: it needs the package pytorch3d and cameras of one focal length, rounds their
principal points to whole pixels, and its gradients are scaled (see ``render_pulsar``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from minkocc.ops.exact_products import exact_products
from minkocc.ops.sphere_render import (
    DEFAULT_SETTINGS,
    RenderOutput,
    RenderSettings,
    check_spheres,
    effective_radii,
)
from minkocc.structures.settings import SettingError

_FOCAL = 0.5
"""Metres from eye to image plane, or half of ``min_depth``: Pulsar wants the plane nearer."""
_FEWEST = 1024
_UNEQUAL = 1e-3


def pulsar() -> Any:
    """pytorch3d's module of Pulsar.

    Raises:
        SettingError: it is not installed.
    """
    try:
        from pytorch3d.renderer.points import pulsar as module
    except ImportError as error:
        raise SettingError(
            f"renderer 'pytorch3d' needs pytorch3d, which cannot be imported ({error}): build it "
            "as docs/rendering.md says, or use renderer='spheres', which needs no package"
        ) from error
    return module


def render_pulsar(
    centres: Tensor,
    radii: Tensor,
    opacities: Tensor,
    features: Tensor,
    ego2cam: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    settings: RenderSettings = DEFAULT_SETTINGS,
) -> RenderOutput:
    """What ``render_spheres`` computes, by Pulsar, view after view.

    Its exp is an approximation, a few percent off. A sphere's gradient is the mean over the pixels
    that it gets one from, not the sum: direction and sign are those of ``render_spheres``, the
    length is not. Principal points are rounded to whole pixels.

    Args:
        centres: (V, 3) metres, ego frame.
        radii: (V,) metres, positive.
        opacities: (V,) in [0, 1].
        features: (V, C).
        ego2cam: (N, 4, 4).
        cam2img: (N, 3, 3) intrinsics for ``image_size``, fx = fy and no skew.
        image_size: (h, w) to render.
        settings: constants; the finder has no use.

    Returns:
        Features and coverage in float32.

    Raises:
        ValueError: shapes do not match, or a camera has two focal lengths.
        SettingError: pytorch3d is not installed.
    """
    check_spheres(centres, radii, opacities, features, ego2cam, cam2img)
    offsets = _offsets(cam2img, image_size)
    (h, w), (count, channels) = image_size, features.shape
    if not count or not len(ego2cam):
        return RenderOutput(
            features.new_zeros(len(ego2cam), channels, h, w, dtype=torch.float32),
            features.new_zeros(len(ego2cam), h, w, dtype=torch.float32),
        )
    with exact_products(centres.device.type):
        seen = centres.float() @ ego2cam[:, :3, :3].float().transpose(1, 2)
        seen = seen + ego2cam[:, None, :3, 3].float()
        drawn = effective_radii(radii.float(), seen[..., 2], cam2img, settings.min_radius_px)
        up = seen * seen.new_tensor([1.0, -1.0, 1.0])  # Pulsar's y points up
        # One more channel of ones is the spheres' share of the weight.
        values = torch.cat([features.float(), features.new_ones(count, 1).float()], 1)
        renderer = _renderer(
            w, h, max(_FEWEST, 1 << (count - 1).bit_length()), channels + 1, settings.eps,
            settings.max_hits, str(centres.device),
        )  # fmt: skip
        focal = min(_FOCAL, settings.min_depth / 2) or _FOCAL
        images = [
            renderer(
                position.contiguous(),
                values,
                radius.contiguous(),
                _camera(camera, offset, focal, w),
                settings.gamma,
                settings.max_depth,
                settings.min_depth,
                bg_col=values.new_zeros(channels + 1),
                opacity=opacities.float(),
                max_n_hits=settings.max_hits,
            )
            for position, radius, camera, offset in zip(up, drawn, cam2img, offsets)
        ]
    image = torch.stack(images)
    return RenderOutput(image[..., :-1].permute(0, 3, 1, 2), image[..., -1])


def _offsets(cam2img: Tensor, image_size: tuple[int, int]) -> Tensor:
    """(N, 2) whole pixels from the principal point to the image's centre."""
    fx, fy = cam2img[:, 0, 0], cam2img[:, 1, 1]
    wrong = ((fx - fy).abs() > _UNEQUAL * fx.abs()).nonzero().flatten().tolist()
    if wrong:
        one = wrong[0]
        raise ValueError(
            f"cam2img of camera {one} has focal lengths {float(fx[one]):.6g} and "
            f"{float(fy[one]):.6g}: Pulsar knows one; use renderer='spheres'"
        )
    middle = cam2img.new_tensor([image_size[1] / 2, image_size[0] / 2])
    return (middle - cam2img[:, :2, 2]).round()


def _camera(cam2img: Tensor, offset: Tensor, focal: float, width: int) -> Tensor:
    """Pulsar's 13 numbers: place, two axes, focal length, sensor width and offset."""
    sensor = width * focal / cam2img[0, 0]
    still = cam2img.new_tensor([0, 0, 0, 1, 0, 0, 0, 1, 0, focal])
    return torch.cat([still, sensor[None], offset]).float()


@lru_cache(maxsize=4)
def _renderer(
    width: int, height: int, most: int, channels: int, eps: float, track: int, device: str
) -> Any:
    """A renderer with its buffers, which are worth keeping."""
    return (
        pulsar()
        .Renderer(
            width,
            height,
            most,
            background_normalized_depth=eps,
            n_channels=channels,
            n_track=track,
        )
        .to(device)
    )
