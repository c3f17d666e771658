"""Which box each point lies in."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt


@numba.njit(cache=True)
def _assign(points: Any, into: Any, half: Any, owner: Any, local: Any) -> None:
    """Write each point's box and its place in it; of several boxes the one it lies deepest in."""
    for box in range(len(into)):
        m = into[box]
        # The middle in the points' frame, and a sphere around the box: most points are far away.
        radius = np.sqrt((half[box] ** 2).sum())
        x0 = -(m[0, 0] * m[0, 3] + m[1, 0] * m[1, 3] + m[2, 0] * m[2, 3])
        y0 = -(m[0, 1] * m[0, 3] + m[1, 1] * m[1, 3] + m[2, 1] * m[2, 3])
        for i in range(len(points)):
            if abs(points[i, 0] - x0) > radius or abs(points[i, 1] - y0) > radius:
                continue
            x, y, z = points[i]
            a = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
            b = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
            c = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            depth = max(abs(a) / half[box, 0], abs(b) / half[box, 1], abs(c) / half[box, 2])
            if depth > 1.0:
                continue
            if owner[i] >= 0:
                p, q, r = local[i]
                other = half[owner[i]]
                if max(abs(p) / other[0], abs(q) / other[1], abs(r) / other[2]) <= depth:
                    continue
            owner[i] = box
            local[i, 0], local[i, 1], local[i, 2] = a, b, c


def points_in_boxes(
    points: npt.NDArray[np.floating[Any]],
    world2box: npt.NDArray[np.float64],
    half_size: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The box of each point, and where in it the point lies.

    Args:
        points: ``(N, 3)`` metres.
        world2box: ``(B, 4, 4)`` from the points' frame to each box's, whose origin is its middle.
        half_size: ``(B, 3)`` metres from the middle to the faces.

    Returns:
        ``owner`` ``(N,)`` int32, -1 outside of all boxes, else the box that the point lies deepest
        in, and ``local`` ``(N, 3)`` in that box's frame, NaN outside.
    """
    owner = np.full(len(points), -1, np.int32)
    local = np.full((len(points), 3), np.nan)
    if len(world2box):
        exact = np.ascontiguousarray(points, np.float64)
        _assign(exact, np.ascontiguousarray(world2box), half_size, owner, local)
    return owner, local
