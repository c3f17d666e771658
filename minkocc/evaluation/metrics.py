"""mmengine metrics: they gather integer histograms, never predictions or averages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from minkocc.evaluation.protocols import VOXEL_PROTOCOLS, summarise, table
from minkocc.evaluation.voxel_iou import confusion_matrix
from minkocc.registry import METRICS
from minkocc.structures.files import atomic_write


@METRICS.register_module()
class VoxelIoUMetric(BaseMetric):
    """mIoU and geometric IoU on the 0.4 m Occ3D grid.

    Args:
        protocol: a name of ``VOXEL_PROTOCOLS``.
        training: how the model was trained, printed with every number: ``train_mask`` and
            ``image_pretrained``.
        collect_device: mmengine's.
        prefix: of the reported names.
    """

    default_prefix = "occ"

    def __init__(
        self,
        protocol: str = "occ3d",
        training: dict[str, Any] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if protocol not in VOXEL_PROTOCOLS:
            raise ValueError(f"protocol {protocol!r}: expected one of {', '.join(VOXEL_PROTOCOLS)}")
        self.protocol = VOXEL_PROTOCOLS[protocol]
        self.training = dict(training or {})
        self.summary: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Add one histogram a frame, so that frames padded by a sampler can be cut off.

        A frame without a dense label adds None: it is counted, not measured.
        """
        for sample in data_samples:
            if "voxel_semantics" not in sample:
                self.results.append(None)
                continue
            arrays = (sample[key] for key in ("pred_semantics", "voxel_semantics", "mask_camera"))
            pred, target, mask = (array.cpu().numpy() for array in arrays)
            self.results.append(confusion_matrix(pred, target, mask))

    def compute_metrics(self, results: list[NDArray[np.int64] | None]) -> dict[str, float]:
        """Sum the histograms and report percent."""
        measured = [result for result in results if result is not None]
        if len(measured) < len(results):
            missing = len(results) - len(measured)
            print_log(f"{missing} of {len(results)} frames have no dense label", logger="current")
        if not measured:
            return {}
        summary = summarise(np.sum(measured, axis=0), len(measured), self.protocol)
        self.summary = {**summary, **self.training}
        print_log("\n" + table(self.summary), logger="current")
        return {
            name: float("nan") if self.summary[name] is None else self.summary[name]
            for name in ("miou", "geometric_iou")
        }


class DumpPredictions(BaseMetric):
    """Writes one ``<token>.npz`` (key ``pred``, uint8 ``(200, 200, 16)``) a frame.

    Args:
        out_dir: where to.
    """

    default_prefix = "dump"

    def __init__(self, out_dir: str | Path) -> None:
        super().__init__()
        self.out_dir = Path(out_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Write the predictions of a batch."""
        for sample in data_samples:
            with atomic_write(self.out_dir / f"{sample['token']}.npz") as sink:
                np.savez_compressed(sink, pred=sample["pred_semantics"].cpu().numpy())
            self.results.append(1)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """How many frames were written."""
        return {"frames": float(sum(results))}
