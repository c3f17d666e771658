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
        sample = OccDataSample(
            metainfo={
                "token": results["token"],
                "scene_name": results["scene_name"],
                "phase": results["phase"],
                "iteration": results["iteration"],
                "lattice": results.get("lattice"),
                "raw_size": tuple(results["raw_size"]),
                "ray_origins": results["ray_origins"],
            }
        )
        for key, value in fields.items():
            sample.set_data({key: torch.from_numpy(np.asarray(value, np.float32))})
        for key in _TARGETS:
            if key in results:
                sample.set_data({key: torch.from_numpy(np.ascontiguousarray(results[key]))})
        inputs = {"points": torch.from_numpy(results["points"]), "imgs": torch.from_numpy(imgs)}
        return {"inputs": inputs, "data_samples": sample}
