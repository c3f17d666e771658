"""Small folders of labels and predictions."""

import json

import numpy as np

from minkocc.structures.voxel_grid import OCC3D_GRID

ORIGINS = [[0.9, 0.0, 1.8]]
TOKENS = ("aa", "bb", "cc")


def volume(seed):
    """A road with boxes of random classes on it."""
    rng = np.random.default_rng(seed)
    out = np.full(OCC3D_GRID.shape, 17, np.uint8)
    out[:, :, 1] = 11
    for _ in range(30):
        x, y = rng.integers(0, 190, 2)
        out[x : x + 8, y : y + 8, 2:6] = rng.integers(0, 17)
    return out


def write_folders(root):
    """``gts/`` of two scenes, ``pred/`` with three keys in use, and ``origins.json``."""
    (root / "pred").mkdir()
    for number, (token, key) in enumerate(zip(TOKENS, ("pred", "semantics", "arr_0"))):
        label = volume(number)
        folder = root / "gts" / f"scene-{number // 2}" / token
        folder.mkdir(parents=True)
        mask = (np.random.default_rng(number).random(label.shape) < 0.5).astype(np.uint8)
        np.savez_compressed(
            folder / "labels.npz", semantics=label, mask_camera=mask, mask_lidar=mask
        )
        pred = np.where(label == 4, 10, label)
        pred[:60] = 17
        np.savez_compressed(root / "pred" / f"{token}.npz", **{key: pred.astype(np.uint8)})
    (root / "origins.json").write_text(json.dumps(dict.fromkeys(TOKENS, ORIGINS)))
