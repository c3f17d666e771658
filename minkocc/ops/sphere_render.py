"""Differentiable rendering of spheres into cameras (paper Eq. 2, after Pulsar)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from minkocc.ops.exact_products import exact_products
from minkocc.ops.render_arguments import check_depths, check_finder, check_shapes
from minkocc.ops.row_sums import gather_rows, weighted_gather
from minkocc.ops.sphere_hits import find_hits, pixel_rays


class RenderOutput(NamedTuple):
    """What the cameras see."""

    features: Tensor
    """(N, C, h, w), weighted sums over the spheres; the background is 0."""
    coverage: Tensor
    """(N, h, w), the spheres' share of the weight, in [0, 1]."""


@dataclass(frozen=True)
class RenderSettings:
    """The constants of Eq. 2 and of the search for hits.

    Args:
        gamma: depth sensitivity; the smaller, the more the nearest opaque sphere wins.
        eps: exponent of the background weight ``exp(eps / gamma)``.
        min_depth: spheres that a ray enters nearer than this are ignored, metres along the ray.
        max_depth: likewise further than this; also the depth at which z is 0.
        max_hits: how many spheres count per pixel, nearest first.
        min_radius_px: smallest radius a sphere is drawn with, in pixels. From half a pixel's
            diagonal on, no sphere falls between the pixel centres; 0 turns it off.
        finder: ``"numba"`` (CPU only), ``"torch"``, or ``"auto"``.

    Raises:
        ValueError: a value makes no sense.
    """

    gamma: float = 3e-3
    eps: float = 1e-6
    min_depth: float = 1.0
    max_depth: float = 60.0
    max_hits: int = 8
    min_radius_px: float = 0.71
    finder: str = "auto"

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma {self.gamma} is not positive: try 3e-3")
        check_depths(self.min_depth, self.max_depth)
        if self.max_hits < 1 or self.min_radius_px < 0 or self.eps < 0:
            raise ValueError(
                f"max_hits {self.max_hits}, min_radius_px {self.min_radius_px}, eps {self.eps}: "
                "expected at least 1, 0 and 0"
            )
        check_finder(self.finder)


DEFAULT_SETTINGS = RenderSettings()


def render_spheres(
    centres: Tensor,
    radii: Tensor,
    opacities: Tensor,
    features: Tensor,
    ego2cam: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    settings: RenderSettings = DEFAULT_SETTINGS,
) -> RenderOutput:
    """Blend the spheres along the ray of every pixel, with weight ``w = o d exp(o z / gamma)``.

    ``out = sum w f / (exp(eps / gamma) + sum w)`` over the ``max_hits`` nearest spheres that the
    ray ``K^-1 [u + .5, v + .5, 1]`` hits; o is the opacity, ``d = 1 - (orthogonal distance of ray
    and centre) / R``, and z runs from 1 at ``min_depth`` to 0 at ``max_depth`` with the depth of
    the front intersection along the ray. Gradients are those of this formula for centres, radii,
    opacities and features; which spheres are hit has none.

    Differs from the paper: Eq. 2 as printed has ``d = min(1, distance / R)`` and
    ``exp(o z gamma)``, which contradicts its text; this is Pulsar's form, which fits it.
    Differs from Pulsar: it takes the distance of the centre c to the ray's point at range |c|,
    which is longer by a factor of up to about ``1 + R^2 / 8|c|^2``.

    Args:
        centres: (V, 3) metres, ego frame.
        radii: (V,) metres, positive.
        opacities: (V,) in [0, 1].
        features: (V, C).
        ego2cam: (N, 4, 4).
        cam2img: (N, 3, 3) intrinsics for ``image_size``; (0, 0) is the corner of the image.
        image_size: (h, w) to render.
        settings: constants.

    Returns:
        Features and coverage, in float64 if ``centres`` are and else in float32. Zero where
        nothing is hit. Exempt from autocast.

    Raises:
        ValueError: shapes do not match.
    """
    check_spheres(centres, radii, opacities, features, ego2cam, cam2img)
    dtype = torch.float64 if centres.dtype == torch.float64 else torch.float32
    with exact_products(centres.device.type):
        centres, radii, opacities, features = (
            x.to(dtype) for x in (centres, radii, opacities, features)
        )
        return _render(
            centres @ ego2cam[:, :3, :3].to(dtype).transpose(1, 2)
            + ego2cam[:, None, :3, 3].to(dtype),
            radii,
            opacities,
            features,
            cam2img,
            image_size,
            settings,
        )


def check_spheres(
    centres: Tensor,
    radii: Tensor,
    opacities: Tensor,
    features: Tensor,
    ego2cam: Tensor,
    cam2img: Tensor,
) -> None:
    """Refuse arguments of a renderer of spheres that do not belong together.

    Raises:
        ValueError: one has a shape that does not fit the others.
    """
    v, n = len(centres), len(ego2cam)
    check_shapes(
        {
            "centres": (centres, (v, 3)),
            "radii": (radii, (v,)),
            "opacities": (opacities, (v,)),
            "features": (features, (v, features.shape[-1])),
            "ego2cam": (ego2cam, (n, 4, 4)),
            "cam2img": (cam2img, (n, 3, 3)),
        }
    )


