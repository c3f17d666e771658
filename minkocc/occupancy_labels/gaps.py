"""Gaps in surfaces that the LiDAR looked at and no ray met."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minkocc.ops.line_of_sight import Surfaces

_BEHIND = 0.8
"""Metres that a gap may lie behind what hides it: two voxels, whose surfaces lie anywhere in them.
With less a wall hides its own gaps; with more its inside is filled."""


def hidden_gaps(
    surfaces: Surfaces, gaps: NDArray[np.integer], eyes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which gaps are none, because the LiDAR could not see them: such as the inside of a wall.

    Args:
        surfaces: all that was met, and the middles of the gaps.
        gaps: ``(G,)`` flat indices of their voxels.
        eyes: ``(E, 3)`` metres, ego frame: where the LiDAR was.

    Returns:
        ``(G,)``.
    """
    index = np.searchsorted(surfaces.voxels, gaps)
    hidden = np.ones(len(gaps), np.bool_)
    for eye in eyes:
        left = np.flatnonzero(hidden)
        hidden[left] = ~surfaces.in_sight(eye, index[left], share=0.0, near=_BEHIND)
    return hidden
