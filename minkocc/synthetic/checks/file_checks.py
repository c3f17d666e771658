"""Whether the files of a synthetic data set hold what their formats promise."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minkocc.structures.taxonomy import FREE, NUM_IDS_2D, PALETTE_2D, UNLABELLED_2D
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.categories import CATEGORIES
from minkocc.synthetic.rig import BEAM_ELEVATIONS

_POINT = 5 * np.dtype(np.float32).itemsize
# What json, numpy and Pillow raise over a damaged file.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
_LABEL_ARRAYS = ("semantics", "mask_lidar", "mask_camera")


def fault(check: Callable[..., str | None], *arguments: Any) -> str | None:
    """What a check of this module finds, a file that cannot be read at all included."""
    try:
        return check(*arguments)
    except FileNotFoundError:
        return "is missing"
    except _UNREADABLE as error:
        return f"cannot be read ({' '.join(str(error).split())})"


def jpeg_fault(path: Path, size: tuple[int, int]) -> str | None:
    """Whether a JPEG decodes to its end at ``size``, width and height."""
    with Image.open(path) as image:
        image.load()
        if image.format != "JPEG" or image.mode != "RGB":
            return f"is {image.format} of mode {image.mode}, expected an RGB JPEG"
        if image.size != size:
            return f"is {image.size[0]}x{image.size[1]}, expected {size[0]}x{size[1]}"
    return None


def lidar_fault(path: Path) -> str | None:
    """Whether a sweep is N x 5 finite float32 with intensity 0..255 and ring 0..31."""
    data = path.read_bytes()
    if not data or len(data) % _POINT:
        return f"has {len(data)} bytes, expected a positive multiple of {_POINT} (5 float32)"
    points = np.frombuffer(data, np.float32).reshape(-1, 5)
    bad = np.flatnonzero(~np.isfinite(points).all(1))
    if len(bad):
        return f"has {len(bad)} points that are not finite, the first of them number {bad[0]}"
    intensity, ring = points[:, 3], points[:, 4]
    if intensity.min() < 0 or intensity.max() > 255:
        return f"has intensity {intensity.min()}..{intensity.max()}, expected 0..255"
    rings = len(BEAM_ELEVATIONS)
    if not np.isin(ring, np.arange(rings)).all():
        return f"has ring {ring.min()}..{ring.max()}, expected whole numbers 0..{rings - 1}"
    return None


def lidarseg_fault(path: Path, lidar: Path) -> str | None:
    """Whether there is one known category per point of the sweep ``lidar``."""
    labels = np.fromfile(path, np.uint8)
    points = lidar.stat().st_size // _POINT
    if len(labels) != points:
        return f"has {len(labels)} labels for the {points} points of {lidar.name}"
    if labels.max(initial=0) >= len(CATEGORIES):
        return f"has category {labels.max()}, expected 0..{len(CATEGORIES) - 1}"
    return None


def label_fault(path: Path) -> str | None:
    """Whether a ``labels.npz`` has Occ3D's arrays, and ``mask_lidar`` holds what the others do."""
    with np.load(path) as arrays:
        missing = sorted(set(_LABEL_ARRAYS) - set(arrays.files))
        if missing:
            return f"lacks {', '.join(missing)}"
        found = {name: arrays[name] for name in _LABEL_ARRAYS}
    for name, array in found.items():
        if array.shape != OCC3D_GRID.shape or array.dtype != np.uint8:
            return f"has {name} {array.dtype} {array.shape}, expected uint8 {OCC3D_GRID.shape}"
        most = FREE if name == "semantics" else 1
        if array.max() > most:
            return f"has {name} {array.max()}, expected 0..{most}"
    outside = int((found["mask_camera"] > found["mask_lidar"]).sum())
    if outside:
        return f"has {outside} voxels of mask_camera outside mask_lidar"
    hidden = int(((found["semantics"] != FREE) & (found["mask_lidar"] == 0)).sum())
    if hidden:
        return f"has {hidden} occupied voxels outside mask_lidar"
    return None


def pseudo_label_fault(path: Path, size: tuple[int, int]) -> str | None:
    """Whether a pseudo-label is a palette PNG of 2D ids of ``size``, width and height."""
    with Image.open(path) as image:
        ids = np.asarray(image)
        palette = image.getpalette() if image.mode == "P" else None
        shape = image.size
    if palette is None or palette[: PALETTE_2D.size] != PALETTE_2D.ravel().tolist():
        return "is not a palette PNG in the taxonomy's colours"
    if shape != size:
        return f"is {shape[0]}x{shape[1]}, expected {size[0]}x{size[1]}"
    if ids.max() >= NUM_IDS_2D:
        return f"has 2D id {ids.max()}, expected 0..{NUM_IDS_2D - 1}"
    return None


def confidence_fault(path: Path, labels: Path) -> str | None:
    """Whether a confidence image is grey and 0 exactly where the pseudo-label has no class."""
    with Image.open(path) as image:
        if image.mode != "L":
            return f"is of mode {image.mode}, expected 8-bit grey"
        scores = np.asarray(image)
    ids = _read_ids(labels)
    if scores.shape != ids.shape:
        return f"is {scores.shape[::-1]}, expected {ids.shape[::-1]} as {labels.name}"
    wrong = int(((scores == 0) != (ids == UNLABELLED_2D)).sum())
    if wrong:
        return f"is wrong in {wrong} pixels: expected 0 exactly where {labels} is unlabelled"
    return None


def _read_ids(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)
