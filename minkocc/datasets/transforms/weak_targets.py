"""The step that loads weak occupancy, or computes and keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from minkocc.datasets.transforms.kept_target import KeptTarget
from minkocc.datasets.transforms.pseudo_labels import PSEUDO_LABELS, label_path, read_view
from minkocc.datasets.weak_occupancy import EVERY_HIT, WeakRules, accumulate_sweeps, mark_sky
from minkocc.files.fingerprint import fingerprint
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.files.rig import mount_of
from minkocc.registry import TRANSFORMS
from minkocc.structures.taxonomy import OCC3D, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import VoxelGrid

_CACHE_VERSION = "2"
WEAK_OCCUPANCY = "weak_occupancy"
"""The folder of kept targets under a cache root."""


@TRANSFORMS.register_module()
class LoadWeakOccupancy(BaseTransform):
    """The weak occupancy target of a frame, computed once and kept beside the data.

    Writes ``weak_occupancy`` uint8 ``(X, Y, Z)`` in the weak phase, and at test time when asked.
    What is unknown stays so: ``MinkOcc(unknown=...)`` says what is taught there.

    Args:
        point_cloud_range: the model's range.
        voxel_size: the model's voxel size.
        min_hits: as in ``WeakRules``.
        see_through: as in ``WeakRules``.
        sky: whether the rays of the pseudo-labels' sky pixels are free too.
        pseudo_labels: their folder, relative to the data root, or absolute.
        cache: keep what is computed in ``weak_occupancy/`` under the dataset's ``cache_root``.
        always: also outside the weak phase (pictures).

    Raises:
        ValueError: a rule makes no sense.
        InputError: a sweep, a pseudo-label that is needed, or a kept target cannot be read, or the
            target cannot be kept.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        min_hits: int = 1,
        see_through: float | None = None,
        sky: bool = False,
        pseudo_labels: str = PSEUDO_LABELS,
        cache: bool = True,
        always: bool = False,
    ) -> None:
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        self.rules = WeakRules(min_hits, see_through)
        self.sky = sky
        self.pseudo_labels = pseudo_labels
        self.cache = cache
        self.always = always

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``weak_occupancy``."""
        phase = results["phase"]
        if not self.always and (phase is None or phase.needs_dense):
            return results
        results["weak_occupancy"] = self._load(results)
        return results

    def prepare(self, results: dict[str, Any]) -> bool:
        """Compute and keep the target of a frame, if it is not kept yet.

        Returns:
            Whether it had to be computed.
        """
        sources = results["weak_sources"]()
        return self._kept(results, sources).prepare(partial(self._compute, results, sources))

    def path(self, results: dict[str, Any], sources: Sequence[dict[str, Any]]) -> Path:
        """Where the target is kept: one file a frame and everything that its content depends on."""
        return self._kept(results, sources).path

    def _kept(self, results: dict[str, Any], sources: Sequence[dict[str, Any]]) -> KeptTarget:
        root, by_content = Path(results["data_root"]), results.get("cache_by_content", False)
        digest = hashlib.sha256(f"{_CACHE_VERSION}{self.grid}".encode())
        files = [source["lidar_path"] for source in sources]
        digest.update(fingerprint(root, files, by_content).encode())
        for source in sources:
            digest.update(np.round(source["lidar2ego"], 6).tobytes())
        digest.update(mount_of(results).identity())
        if self.rules != EVERY_HIT:
            digest.update(repr(self.rules).encode())
        if self.sky:
            digest.update(b"sky" + self._sky_identity(results, by_content))
        made_of = digest.digest()
        return KeptTarget.of(results, WEAK_OCCUPANCY, made_of, self.grid, WEAK_OCCUPIED)

    def _load(self, results: dict[str, Any]) -> np.ndarray:
        sources = results["weak_sources"]()
        compute = partial(self._compute, results, sources)
        return self._kept(results, sources).load(compute) if self.cache else compute()

    def _compute(self, results: dict[str, Any], sources: Sequence[dict[str, Any]]) -> np.ndarray:
        root, mount = Path(results["data_root"]), mount_of(results)
        weak = accumulate_sweeps(sources, root, mount, self.grid, self.rules)
        if self.sky:
            add_sky(weak, self.grid, root / self.pseudo_labels, results)
        return weak

    def _sky_identity(self, results: dict[str, Any], by_content: bool) -> bytes:
        """What the pseudo-labels say of themselves, their files, and the cameras."""
        folder = Path(results["data_root"]) / self.pseudo_labels
        meta = json.dumps(read_meta(folder, results.get("taxonomy", OCC3D)), sort_keys=True)
        views = results["images"].values()
        files = [
            str(label_path(Path(), "labels", camera, view["img_path"]))
            for camera, view in results["images"].items()
        ]
        matrices = [np.round(view[key], 6) for view in views for key in ("cam2img", "ego2cam")]
        identity = meta + fingerprint(folder, files, by_content)
        return identity.encode() + b"".join(m.tobytes() for m in matrices)


def add_sky(weak: np.ndarray, grid: VoxelGrid, folder: Path, frame: dict[str, Any]) -> None:
    """What the sky pixels of a frame's pseudo-labels see is free where it was unknown, in place.

    Args:
        weak: ``(X, Y, Z)`` uint8.
        grid: of ``weak``.
        folder: of the pseudo-labels.
        frame: what an info file says of it, and its ``taxonomy`` where it is not Occ3D's.

    Raises:
        PseudoLabelMetaError: the folder does not say that its classes are ours.
        InputError: a pseudo-label is missing or cannot be used.
    """
    read_meta(folder, frame.get("taxonomy", OCC3D))
    for camera, view in frame["images"].items():
        labels = read_view(folder, "labels", camera, view)
        mark_sky(weak, grid, labels, view["cam2img"], view["ego2cam"])
