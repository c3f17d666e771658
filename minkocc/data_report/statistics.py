"""What a nuScenes root holds, in figures: occupancy labels, LiDAR sweeps, accumulated clouds.

The same functions measure a root and the real files it is compared with. Frames are reduced to
integer histograms at once, so that memory does not grow with the points of a data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

from minkocc.datasets.transforms.loading import InputError, read_lidar
from minkocc.files.reading import require_regular
from minkocc.structures.taxonomy import CLASSES, FREE, NUM_CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

SWEEPS = 10
"""Sweeps of an accumulated cloud, the keyframe's own among them."""

VOXEL_SIZES = (0.4, 0.2, 0.1)
"""Edge lengths, metres, at which a cloud's occupied voxels are counted."""

CLOSE, OWN_RADIUS = 1.0, 2.5
"""Horizontal distances from the sensor, metres; within the second lies the recording vehicle."""

PERCENTILES = (5, 25, 50, 75, 95)

# `nusc_class_nums` of RenderOcc (mmdet3d/datasets/nuscenes_dataset_occ.py) and of the code bases
# that took it over. None says how it was counted: inside which mask, or whether in voxels at all.
_PUBLISHED = np.array(
    [
        2854504, 7291443, 141614, 4239939, 32248552, 1583610, 364372, 2346381, 582961, 4829021,
        14073691, 191019309, 6249651, 55095657, 58484771, 193834360, 131378779,
    ]
)  # fmt: skip
PUBLISHED_SHARES: dict[str, float] = dict(zip(CLASSES, (_PUBLISHED / _PUBLISHED.sum()).tolist()))
"""Share of each class in Occ3D-nuScenes' training set, as public code bases weigh classes."""

_RINGS = 32  # of nuScenes' HDL-32E
_BYTE = 256
_RANGE_STEP, _RANGE_BINS = 0.1, 2000

# nuScenes' first vehicle (v1.0-mini): what a real file without its tables was recorded with.
_MOUNT = Quaternion(
    0.7077955119163518, -0.006492242056004365, 0.010646214713995808, -0.7063073142877817
).transformation_matrix
_MOUNT[:3, 3] = (0.943713, 0.0, 1.84023)


@dataclass(frozen=True)
class SweepCounts:
    """A sweep's figures: those that many sweeps add up, and voxels that they do not share.

    The three histograms leave out what lies within ``OWN_RADIUS`` of the sensor.
    """

    points: int
    beyond_close: int
    beyond_own: int
    intensity: NDArray[np.int64]
    """``(256,)``, one bin a unit."""
    range: NDArray[np.int64]
    """Distances from the sensor in bins of 0.1 m."""
    ring: NDArray[np.int64]
    """``(256,)``, one bin a ring."""
    voxels: tuple[int, ...]
    """Occupied voxels at ``VOXEL_SIZES``."""


@dataclass(frozen=True)
class CloudCounts:
    """An accumulated cloud's points off the vehicle, and its voxels at ``VOXEL_SIZES``."""

    points: int
    voxels: tuple[int, ...]


