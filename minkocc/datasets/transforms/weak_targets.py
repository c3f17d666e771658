"""Weak occupancy: accumulated LiDAR returns and ray-traversed free space (P_acc of the paper)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from minkocc.datasets.transforms.loading import InputError
from minkocc.datasets.weak_occupancy import WeakRules, accumulate_sweeps
from minkocc.registry import TRANSFORMS
from minkocc.structures.files import atomic_write
from minkocc.structures.voxel_grid import VoxelGrid

_CACHE_VERSION = "1"


@TRANSFORMS.register_module()
class LoadWeakOccupancy(BaseTransform):
    """The weak occupancy target of a frame, computed once and cached beside the data.

    Writes ``weak_occupancy`` uint8 ``(X, Y, Z)`` in the weak phase, and at test time when asked.
    What is unknown stays so: ``MinkOcc(unknown=...)`` says what is taught there.

    Args:
        point_cloud_range: the model's range.
        voxel_size: the model's voxel size.
        cache: folder under the data root; None computes every time.
        always: also outside the weak phase (pictures).
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        cache: str | None = "weak_occupancy",
        always: bool = False,
    ) -> None:
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        self.cache = cache
        self.always = always

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``weak_occupancy``."""
        phase = results["phase"]
        if not self.always and (phase is None or phase.needs_dense):
            return results
        results["weak_occupancy"] = self._load(results)
        return results

    def _load(self, results: dict[str, Any]) -> np.ndarray:
        sources = results["weak_sources"]()
        path = self._cache_path(results, sources)
        if path is not None and path.is_file():
            try:
                with np.load(path, allow_pickle=False) as archive:
                    return archive["weak_occupancy"]
            except Exception as error:  # zip, zlib and numpy each raise their own
                raise InputError(
                    f"cached weak occupancy {path} cannot be read ({error}): delete it"
                ) from error
        weak = accumulate_sweeps(
            sources,
            Path(results["data_root"]),
            results["lidar_points"]["lidar2ego"],
            self.grid,
        )
        if path is not None:
            with atomic_write(path) as sink:
                np.savez_compressed(sink, weak_occupancy=weak)
        return weak

    def _cache_path(
        self, results: dict[str, Any], sources: Sequence[dict[str, Any]]
    ) -> Path | None:
        """One file per frame and per everything that its content depends on."""
        if self.cache is None:
            return None
        digest = hashlib.sha256(f"{_CACHE_VERSION}{self.grid}".encode())
        for source in sources:
            digest.update(source["lidar_path"].encode())
            digest.update(np.round(source["lidar2ego"], 6).tobytes())
        name = f"{results['token']}-{digest.hexdigest()[:12]}.npz"
        return Path(results["data_root"]) / self.cache / f"{self.grid.voxel_size:g}" / name
