"""Where rays leave the first occupied voxel, without a traversal: all crossings of all planes.

Along a ray, the crossings with the grid's planes x = i, y = j, z = k are computed one by one,
sorted, and the voxel between two of them is that of their middle.
"""

import numpy as np


def first_hits(occupied, starts, ends):
    """Voxel index (N, 3), distance where it is left, and the least gap between two crossings.

    Index -1 where a ray never enters the grid; the last voxel inside where it hits nothing.
    """
    shape = np.array(occupied.shape)
    starts, ends = np.asarray(starts, np.float64), np.asarray(ends, np.float64)
    direction = (ends - starts) / np.linalg.norm(ends - starts, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = [
            (np.arange(size + 1)[None] - starts[:, axis, None]) / direction[:, axis, None]
            for axis, size in enumerate(shape)
        ]
    t = np.concatenate([np.zeros((len(starts), 1)), *crossings], axis=1)
    t = np.sort(np.where(np.isfinite(t) & (t >= 0), t, np.inf), axis=1)
    near, far = t[:, :-1], t[:, 1:]
    real = np.isfinite(far)
    middle = np.where(real, (near + np.where(real, far, 0.0)) / 2, 0.0)
    voxel = np.floor(starts[:, None] + direction[:, None] * middle[..., None]).astype(int)
    inside = real & ((voxel >= 0) & (voxel < shape)).all(-1)
    safe = np.clip(voxel, 0, shape - 1)
    hit = inside & occupied[safe[..., 0], safe[..., 1], safe[..., 2]]
    steps = np.arange(inside.shape[1])
    last = np.where(inside, steps, -1).max(1)
    first = np.where(hit.any(1), hit.argmax(1), last)
    rows = np.arange(len(starts))
    entered = last >= 0
    index = np.where(entered[:, None], voxel[rows, first], -1)
    with np.errstate(invalid="ignore"):
        gaps = np.where(real, far - near, np.inf)
    return index, np.where(entered, far[rows, first], -1.0), gaps.min(1)
