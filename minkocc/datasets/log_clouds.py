"""The files that a sensor log names: where they lie from the data root, and LiDAR in one format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.datasets.manifest import LogError, Node
from minkocc.datasets.transforms.loading import FARTHEST_RETURN
from minkocc.files.point_clouds import PointCloudError, read_cloud, suffix_of
from minkocc.files.writing import atomic_write

LIDAR_FOLDER = "lidar_bin"
"""Of a data root, where LiDAR files of other formats are kept as nuScenes' are."""

_BRIGHTEST = 255.0


@dataclass
class LogClouds:
    """Where the files of a log are.

    Args:
        log: its name.
        folder: that its paths are relative to.
        root: the data root.
        columns: of LiDAR files that do not name them.
        intensity_max: what becomes 255, as in nuScenes.
        origin: of the LiDAR in the frame of its points, ``(3,)`` metres.
        paths_leave_root: whether files may lie outside of the root.
    """

    log: str
    folder: Path
    root: Path
    columns: Sequence[str] | None
    intensity_max: float
    origin: NDArray[np.float64]
    paths_leave_root: bool = False
    _done: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.intensity_max > 0:
            raise LogError(
                f"log {self.log}: lidar.intensity_max {self.intensity_max:g}, expected a number "
                "above 0"
            )

    def named(self, name: str, node: Node) -> str:
        """A file's path from the data root.

        Raises:
            LogError: there is no such file, or it lies outside of the root.
        """
        path = self.folder / name
        if not path.is_file():
            raise node.error(f"is {name}, and there is no file {path}", "file")
        inside = os.path.relpath(path, self.root)
        if not inside.startswith(".."):
            return Path(inside).as_posix()
        if self.paths_leave_root:
            return str(path.resolve())
        raise node.error(
            f"is {name}, which lies outside of the data root {self.root}: take a --root that holds "
            "it, or allow it with --paths-leave-root",
            "file",
        )

    def sweep(self, node: Node) -> str:
        """The path from the data root of a LiDAR file as ``read_lidar`` takes it.

        Raises:
            LogError: there is no such file.
            PointCloudError: it cannot be used.
        """
        path = self.folder / node.text("file")
        if path not in self._done:
            inside = self.named(node.text("file"), node)
            self._done[path] = inside if self._is_ours(path) else self._converted(path, inside)
        return self._done[path]

    def _is_ours(self, path: Path) -> bool:
        as_it_is = self.columns is None and self.intensity_max == _BRIGHTEST
        return as_it_is and not self.origin.any() and suffix_of(path) == ".pcd.bin"

    def _converted(self, path: Path, inside: str) -> str:
        how = f"{self.columns}{self.intensity_max}{self.origin.tolist()}".encode()
        name = inside.replace("/", "_").replace("..", "")
        folder = f"{self.log}-{hashlib.sha256(how).hexdigest()[:8]}"
        target = Path(LIDAR_FOLDER) / folder / f"{name}.pcd.bin"
        if _is_newer(self.root / target, path):
            return target.as_posix()
        points = read_cloud(path, self.columns)
        self._check(points, path)
        points[:, 3] *= _BRIGHTEST / self.intensity_max
        points[:, :3] -= self.origin
        ring = np.zeros((len(points), 1))
        rows = np.concatenate([points, ring], 1).astype("<f4")
        rows[:, 3] = rows[:, 3].clip(0, _BRIGHTEST)
        with atomic_write(self.root / target) as sink:
            sink.write(rows.tobytes())
        return target.as_posix()

    def _check(self, points: NDArray[np.floating[Any]], path: Path) -> None:
        """Refuse what is no measurement, or is in other units."""
        if not np.isfinite(points).all():
            raise PointCloudError(
                f"LiDAR file {path} holds values that are not finite in "
                f"{(~np.isfinite(points).all(1)).sum()} of {len(points)} points: leave these out"
            )
        far = float(np.abs(points[:, :3]).max())
        if far > FARTHEST_RETURN:
            raise PointCloudError(
                f"LiDAR file {path} holds a point {far:.0f} m away, expected metres, at most "
                f"{FARTHEST_RETURN:.0f}: write it in metres"
            )
        low, high = points[:, 3].min(), points[:, 3].max()
        if low < 0 or high > self.intensity_max * 1.001:
            raise PointCloudError(
                f"LiDAR file {path} holds intensities from {low:g} to {high:g}, expected 0 to "
                f"{self.intensity_max:g}: set lidar.intensity_max in the manifest"
            )


def _is_newer(target: Path, source: Path) -> bool:
    return target.is_file() and target.stat().st_mtime_ns > source.stat().st_mtime_ns
