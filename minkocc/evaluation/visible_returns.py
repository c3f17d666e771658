"""Which LiDAR returns a camera sees too."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

REACH = (0.4, 1.0)
"""How far to each side of a return others may hide it, degrees across and down the image: 4 and 11
pixels of nuScenes' 800x450 images, twice that at 1600x900. The beams of nuScenes' LiDAR lie 0.33
degrees apart across and 1.33 down, and the cameras, lower than the roof, see the rings on flat
ground 1.1 degrees apart. So less reach leaves gaps between the rings of what hides, and more lets
the ground hide itself: docs/label_quality.md has what was measured."""

MARGIN = (0.5, 0.05)
"""How much nearer those others are: metres, and a share of the return's own depth."""


def visible_returns(
    row: NDArray[np.integer[Any]],
    column: NDArray[np.integer[Any]],
    depth: NDArray[np.floating[Any]],
    image_size: tuple[int, int],
    focal: float,
) -> NDArray[np.bool_]:
    """Which of the returns that fall into an image are not behind another one, ``(M,)``.

    The LiDAR stands on the roof and looks over what hides the road from a camera. A return does not
    count as seen where one within ``REACH`` is nearer by both parts of ``MARGIN`` together.

    Args:
        row: ``(M,)`` pixel of each return, inside the image.
        column: the same.
        depth: ``(M,)`` metres along the optical axis.
        image_size: ``(height, width)``.
        focal: focal length in pixels.
    """
    nearest = np.full(image_size, np.inf, np.float32)
    np.minimum.at(nearest, (row, column), depth.astype(np.float32))
    across, down = (max(1, round(focal * math.tan(math.radians(angle)))) for angle in REACH)
    window = np.ones((2 * down + 1, 2 * across + 1), np.uint8)
    nearest = np.asarray(cv2.erode(nearest, window))  # the least depth within the window
    metres, share = MARGIN
    return np.asarray(depth - nearest[row, column] <= metres + share * depth)