def label_histogram(label: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Voxels of each class, split by both masks.

    Args:
        label: ``voxel_semantics`` of ids 0..17, ``mask_lidar`` and ``mask_camera``, of one shape.

    Returns:
        ``(18, 2, 2)``: class, inside ``mask_lidar``, inside ``mask_camera``.
    """
    shape = (FREE + 1, 2, 2)
    lidar, camera = (label[key].astype(np.int64) for key in ("mask_lidar", "mask_camera"))
    flat = (label["voxel_semantics"].astype(np.int64) * 2 + lidar) * 2 + camera
    return np.bincount(flat.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def label_statistics(
    histograms: Sequence[NDArray[np.int64]], scenes: Sequence[str]
) -> dict[str, Any]:
    """Class shares, occupied voxels and mask sizes of labelled frames.

    Args:
        histograms: ``label_histogram`` of each frame, at least one.
        scenes: the scene of each frame.

    Returns:
        JSON-ready; shares in 0..1 (of occupied voxels; None where there are none), sizes as
        ``mean``, ``min`` and ``max`` over the frames.
    """
    counts = np.stack(histograms)  # [F, 18, 2, 2]
    occupied = counts[:, :FREE].sum((1, 2, 3))
    by_scene = {name: np.zeros(NUM_CLASSES, np.int64) for name in scenes}
    for name, frame in zip(scenes, counts):
        by_scene[name] += frame[:FREE].sum((1, 2))
    present = np.stack(list(by_scene.values())) > 0
    return {
        "frames": len(counts),
        "scenes": len(by_scene),
        "class_share": {
            "all": _shares(counts.sum((0, 2, 3))),
            "mask_camera": _shares(counts[..., 1].sum((0, 2))),
        },
        "scenes_with_class": dict(zip(CLASSES, present.sum(0).tolist())),
        "occupied_voxels": spread(occupied),
        "occupied_share": spread(occupied / counts.sum((1, 2, 3))),
        "mask_lidar": _mask_sizes(counts[:, :, 1].sum(2)),
        "mask_camera": _mask_sizes(counts[..., 1].sum(2)),
    }


def _shares(counts: NDArray[np.int64]) -> dict[str, float | None]:
    total = counts[:NUM_CLASSES].sum()
    return {
        name: float(count / total) if total else None
        for name, count in zip(CLASSES, counts[:NUM_CLASSES])
    }


def _mask_sizes(by_class: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Voxels inside a mask from ``(F, 18)`` counts inside it."""
    return {
        "all": spread(by_class.sum(1)),
        "occupied": spread(by_class[:, :FREE].sum(1)),
        "free": spread(by_class[:, FREE]),
    }


def spread(values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """``mean``, ``min`` and ``max`` of at least one value."""
    array = np.asarray(values, np.float64)
    return {"mean": float(array.mean()), "min": float(array.min()), "max": float(array.max())}


def sweep_counts(points: NDArray[np.float32], lidar2ego: NDArray[np.float64]) -> SweepCounts:
    """The figures of one sweep.

    Args:
        points: ``(P, 5)`` x, y, z in metres, LiDAR frame, intensity 0..255, ring.
        lidar2ego: ``(4, 4)``, to the frame of the voxels.
    """
    distance = np.hypot(points[:, 0], points[:, 1])
    others = points[distance > OWN_RADIUS]
    metres = np.linalg.norm(others[:, :3], axis=1)
    return SweepCounts(
        points=len(points),
        beyond_close=int((distance > CLOSE).sum()),
        beyond_own=len(others),
        intensity=_histogram(others[:, 3], 1.0, _BYTE),
        range=_histogram(metres, _RANGE_STEP, _RANGE_BINS),
        ring=_histogram(others[:, 4], 1.0, _BYTE),
        voxels=voxel_counts(_moved(others, lidar2ego)),
    )


def _histogram(values: NDArray[np.float32], step: float, bins: int) -> NDArray[np.int64]:
    index = np.clip(np.floor(values / step), 0, bins - 1).astype(np.int64)
    return np.bincount(index, minlength=bins)


def _moved(points: NDArray[Any], a2b: NDArray[np.float64]) -> NDArray[np.float64]:
    return points[:, :3] @ a2b[:3, :3].T + a2b[:3, 3]


def voxel_counts(points: NDArray[Any]) -> tuple[int, ...]:
    """How many voxels of Occ3D's range hold a point, at each of ``VOXEL_SIZES``.

    Args:
        points: ``(P, 3)`` metres, ego frame.
    """
    counts = []
    for size in VOXEL_SIZES:
        grid = VoxelGrid(OCC3D_GRID.point_cloud_range, size)
        index = grid.to_index(points)
        index = index[grid.contains(index)]
        counts.append(len(np.unique(np.ravel_multi_index(tuple(index.T), grid.shape))))
    return tuple(counts)


def sweep_statistics(sweeps: Sequence[SweepCounts]) -> dict[str, Any]:
    """Points, intensities, ranges, rings and voxels of at least one sweep, JSON-ready."""
    rings = np.trim_zeros(np.sum([sweep.ring for sweep in sweeps], axis=0), "b")
    rings = np.pad(rings, (0, max(0, _RINGS - len(rings))))
    intensity = np.sum([sweep.intensity for sweep in sweeps], axis=0)
    metres = np.sum([sweep.range for sweep in sweeps], axis=0)
    return {
        "sweeps": len(sweeps),
        "points": spread([sweep.points for sweep in sweeps]),
        "points_beyond_1_m": spread([sweep.beyond_close for sweep in sweeps]),
        "points_beyond_2.5_m": spread([sweep.beyond_own for sweep in sweeps]),
        "intensity_percentiles": percentiles(intensity, 1.0),
        "range_percentiles": percentiles(metres, _RANGE_STEP),
        "ring_share": (rings / max(1, rings.sum())).tolist(),
        "voxels": _voxel_spread([sweep.voxels for sweep in sweeps]),
    }


def percentiles(histogram: NDArray[np.int64], step: float) -> dict[str, float | None]:
    """``PERCENTILES`` of binned values: the lower edge of the bin that each falls into.

    Args:
        histogram: counts of bins that start at 0; without any count all percentiles are None.
        step: a bin's width.
    """
    total = np.cumsum(histogram)
    if not total[-1]:
        return {str(percent): None for percent in PERCENTILES}
    # Integers: a share that is met exactly must not be missed by rounding.
    ranks = np.maximum(1, -(-np.array(PERCENTILES) * total[-1] // 100))
    bins = np.searchsorted(total, ranks)
    return {str(percent): round(step * int(i), 6) for percent, i in zip(PERCENTILES, bins)}


def _voxel_spread(counts: Sequence[tuple[int, ...]]) -> dict[str, dict[str, float]]:
    return {f"{size:g}": spread(column) for size, column in zip(VOXEL_SIZES, zip(*counts))}


def cloud_statistics(clouds: Sequence[CloudCounts]) -> dict[str, Any]:
    """Points and voxels of at least one accumulated cloud, JSON-ready."""
    return {
        "clouds": len(clouds),
        "points_beyond_2.5_m": spread([cloud.points for cloud in clouds]),
        "voxels": _voxel_spread([cloud.voxels for cloud in clouds]),
    }


def frame_sweep(root: Path, frame: Mapping[str, Any]) -> SweepCounts:
    """The figures of a keyframe's own sweep.

    Raises:
        InputError: its file is missing or damaged.
    """
    lidar = frame["lidar_points"]
    return sweep_counts(read_lidar(root / lidar["lidar_path"]), lidar["lidar2ego"])


def frame_cloud(root: Path, frame: Mapping[str, Any]) -> CloudCounts | None:
    """The figures of a keyframe's ``SWEEPS`` sweeps in its ego frame; None if it has fewer.

    Raises:
        InputError: a file is missing or damaged.
    """
    earlier = frame["lidar_sweeps"][: SWEEPS - 1]
    if len(earlier) < SWEEPS - 1:
        return None
    lidar = frame["lidar_points"]
    sources = [(lidar["lidar_path"], lidar["lidar2ego"])]
    sources += [(sweep["lidar_path"], sweep["sweep2ego"]) for sweep in earlier]
    clouds = []
    for path, lidar2ego in sources:
        points = read_lidar(root / path)
        others = points[np.hypot(points[:, 0], points[:, 1]) > OWN_RADIUS]
        clouds.append(_moved(others, lidar2ego))
    cloud = np.concatenate(clouds)
    return CloudCounts(len(cloud), voxel_counts(cloud))


def reference_sweeps(paths: Iterable[Path]) -> dict[str, Any]:
    """``sweep_statistics`` of nuScenes ``.pcd.bin`` files, mounted as on nuScenes' first vehicle.

    Raises:
        InputError: a file is missing or damaged.
    """
    return sweep_statistics([sweep_counts(read_lidar(path), _MOUNT) for path in paths])


def reference_clouds(paths: Iterable[Path]) -> dict[str, Any]:
    """``cloud_statistics`` of accumulated clouds, mounted as on nuScenes' first vehicle.

    The vehicle is left out by its distance from where the sensor is at the end, not from where it
    was at each sweep: without poses nothing more can be done, and little of it is left.

    Args:
        paths: of float16 ``(P, 5)``: x, y, z in metres, LiDAR frame, intensity, time lag.

    Raises:
        InputError: a file is missing, empty, not of five columns or not finite.
    """
    clouds = []
    for path in paths:
        points = _read_cloud(path)
        others = points[np.hypot(points[:, 0], points[:, 1]) > OWN_RADIUS]
        clouds.append(CloudCounts(len(others), voxel_counts(_moved(others, _MOUNT))))
    return cloud_statistics(clouds)


def _read_cloud(path: Path) -> NDArray[np.float32]:
    try:
        require_regular(path)
        raw = np.fromfile(path, np.float16)
    except OSError as error:
        raise InputError(f"cloud {path} cannot be read: {error.strerror or error}") from error
    if not raw.size or raw.size % 5 or not np.isfinite(raw).all():
        raise InputError(
            f"cloud {path} holds {raw.size} float16 values, expected finite rows of five (x, y, z, "
            "intensity, time lag): name another file"
        )
    return raw.reshape(-1, 5).astype(np.float32)