def _render(
    centres: Tensor,
    radii: Tensor,
    opacities: Tensor,
    features: Tensor,
    cam2img: Tensor,
    image_size: tuple[int, int],
    settings: RenderSettings,
) -> RenderOutput:
    """All cameras in one pass; centres ``(N, V, 3)`` in their frames."""
    (h, w), (views, count, _) = image_size, centres.shape
    radii = effective_radii(radii, centres[..., 2], cam2img, settings.min_radius_px)
    rays = pixel_rays(cam2img, image_size)
    hits = find_hits(
        centres,
        radii,
        rays,
        cam2img,
        image_size,
        (settings.min_depth, settings.max_depth),
        settings.max_hits,
        settings.finder,
    ).flatten(0, 1)
    rows = (hits[:, 0] >= 0).nonzero().squeeze(1)  # the sky costs nothing
    hits = hits.index_select(0, rows)
    valid = hits >= 0
    # One more row stands for "no hit"; it needs values from which no NaN can come.
    nothing = centres.new_zeros(1, 5)
    nothing[:, 2:4] = 1.0
    each = opacities[:, None].expand(views, -1, 1)
    spheres = torch.cat([centres, radii[..., None], each], 2).flatten(0, 1)
    first = rows.div(h * w, rounding_mode="floor")[:, None] * count
    place = torch.where(valid, first + hits, views * count).view(-1)
    gathered = gather_rows(torch.cat([spheres, nothing]), place).view(*hits.shape, 5)
    seen = rays.flatten(0, 1).index_select(0, rows).to(features.dtype)
    weights = blend_weights(gathered, seen, valid, settings)
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    blended = weighted_gather(padded, torch.where(valid, hits, count), weights)
    image = features.new_zeros(views * h * w, features.shape[1]).index_copy(0, rows, blended)
    coverage = features.new_zeros(views * h * w).index_copy(0, rows, weights.sum(1))
    image = image.view(views, h, w, features.shape[1]).permute(0, 3, 1, 2)  # channels last
    return RenderOutput(image, coverage.view(views, h, w))


def blend_weights(spheres: Tensor, rays: Tensor, valid: Tensor, settings: RenderSettings) -> Tensor:
    """Eq. 2, normalised: the share of every hit in its pixel.

    Args:
        spheres: (P, K, 5) centre (camera frame), radius and opacity of every hit.
        rays: (P, 3) unit directions.
        valid: (P, K) bool; other entries get weight 0, and must hold finite values.
        settings: constants.

    Returns:
        (P, K) weights; with that of the background they sum to 1.
    """
    centre, radius, opacity = spheres[..., :3], spheres[..., 3], spheres[..., 4]
    tiny = torch.finfo(spheres.dtype)
    along = (centre * rays[:, None]).sum(-1)
    offset = centre - along[..., None] * rays[:, None]
    # Clamped from below because the square root has no slope at 0, where the ray meets the centre.
    distance = offset.square().sum(-1).clamp_min(tiny.tiny).sqrt()
    # The finder works in double precision; what rounds to the rim here stays a hit of no weight.
    d = (1 - distance / radius).clamp(min=tiny.eps)
    half_chord = radius * (d * (2 - d)).sqrt()
    z = 1 - (along - half_chord - settings.min_depth) / (settings.max_depth - settings.min_depth)
    # exp(o z / gamma) overflows, so everything is taken relative to the largest weight. The
    # opacity itself stays outside the logarithm: at o = 0 its gradient is not 0.
    exponent = d.log() + opacity * z / settings.gamma
    background = settings.eps / settings.gamma
    with torch.no_grad():
        log_weight = torch.where(valid, exponent + opacity.clamp_min(tiny.tiny).log(), -torch.inf)
        largest = log_weight.amax(1, keepdim=True).clamp_min(background)
    weight = opacity * torch.where(valid, exponent - largest, -torch.inf).exp()
    return weight / ((background - largest).exp() + weight.sum(1, keepdim=True))


def effective_radii(radii: Tensor, depth: Tensor, cam2img: Tensor, min_radius_px: float) -> Tensor:
    """Radii, (N, V) metres, enlarged where they would project to less than ``min_radius_px``.

    Args:
        radii: (V,) metres.
        depth: (N, V) metres along the optical axis of each camera.
        cam2img: (N, 3, 3) intrinsics.
        min_radius_px: smallest radius in the image, in pixels.
    """
    focal = torch.minimum(cam2img[:, 0, 0].abs(), cam2img[:, 1, 1].abs()).to(radii.dtype)
    return torch.maximum(radii, depth * (min_radius_px / focal)[:, None])


def scale_intrinsics(
    cam2img: Tensor, factor: float, offset: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Intrinsics of an image that is cut off at ``offset`` and then scaled.

    Pixel (0, 0) has its corner at 0, so ``u' = (u - offset_u) * factor`` holds for every
    coordinate and the principal point scales like the rest.

    Args:
        cam2img: (..., 3, 3).
        factor: new size over old size, e.g. 1 / 8.
        offset: (u, v) in pixels of the old image.
    """
    first, second, third = cam2img.unbind(-2)  # rows of K; the matrix of the change times K
    return torch.stack(
        [
            factor * first - factor * offset[0] * third,
            factor * second - factor * offset[1] * third,
            third,
        ],
        -2,
    )
