"""What a decoder level that prunes its candidates leaves behind for whoever measures it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LevelRecord:
    """What one decoder level did to one sample at inference.

    Raises:
        ValueError: the tensors are not of one candidate a row.
    """

    stride: int
    """Edge of a candidate in voxels of the model's grid."""
    coords: Tensor
    """int32 ``(V, 3)``: (x, y, z) of the candidates in stride-1 voxels, multiples of ``stride``;
    some may lie outside the grid."""
    logits: Tensor
    """float ``(V,)``: occupancy logits."""
    kept: Tensor
    """bool ``(V,)``: what was not pruned."""
    cut: int
    """How many candidates above the threshold the cap on memory took away."""
    threshold: float
    """The occupancy probability above which candidates are kept."""

    def __post_init__(self) -> None:
        count = len(self.coords)
        shapes = [tuple(t.shape) for t in (self.coords, self.logits, self.kept)]
        if shapes != [(count, 3), (count,), (count,)]:
            raise ValueError(
                f"coords, logits and kept have shapes {', '.join(map(str, shapes))}: expected "
                "(V, 3), (V,) and (V,), those of one sample"
            )
