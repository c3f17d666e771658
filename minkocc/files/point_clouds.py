"""LiDAR sweeps in the formats that other vehicles' recordings come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.files.reading import require_regular
from minkocc.structures.errors import UserError, short

SUFFIXES = (".pcd.bin", ".bin", ".npy", ".npz", ".pcd", ".ply")
"""What can be read: nuScenes', KITTI's and other rows of float32, numpy's, PCL's and Stanford's."""

_DEFAULT_COLUMNS = {
    ".pcd.bin": ("x", "y", "z", "intensity", "ring"),
    ".bin": ("x", "y", "z", "intensity"),
    ".npy": ("x", "y", "z", "intensity"),
    ".npz": ("x", "y", "z", "intensity"),
}
_INTENSITIES = ("intensity", "scalar_intensity", "reflectance", "reflectivity")


class PointCloudError(UserError, ValueError):
    """A LiDAR file that cannot be used; the text names it and the remedy."""


def suffix_of(path: str | Path) -> str:
    """Which of ``SUFFIXES`` a file's name ends in.

    Raises:
        PointCloudError: none.
    """
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise PointCloudError(f"LiDAR file {path}: expected a name that ends in {', '.join(SUFFIXES)}")


def read_cloud(path: Path, columns: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Points of a LiDAR file, ``(P, 4)``: x, y, z in metres and intensity as the file has it.

    Points without a place, which ``.pcd`` and ``.ply`` files keep for rays that met nothing, are
    left out; intensity is 0 where the file has none.

    Args:
        path: one of ``SUFFIXES``.
        columns: names of the columns of files that do not name them; None: x, y, z, intensity, and
            ring in a ``.pcd.bin``.

    Raises:
        PointCloudError: the file is missing, damaged, empty, or has no x, y and z.
    """
    suffix = suffix_of(path)
    try:
        require_regular(path)
        named = _READERS[suffix](path, columns or _DEFAULT_COLUMNS.get(suffix, ()))
    except PointCloudError:
        raise
    except OSError as error:
        raise PointCloudError(f"LiDAR file {path} cannot be read: {error.strerror or error}") from (
            error
        )
    except MemoryError:
        raise
    except Exception as error:  # each library has its own ways to fail at a damaged file
        reason = f"{type(error).__name__}: {short(str(error))}"
        raise PointCloudError(f"LiDAR file {path} cannot be read ({reason}): fetch it again") from (
            error
        )
    points = _table(named, path)
    if suffix in (".pcd", ".ply"):
        points = points[np.isfinite(points[:, :3]).all(1)]
    if not len(points):
        raise PointCloudError(f"LiDAR file {path} holds no point: fetch it again, or leave it out")
    return points


def _table(named: Mapping[str, NDArray[Any]], path: Path) -> NDArray[np.float64]:
    lower = {name.lower(): values for name, values in named.items()}
    if missing := {"x", "y", "z"} - lower.keys():
        raise PointCloudError(
            f"LiDAR file {path} has {', '.join(lower) or 'nothing'}, and no "
            f"{', '.join(sorted(missing))}: name its columns in the manifest"
        )
    intensity = next((lower[name] for name in _INTENSITIES if name in lower), None)
    if intensity is None:
        intensity = np.zeros(len(lower["x"]))
    return np.stack([lower["x"], lower["y"], lower["z"], intensity], 1).astype(np.float64)


def _by_column(
    rows: NDArray[Any], path: Path, columns: Sequence[str]
) -> Mapping[str, NDArray[Any]]:
    if rows.ndim != 2 or rows.shape[1] != len(columns) or rows.dtype.kind not in "fiu":
        raise PointCloudError(
            f"LiDAR file {path} holds {rows.dtype} {rows.shape}, expected (P, {len(columns)}): "
            f"{', '.join(columns)}; name its columns in the manifest"
        )
    return dict(zip(columns, rows.T))


def _read_rows(path: Path, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    size = path.stat().st_size
    if size % (4 * len(columns)):
        raise PointCloudError(
            f"LiDAR file {path}: {size} bytes are no rows of {len(columns)} float32 "
            f"({', '.join(columns)}): fetch it again, or name its columns in the manifest"
        )
    rows = np.fromfile(path, np.float32).reshape(-1, len(columns))
    return _by_column(rows, path, columns)


def _read_npz(path: Path, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        names = list(file)
        name = "data" if "data" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise PointCloudError(
                f"LiDAR file {path} holds {', '.join(names) or 'no array'}, expected one array, or "
                "one that is called data"
            )
        return _by_column(file[name], path, columns)


def _read_npy(path: Path, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    return _by_column(np.load(path, allow_pickle=False), path, columns)


def _read_pcd(path: Path, _: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    from pypcd4 import PointCloud  # read by few, and slow to import

    cloud = PointCloud.from_path(path)
    return {name: cloud.numpy((name,))[:, 0] for name in cloud.fields}


def _read_ply(path: Path, _: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    from plyfile import PlyData

    vertices = PlyData.read(str(path))["vertex"]
    return {prop.name: np.asarray(vertices[prop.name]) for prop in vertices.properties}


_READERS: Mapping[str, Callable[[Path, Sequence[str]], Mapping[str, NDArray[Any]]]] = {
    ".pcd.bin": _read_rows,
    ".bin": _read_rows,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pcd": _read_pcd,
    ".ply": _read_ply,
}
