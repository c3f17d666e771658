"""The cameras that voxels are rendered into, at the pixels of a lattice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minkocc.files.rig import camera_matrices, image_size
from minkocc.ops.sphere_hits import ego_rays
from minkocc.ops.sphere_render import scale_intrinsics
from minkocc.structures.render_lattice import RenderLattice


class RenderCameras(NamedTuple):
    """The cameras of one sample as they are rendered."""

    ego2cam: Tensor
    """(N, 4, 4) float64, from the augmented ego frame."""
    cam2img: Tensor
    """(N, 3, 3) intrinsics of the rendered images."""
    size: tuple[int, int]
    """(h, w) of them."""

    @classmethod
    def of_frame(cls, frame: Mapping[str, Any], lattice: RenderLattice) -> RenderCameras:
        """Those of an info file's frame, which is not augmented.

        Args:
            frame: what the file says of it.
            lattice: of the rendered pixels.
        """
        cam2img, ego2cam = (torch.from_numpy(matrix) for matrix in camera_matrices(frame))
        size = lattice.size(image_size(frame))
        return cls(ego2cam, lattice_intrinsics(cam2img, lattice), size)

    def rays(self) -> tuple[Tensor, Tensor]:
        """Centres (N, 3), metres, and the pixels' unit directions (N, h * w, 3), float64."""
        return ego_rays(self.ego2cam, self.cam2img, self.size)


def lattice_intrinsics(cam2img: Tensor, lattice: RenderLattice) -> Tensor:
    """``(N, 3, 3)`` intrinsics under which rendered pixels look through the lattice's raw pixels.

    Args:
        cam2img: ``(N, 4, 4)`` of the raw images.
        lattice: of the rendered ones.
    """
    # Unshifted, pixel j looks at the middle of its block, (j + 0.5) stride; what is wanted is the
    # centre of a raw pixel, stride j + shift + 0.5.
    x, y = (shift + 0.5 - lattice.stride / 2 for shift in lattice.shift)
    return scale_intrinsics(cam2img[:, :3, :3], 1.0 / lattice.stride, (x, y))
