"""3D ids as the classes of a network, and back, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.taxonomy import UNLABELLED_2D, Taxonomy

NO_CLASS = 255
"""The index of what is no class: free, dropped, unknown."""


class GroupIndex(nn.Module):
    """Labels as indices 0..K-1 of a head's outputs, and these as ids.

    Args:
        groups: the K classes of the network.
    """

    def __init__(self, groups: ClassGroups) -> None:
        super().__init__()
        self.groups = groups
        index = torch.full((256,), NO_CLASS, dtype=torch.uint8)
        index[: len(groups.group_of)] = torch.tensor(groups.group_of, dtype=torch.uint8)
        self.index: Tensor
        self.ids: Tensor
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("ids", torch.tensor(groups.ids, dtype=torch.uint8), persistent=False)

    def index_of(self, labels: Tensor) -> Tensor:
        """Indices of 3D ids, uint8, shape kept; ``NO_CLASS`` for what is no class."""
        return self.index[labels.long()]

    def index_of_2d(self, labels: Tensor) -> Tensor:
        """One more than the index of 2D ids, uint8, shape kept; 0 for unlabelled and sky."""
        index = self.index_of((labels.long() - 1) & NO_CLASS)
        return torch.where(index == NO_CLASS, UNLABELLED_2D, index + 1)

    def id_of(self, index: Tensor) -> Tensor:
        """3D ids of indices 0..K-1, uint8, shape kept."""
        return self.ids[index.long()]

    def sums(self, values: Tensor) -> Tensor:
        """Values by 3D id ``(17,)`` summed by group, ``(K,)``; those of unused ids are left out."""
        values = values[: len(self.groups.group_of)]
        index = self.index[: len(values)].long()
        return values.new_zeros(len(self.groups)).index_add(0, index.to(values.device), values)


def classes_of(model: Any) -> ClassGroups:
    """The classes that a network tells apart; Occ3D's of one that says nothing of them."""
    classes = getattr(model, "classes", None)
    return classes.groups if isinstance(classes, GroupIndex) else OCC3D_CLASSES


def group_index(
    class_groups: Mapping[str, Sequence[str]] | None, taxonomy: Mapping[str, Any] | None = None
) -> GroupIndex:
    """What a head makes of its recipe's ``class_groups`` and ``taxonomy``; None: Occ3D's 17."""
    return GroupIndex(ClassGroups.of(class_groups, Taxonomy.of(taxonomy)))
