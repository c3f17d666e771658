"""Pictures of a frame that more than one tool draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor

from minkocc.ops.point_sampling import project_points
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.taxonomy import FREE, WEAK_OCCUPIED, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
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


def weak_occupancy_step(cfg: Config) -> dict[str, Any]:
    """The step that makes the weak target a recipe trains on, on Occ3D's grid, kept nowhere."""
    trained = cfg.get("train_dataloader") or {"dataset": {"pipeline": []}}
    steps = [s for s in trained["dataset"]["pipeline"] if s["type"] == "LoadWeakOccupancy"]
    return {
        **(steps[0] if steps else {"type": "LoadWeakOccupancy"}),
        "point_cloud_range": OCC3D_GRID.point_cloud_range,
        "voxel_size": OCC3D_GRID.voxel_size,
        "cache": False,
        "always": True,
    }


def rendered_semantics(sample: OccDataSample) -> dict[str, NDArray[np.uint8]]:
    """2D ids ``(N, h, w)`` of a prediction by the path that rendered them; none without any."""
    if "rendered_tied" not in sample:
        return {}
    tied, shader = sample.rendered_tied.cpu().numpy(), sample.rendered_shader.cpu().numpy()
    # Where no sphere covers a pixel (sky) nothing was ever supervised.
    return {"shader": np.where(tied > 0, shader, 0), "tied": tied}
