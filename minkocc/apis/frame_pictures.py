"""Pictures of a frame that more than one tool draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from minkocc.ops.point_sampling import project_points
from minkocc.structures.taxonomy import FREE, WEAK_OCCUPIED, class_id
from minkocc.visualization.cameras import around, draw_points
from minkocc.visualization.sheet import Picture


def swept_cameras(
    images: Mapping[str, NDArray[np.uint8]], points: Tensor, ego2img: Tensor, title: str
) -> Iterator[list[Picture]]:
    """The images with the returns of the present sweep, in rows of three.

    Args:
        images: uint8 ``(H, W, 3)``, all of one size, by camera.
        points: ``(P, 5)``: x, y, z, intensity, time lag; those without a lag are drawn.
        ego2img: ``(N, 4, 4)``, from the points' frame to the images' pixels.
        title: of each picture, after its camera's name.
    """
    present = points[points[:, 4] == 0, :3].double()
    height, width = next(iter(images.values())).shape[:2]
    uv, depth, valid = project_points(present, ego2img, (height, width))
    pictures = {}
    for (camera, image), pixels, far, seen in zip(images.items(), uv, depth, valid):
        drawn = draw_points(image, pixels[seen].numpy(), far[seen].numpy())
        pictures[camera] = (f"{camera}, {title}", drawn)
    return around(pictures)


def without_class(weak: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Weak occupancy as ids to draw: one grey class where it is occupied, free elsewhere."""
    return np.where(weak == WEAK_OCCUPIED, class_id("manmade"), FREE).astype(np.uint8)
