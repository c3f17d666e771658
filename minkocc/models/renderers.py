"""What stands for a voxel in the images of the render head: a sphere, or the voxel itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from minkocc.ops.pulsar_render import pulsar, render_pulsar
from minkocc.ops.sphere_render import RenderSettings, render_spheres
from minkocc.ops.voxel_render import VoxelRenderSettings, render_voxels
from minkocc.structures.settings import RENDERERS

_OPAQUE = 4.0
"""Added to a voxel's logit of opacity, so that all begin at 0.98: an opacity of chance would stand
against depth in Eq. 2's exponent."""


class Rendered(NamedTuple):
    """What the cameras see."""

    values: Tensor
    """(N, C, h, w), weighted sums; 0 where there is nothing."""
    coverage: Tensor
    """(N, h, w), the share of each pixel that voxels cover, in [0, 1]."""


class Renderer(ABC):
    """Renders voxels of one edge length.

    Args:
        voxel_size: metres.
    """

    def __init__(self, voxel_size: float) -> None:
        self.voxel_size = voxel_size

    @abstractmethod
    def __call__(
        self,
        raw: Tensor,
        values: Tensor,
        centres: Tensor,
        ego2cam: Tensor,
        cam2img: Tensor,
        image_size: tuple[int, int],
    ) -> Rendered:
        """Render.

        Args:
            raw: (V, 2) of the network, for radius and opacity; 0 is what all begin with.
            values: (V, C) of the voxels.
            centres: (V, 3) metres, in a frame of which the voxels' edges are the axes.
            ego2cam: (N, 4, 4) from that frame.
            cam2img: (N, 3, 3) intrinsics for ``image_size``.
            image_size: (h, w).
        """


class SphereRenderer(Renderer):
    """A sphere at every voxel's centre (the paper's Sec. IV-C), of ``ops.sphere_render``.

    Args:
        voxel_size: metres.
        depth_range: nearest and furthest entry, metres along the ray.
        max_hits: how many spheres a pixel blends, nearest first.
        gamma: depth sensitivity at 0.4 m voxels; scales with the voxel size.
        eps: background term.
    """

    render_spheres = staticmethod(render_spheres)

    def __init__(
        self,
        voxel_size: float,
        depth_range: tuple[float, float],
        max_hits: int,
        gamma: float,
        eps: float,
    ) -> None:
        super().__init__(voxel_size)
        self.settings = RenderSettings(
            gamma=gamma * voxel_size / 0.4,
            eps=eps,
            min_depth=depth_range[0],
            max_depth=depth_range[1],
            max_hits=max_hits,
        )

    def shapes(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Radii in metres, within [0.5, 0.9] voxels, and opacities in (0, 1), each ``(V,)``."""
        radius = self.voxel_size * (0.5 + 0.4 * raw[:, 0].sigmoid())
        return radius, (_OPAQUE + raw[:, 1]).sigmoid()

    def __call__(
        self,
        raw: Tensor,
        values: Tensor,
        centres: Tensor,
        ego2cam: Tensor,
        cam2img: Tensor,
        image_size: tuple[int, int],
    ) -> Rendered:
        """Eq. 2; arguments as ``Renderer`` has them."""
        shapes = self.shapes(raw)
        out = self.render_spheres(
            centres, *shapes, values, ego2cam.to(centres), cam2img, image_size, self.settings
        )
        return Rendered(out.features, out.coverage)


class PulsarRenderer(SphereRenderer):
    """The same spheres, by Pulsar's own code, of ``ops.pulsar_render``; arguments likewise."""

    render_spheres = staticmethod(render_pulsar)


class VoxelRenderer(Renderer):
    """The voxels themselves, along exact rays, of ``ops.voxel_render``; the radius has no use.

    Args:
        voxel_size: metres.
        depth_range: nearest and furthest point of a ray that counts, metres along it.
        max_hits: how many voxels a pixel blends, nearest first.
    """

    def __init__(self, voxel_size: float, depth_range: tuple[float, float], max_hits: int) -> None:
        super().__init__(voxel_size)
        self.settings = VoxelRenderSettings(*depth_range, max_hits)

    def densities(self, raw: Tensor) -> Tensor:
        """Of which an edge's length is as opaque as a sphere would be, ``(V,)``."""
        return F.softplus(_OPAQUE + raw[:, 1])

    def __call__(
        self,
        raw: Tensor,
        values: Tensor,
        centres: Tensor,
        ego2cam: Tensor,
        cam2img: Tensor,
        image_size: tuple[int, int],
    ) -> Rendered:
        """Composite front to back; arguments as ``Renderer`` has them."""
        out = render_voxels(
            centres,
            self.voxel_size,
            self.densities(raw),
            values,
            ego2cam,
            cam2img,
            image_size,
            self.settings,
        )
        return Rendered(out.features, out.coverage)


def build_renderer(
    name: str,
    voxel_size: float,
    depth_range: tuple[float, float],
    max_hits: int,
    gamma: float,
    eps: float,
) -> Renderer:
    """The renderer of a name; ``gamma`` and ``eps`` are of spheres alone.

    Raises:
        ValueError: there is none of that name.
        SettingError: its package is not installed.
    """
    if name == "spheres":
        return SphereRenderer(voxel_size, depth_range, max_hits, gamma, eps)
    if name == "pytorch3d":
        pulsar()  # told now, not at the first batch
        return PulsarRenderer(voxel_size, depth_range, max_hits, gamma, eps)
    if name == "voxels":
        return VoxelRenderer(voxel_size, depth_range, max_hits)
    raise ValueError(f"renderer {name!r}: expected one of {', '.join(RENDERERS)}")
