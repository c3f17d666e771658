"""The voxel classifier, on the voxels that survive pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.models.group_index import group_index
from minkocc.models.losses import (
    check_beta,
    class_balanced_cross_entropy,
    effective_number_weights,
)
from minkocc.ops.row_sums import count_rows
from minkocc.registry import MODELS


@MODELS.register_module()
class SemanticHead(BaseModule):
    """A K-way MLP (paper Sec. IV-A). Free is decided by the occupancy branch, in both phases.

    Args:
        channels: width of the GenUNet's output.
        beta: of Eq. 4; 0 weighs all classes alike.
        class_groups: as ``ClassGroups.of`` takes them; None: every class by itself.
        taxonomy: as ``Taxonomy.of`` takes it: whose classes; None: Occ3D's 17.
    """

    def __init__(
        self,
        channels: int,
        beta: float = 0.9,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        taxonomy: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_beta(beta)
        self.beta = beta
        self.classes = group_index(class_groups, taxonomy)
        num_classes = len(self.classes.groups)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, num_classes)
        )
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(num_classes))

    def set_class_counts(self, counts: Tensor) -> None:
        """Set Eq. 4's weights from the mean voxels by 3D id in a labelled frame, ``(17,)``."""
        sums = self.classes.sums(counts.double())
        self.class_weights.copy_(effective_number_weights(sums, self.beta))

    def forward(self, feats: Tensor) -> Tensor:
        """Logits ``(V, K)`` of voxel features ``(V, C)``."""
        return self.mlp(feats).float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Eq. 4 over voxels whose label ``(V,)``, a class index, is one of 0..K-1."""
        return class_balanced_cross_entropy(logits, labels, self.class_weights)

    def balanced_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Eq. 4 with class counts n taken from these labels, not from the dense ones."""
        num_classes = logits.shape[1]
        used = labels < num_classes
        counts = count_rows(labels.long().clamp(max=num_classes - 1), num_classes, used)
        weights = effective_number_weights(counts, self.beta)
        return class_balanced_cross_entropy(logits, labels, weights)
