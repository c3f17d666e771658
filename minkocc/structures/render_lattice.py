"""Which raw pixels the rendered views are compared to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class RenderLattice:
    """Rendered pixel (row i, column j) looks through raw pixel (stride i + y, stride j + x).

    Args:
        stride: raw pixels per rendered pixel.
        shift: ``(x, y)`` of the first one, raw pixels, each 0..stride-1.

    Raises:
        ValueError: the stride is below 1, or a shift outside it.
    """

    stride: int
    shift: tuple[int, int]

    def __post_init__(self) -> None:
        if self.stride < 1 or not all(0 <= s < self.stride for s in self.shift):
            raise ValueError(
                f"render lattice of stride {self.stride}, shift {self.shift}: expected a stride "
                "from 1 and shifts from 0 to stride - 1"
            )

    @classmethod
    def central(cls, stride: int) -> RenderLattice:
        """The lattice of prediction: the middle pixel of every block."""
        return cls(stride, (stride // 2, stride // 2))

    @classmethod
    def drawn(cls, stride: int, rng: np.random.Generator) -> RenderLattice:
        """A lattice of training: over many draws every raw pixel has its turn."""
        x, y = rng.integers(0, stride, 2).tolist()
        return cls(stride, (x, y))

    def size(self, raw_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a rendered view: whole strides of the raw image."""
        return int(raw_size[0]) // self.stride, int(raw_size[1]) // self.stride

    def pick(self, images: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Raw-size maps ``(N, H, W)`` read at the lattice, ``(N, h, w)``."""
        (x, y), (height, width) = self.shift, self.size((images.shape[1], images.shape[2]))
        return images[:, y :: self.stride, x :: self.stride][:, :height, :width]
