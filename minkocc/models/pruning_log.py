"""What pruning did to a batch: a line of the training log, and records for the figures."""

from __future__ import annotations

import torch
from torch import Tensor

from minkocc.models.mink_genunet import DecoderLevel
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.taxonomy import WEAK_OCCUPIED


@torch.no_grad()
def pruning_log(levels: list[DecoderLevel], samples: int) -> dict[str, Tensor]:
    """What the training log says of pruning; no loss.

    Args:
        levels: coarse to fine, with their targets.
        samples: number of samples in the batch.

    Returns:
        ``recall_s<stride>``: share of a level's occupied candidates that it would keep without
        knowing the target; ``kept``: voxels a sample that survive; and, where the cap was met,
        ``cut_s<stride>``: voxels a sample that it took.
    """
    log = {}
    for level in levels:
        assert level.targets is not None
        occupied = level.targets == WEAK_OCCUPIED
        found = (occupied & level.likely).sum()
        log[f"recall_s{level.stride}"] = found / occupied.sum().clamp(min=1)
        if any(level.cut):
            log[f"cut_s{level.stride}"] = level.logits.new_full((), sum(level.cut) / samples)
    log["kept"] = levels[-1].kept.sum() / samples
    return log


def level_records(levels: list[DecoderLevel], sample: int) -> list[LevelRecord]:
    """What the decoder levels did to one sample of a batch.

    Args:
        levels: coarse to fine, of the whole batch.
        sample: its number in the batch.
    """
    records = []
    for level in levels:
        rows = level.coords[:, 0] == sample
        fields = level.coords[rows, 1:], level.logits[rows], level.kept[rows]
        records.append(
            LevelRecord(level.stride, *fields, level.cut[sample], float(level.threshold))
        )
    return records
