"""An Occ3D label: semantics and what was observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OccupancyLabel:
    """An Occ3D label, all ``(200, 200, 16)`` uint8 in the keyframe's ego frame.

    Args:
        semantics: Occ3D ids, 17 = free.
        mask_lidar: 1 where the scene's LiDAR observed the voxel.
        mask_camera: 1 where this keyframe's cameras see it too.
    """

    semantics: NDArray[np.uint8]
    mask_lidar: NDArray[np.uint8]
    mask_camera: NDArray[np.uint8]
