"""What a loader of mmdet3d leaves, as the network takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from minkocc.datasets.transforms.loading import InputError, check_any_points, check_points, to_ego
from minkocc.files.rig import mount_of
from minkocc.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PointsToEgo(BaseTransform):
    """The points of another loader in the ego frame, as ``LoadPoints(sweeps=0)`` gives its own.

    Behind ``mmdet3d.LoadPointsFromFile(coord_type='LIDAR')`` or a loader of one's own, which
    leaves ``points`` in the frame of the LiDAR: an array, or mmdet3d's ``BasePoints``, with x, y,
    z in metres and intensity in 0..255 in its first columns.

    Writes ``points`` ``(P, 5)`` float32: x, y, z in metres, intensity in 0..1, time lag 0, without
    returns on the recording vehicle.

    Raises:
        InputError: there are fewer than four columns, values are not finite or in other units,
            or, in training, no point is left.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``points``."""
        given, lidar = results["points"], results["lidar_points"]
        points = np.asarray(given.numpy() if hasattr(given, "numpy") else given)
        if points.ndim != 2 or points.shape[1] < 4:
            raise InputError(
                f"points of {lidar['lidar_path']} are {points.shape}, expected (P, 4): x, y, z, "
                "intensity; set use_dim=4 in the step that loads them"
            )
        if len(points):
            check_points(points[:, :4], lidar["lidar_path"])
        moved = to_ego(points, lidar["lidar2ego"], mount_of(results))
        results["points"] = np.pad(moved, ((0, 0), (0, 1)))
        check_any_points(results)
        return results
