"""The last step of every pipeline: tensors for the model, a data sample for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from minkocc.registry import TRANSFORMS
from minkocc.structures.occ_data_sample import OccDataSample

_TARGETS = (
    "voxel_semantics",
    "mask_camera",
    "weak_occupancy",
    "voted_labels",
    "img_semantics",
    "img_confidence",
    "lift_point",
    "lift_label",
    "lift_confidence",
)


@TRANSFORMS.register_module()
class PackOccInputs(BaseTransform):
    """Packs ``inputs`` (``points`` ``(P, 5)``, ``imgs`` uint8 ``(N, 3, H, W)``) and the sample."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``{'inputs': ..., 'data_samples': OccDataSample}``."""
        imgs = np.ascontiguousarray(np.stack(results["imgs"]).transpose(0, 3, 1, 2))
        ego_aug = results.get("ego_aug", np.eye(4))
        ego2img = results["img_aug"] @ results["cam2img"] @ results["ego2cam"]
        fields = {
            "ego2img": ego2img @ np.linalg.inv(ego_aug),
            "ego2cam": results["ego2cam"],
            "cam2img": results["cam2img"],
            "ego_aug": ego_aug,
        }
        to_raw = img2raw(results["img_aug"], results["raw_size"])
        if _has_border(to_raw, *imgs.shape[-2:]):
            fields["img2raw"] = to_raw
        sample = OccDataSample(
            metainfo={
                "token": results["token"],
                "scene_name": results["scene_name"],
                "phase": results["phase"],
                "iteration": results["iteration"],
                "lattice": results.get("lattice"),
                "raw_size": tuple(results["raw_size"]),
                "ray_origins": results["ray_origins"],
                "cameras": tuple(results.get("images", ())),
            }
        )
        for key, value in fields.items():
            sample.set_data({key: torch.from_numpy(np.asarray(value, np.float32))})
        for key in _TARGETS:
            if key in results:
                sample.set_data({key: torch.from_numpy(np.ascontiguousarray(results[key]))})
        inputs = {"points": torch.from_numpy(results["points"]), "imgs": torch.from_numpy(imgs)}
        return {"inputs": inputs, "data_samples": sample}


def img2raw(img_aug: np.ndarray, raw_size: tuple[int, int]) -> np.ndarray:
    """Where network-input pixels lie in the raw images, as shares of their width and height.

    Args:
        img_aug: ``(N, 4, 4)`` on (u z, v z, z, 1).
        raw_size: ``(height, width)``.

    Returns:
        ``(N, 2, 3)`` on (u, v, 1).
    """
    height, width = raw_size
    affine = np.tile(np.eye(3), (len(img_aug), 1, 1))
    affine[:, :2] = img_aug[:, :2, :3]
    return (np.diag([1 / width, 1 / height, 1.0]) @ np.linalg.inv(affine))[:, :2]


def _has_border(to_raw: np.ndarray, height: int, width: int) -> bool:
    """Whether a corner of any network input lies outside its raw image, beyond rounding."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    share = corners @ to_raw.transpose(0, 2, 1)
    return bool((share < -1e-6).any() or (share > 1 + 1e-6).any())
