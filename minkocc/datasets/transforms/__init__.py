"""Pipeline steps, in the order in which a recipe uses them."""

from minkocc.datasets.transforms.augment import AugmentImages, AugmentScene, DropVoxels
from minkocc.datasets.transforms.formatting import PackOccInputs
from minkocc.datasets.transforms.loading import (
    LoadImages,
    LoadOccupancyLabel,
    LoadPoints,
)
from minkocc.datasets.transforms.points_to_ego import PointsToEgo
from minkocc.datasets.transforms.pseudo_labels import (
    LiftPseudoLabels,
    LoadPseudoLabels,
    SampleLattice,
)
from minkocc.datasets.transforms.voted_labels import LoadVotedLabels
from minkocc.datasets.transforms.weak_targets import LoadWeakOccupancy

__all__ = [
    "AugmentImages",
    "AugmentScene",
    "DropVoxels",
    "LiftPseudoLabels",
    "LoadImages",
    "LoadOccupancyLabel",
    "LoadPoints",
    "LoadPseudoLabels",
    "LoadVotedLabels",
    "LoadWeakOccupancy",
    "PackOccInputs",
    "PointsToEgo",
    "SampleLattice",
]
