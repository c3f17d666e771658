"""A voxel target that is computed once and kept in a file, with what it was made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minkocc.datasets.transforms.loading import InputError
from minkocc.files.npz import npz_bytes, read_npz
from minkocc.files.writing import atomic_write
from minkocc.structures.voxel_grid import VoxelGrid


@dataclass(frozen=True)
class KeptTarget:
    """The file of a target.

    Args:
        key: of its array, which also names it in messages.
        path: where it is kept.
        made_of: digest of everything that the content depends on; the file repeats it.
        grid: of the array.
        largest: of its values, beside 255 for what is unknown.
    """

    key: str
    path: Path
    made_of: bytes
    grid: VoxelGrid
    largest: int

    @classmethod
    def of(
        cls, results: Mapping[str, Any], key: str, made_of: bytes, grid: VoxelGrid, largest: int
    ) -> KeptTarget:
        """That of a frame: one file for it and everything that its content depends on."""
        folder = Path(results["cache_root"]) / key / f"{grid.voxel_size:g}"
        path = folder / f"{results['token']}-{made_of.hex()[:12]}.npz"
        return cls(key, path, made_of, grid, largest)

    def prepare(self, compute: Callable[[], np.ndarray]) -> bool:
        """Compute and keep the target, if it is not kept yet; whether it had to be computed."""
        if self.read() is not None:
            return False
        self.keep(compute())
        return True

    def load(self, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The target; what is not kept is computed and kept."""
        values = self.read()
        if values is None:
            values = compute()
            self.keep(values)
        return values

    @property
    def _name(self) -> str:
        return self.key.replace("_", " ")

    def read(self) -> np.ndarray | None:
        """The target, uint8 ``(X, Y, Z)``; None if it is not kept.

        Raises:
            InputError: the file is damaged, or another target's.
        """
        if not os.path.lexists(self.path):
            return None
        try:
            arrays = read_npz(self.path, (self.key, "made_of"), self.grid.shape)
            values = arrays[self.key]
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise InputError(
                f"cached {self._name} {self.path} cannot be read ({error}): delete it"
            ) from error
        if problem := self._problem(values, arrays.get("made_of")):
            raise InputError(f"cached {self._name} {self.path} {problem}: delete it")
        return values

    def _problem(self, values: np.ndarray, made_of: np.ndarray | None) -> str | None:
        if values.shape != self.grid.shape or values.dtype != np.uint8:
            return f"is {values.dtype} {values.shape}, expected uint8 {self.grid.shape}"
        if made_of is None or made_of.tobytes() != self.made_of:
            return "was made of something else, another frame or by other rules"
        if (values + np.uint8(1)).max() > self.largest + 1:  # 255 becomes 0
            return f"holds values other than 0 to {self.largest} and 255"
        return None

    def keep(self, values: np.ndarray) -> None:
        """Write the target.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with atomic_write(self.path) as sink:
                made_of = np.frombuffer(self.made_of, np.uint8)
                sink.write(npz_bytes(**{self.key: values, "made_of": made_of}))
        except OSError as error:
            raise InputError(
                f"{self._name} cannot be kept in {self.path.parent} ({error.strerror or error}): "
                "make room, or set cache_root to a folder that can be written to"
            ) from error
