"""The step that loads voted labels, or computes and keeps them."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from minkocc.datasets.transforms.kept_target import KeptTarget
from minkocc.datasets.transforms.pseudo_labels import PSEUDO_LABELS, label_path
from minkocc.datasets.voted_labels import MIN_SHARE, LiftedReturns, lift_keyframe, vote
from minkocc.files.fingerprint import fingerprint
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.files.rig import mount_of
from minkocc.registry import TRANSFORMS
from minkocc.structures.settings import check_share
from minkocc.structures.taxonomy import NUM_CLASSES, OCC3D, UNVOTED, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import VoxelGrid

_CACHE_VERSION = "1"
_KEPT_KEYFRAMES = 32  # of a scene's, in memory: neighbours share nearly all of theirs
VOTED_LABELS = "voted_labels"
"""The folder of kept targets under a cache root."""


@TRANSFORMS.register_module()
class LoadVotedLabels(BaseTransform):
    """What the pseudo-labels of the keyframes of the weak target say of its occupied voxels.

    Writes ``voted_labels`` uint8 ``(X, Y, Z)`` in the weak phase: Occ3D ids, 255 where nothing is
    known, where votes disagree, or where the weak occupancy is not occupied. Stands after
    ``LoadWeakOccupancy`` and before anything that moves voxels. Computed once and kept.

    Args:
        point_cloud_range: the model's range.
        voxel_size: the model's voxel size.
        vote_weight: of the loss that reads them (that of ``MinkOcc``); with 0 nothing is done.
        pseudo_labels: their folder, relative to the data root, or absolute.
        min_share: of a voxel's votes that the winner must have.

    Raises:
        SettingError: ``min_share`` is no share.
        InputError: a sweep, a pseudo-label or a kept target cannot be read, or the target cannot
            be kept.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        vote_weight: float,
        pseudo_labels: str = PSEUDO_LABELS,
        min_share: float = MIN_SHARE,
    ) -> None:
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        self.vote_weight = vote_weight
        self.pseudo_labels = pseudo_labels
        self.min_share = check_share("LoadVotedLabels.min_share", min_share)
        self._lifted: OrderedDict[str, LiftedReturns] = OrderedDict()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``voted_labels``."""
        phase = results["phase"]
        if not self.vote_weight or phase is None or phase.needs_dense:
            return results
        keyframes = results["weak_keyframes"]()
        kept = self._kept(results, keyframes)
        voted = kept.load(partial(self._compute, results, keyframes))
        results[VOTED_LABELS] = np.where(
            results["weak_occupancy"] == WEAK_OCCUPIED, voted, np.uint8(UNVOTED)
        )
        return results

    def prepare(self, results: dict[str, Any]) -> bool:
        """Compute and keep the target of a frame, if it is needed and not kept yet.

        Returns:
            Whether it had to be computed.
        """
        if not self.vote_weight:
            return False
        keyframes = results["weak_keyframes"]()
        return self._kept(results, keyframes).prepare(partial(self._compute, results, keyframes))

    def _compute(
        self, results: dict[str, Any], keyframes: Sequence[tuple[dict[str, Any], np.ndarray]]
    ) -> np.ndarray:
        root = Path(results["data_root"])
        read_meta(root / self.pseudo_labels, results.get("taxonomy", OCC3D))
        returns = [(to_ego, self._lift(frame, root)) for frame, to_ego in keyframes]
        return vote(self.grid, returns, self.min_share)

    def _lift(self, frame: dict[str, Any], root: Path) -> LiftedReturns:
        known = self._lifted.pop(frame["token"], None)
        lifted = known or lift_keyframe(frame, root, root / self.pseudo_labels)
        self._lifted[frame["token"]] = lifted
        while len(self._lifted) > _KEPT_KEYFRAMES:
            self._lifted.popitem(last=False)
        return lifted

    def _kept(
        self, results: dict[str, Any], keyframes: Sequence[tuple[dict[str, Any], np.ndarray]]
    ) -> KeptTarget:
        root, by_content = Path(results["data_root"]), results.get("cache_by_content", False)
        folder = root / self.pseudo_labels
        digest = hashlib.sha256(f"{_CACHE_VERSION}{self.grid}{self.min_share}".encode())
        meta = read_meta(folder, results.get("taxonomy", OCC3D))
        digest.update(json.dumps(meta, sort_keys=True).encode())
        sweeps, labels = [], []
        for frame, to_ego in keyframes:
            sweeps.append(frame["lidar_points"]["lidar_path"])
            digest.update(np.round(to_ego, 6).tobytes() + mount_of(frame).identity())
            matrices = []
            for camera, view in frame["images"].items():
                matrices += [view["cam2img"], view["ego2cam"]]
                for kind in ("labels", "confidence"):
                    labels.append(str(label_path(Path(), kind, camera, view["img_path"])))
            digest.update(b"".join(np.round(matrix, 6).tobytes() for matrix in matrices))
        digest.update(fingerprint(root, sweeps, by_content).encode())
        digest.update(fingerprint(folder, labels, by_content).encode())
        return KeptTarget.of(results, VOTED_LABELS, digest.digest(), self.grid, NUM_CLASSES - 1)
