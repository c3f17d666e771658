"""The voxel classifier: 17 classes on the voxels that survive pruning."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.models.losses import (
    check_beta,
    class_balanced_cross_entropy,
    effective_number_weights,
)
from minkocc.ops.row_sums import count_rows
from minkocc.registry import MODELS
from minkocc.structures.taxonomy import NUM_CLASSES


@MODELS.register_module()
class SemanticHead(BaseModule):
    """A 17-way MLP (paper Sec. IV-A). Free is decided by the occupancy branch, in both phases.

    Args:
        channels: width of the GenUNet's output.
        beta: of Eq. 4; 0 weighs all classes alike.
    """

    def __init__(self, channels: int, beta: float = 0.9) -> None:
        super().__init__()
        check_beta(beta)
        self.beta = beta
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, NUM_CLASSES)
        )
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(NUM_CLASSES))

    def set_class_counts(self, counts: Tensor) -> None:
        """Set Eq. 4's weights from the mean voxels of each class per labelled frame, ``(17,)``."""
        self.class_weights.copy_(effective_number_weights(counts, self.beta))

    def forward(self, feats: Tensor) -> Tensor:
        """Logits ``(V, 17)`` of voxel features ``(V, C)``."""
        return self.mlp(feats).float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Eq. 4 over voxels whose label ``(V,)`` is one of the 17 classes."""
        return class_balanced_cross_entropy(logits, labels, self.class_weights)

    def balanced_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Eq. 4 with n counted on these labels: what dense labels there are counts nothing here."""
        used = labels < NUM_CLASSES
        counts = count_rows(labels.long().clamp(max=NUM_CLASSES - 1), NUM_CLASSES, used)
        weights = effective_number_weights(counts, self.beta)
        return class_balanced_cross_entropy(logits, labels, weights)
