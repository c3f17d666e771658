"""The sides of vehicles that no ray met.

Vehicles are alike on both sides, and a cut across one is nearly convex: what is seen of it is
mirrored, and every cut is closed around what is seen there. That gives roofs, which lie above the
sensor's beams, and the far side. A taxonomy says which classes have such a body: a cut across a
flat trailer, an excavator or a bicycle is not convex.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

_SLICE = 0.2
"""Metres between cuts."""
_WINDOW = 0.3
"""Metres before and behind a cut whose points belong to it."""


def complete_vehicle(points: NDArray[np.float32], spacing: float) -> NDArray[np.float32]:
    """Points on the whole of a vehicle's body, as far along it as anything was seen.

    Args:
        points: ``(N, 3)`` in the box's frame: x ahead, y left of the plane of symmetry.
        spacing: metres between the points that are added on a cut.

    Returns:
        ``(M, 3)``: the points, their mirror images and the cuts.
    """
    if not len(points):
        return points
    both = np.concatenate([points, points * np.array([1, -1, 1], np.float32)])
    both = both[np.argsort(both[:, 0])]
    places = np.arange(both[0, 0], both[-1, 0] + _SLICE / 2, _SLICE)
    begin = np.searchsorted(both[:, 0], places - _WINDOW)
    end = np.searchsorted(both[:, 0], places + _WINDOW)
    cuts = [_cut(both[i:j, 1:], x, spacing) for x, i, j in zip(places, begin, end)]
    return np.concatenate([both, *cuts])


def _cut(points: NDArray[np.float32], x: float, spacing: float) -> NDArray[np.float32]:
    """Points along the convex outline of ``(N, 2)`` points at one place of a vehicle."""
    outline = _outline(points)
    if outline is None:
        return np.zeros((0, 3), np.float32)
    parts = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0)):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / spacing)))
        parts.append(start + np.arange(count)[:, None] / count * (end - start))
    ring = np.concatenate(parts)
    return np.column_stack([np.full(len(ring), x), ring]).astype(np.float32)


def _outline(points: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Corners of the convex hull in order; None where the points span no area."""
    if len(points) < 3:
        return None
    try:
        hull = ConvexHull(points)
    except QhullError:  # they lie on a line
        return None
    return np.asarray(points[hull.vertices], np.float64)
