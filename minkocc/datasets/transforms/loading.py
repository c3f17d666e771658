"""Steps that read files: LiDAR sweeps, images, dense labels under the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from minkocc.datasets.label_budget import LabelReader
from minkocc.files.images import UNREADABLE_IMAGE, open_image
from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.files.reading import require_regular
from minkocc.files.rig import Mount, camera_matrices, image_size, mount_of, on_vehicle
from minkocc.registry import TRANSFORMS
from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase
from minkocc.structures.settings import check_number
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

_LIDAR_COLUMNS = 5  # x, y, z, intensity, ring
FARTHEST_RETURN = 10_000.0
_BRIGHTEST = 255

_EIGHT_BITS = frozenset("L LA P PA RGB RGBA RGBX CMYK YCbCr HSV LAB".split())
"""Modes of Pillow that become RGB without a loss of what they say; others are cut off at 255."""

_ORIENTATION, _UPRIGHT = 0x0112, (None, 0, 1)  # of EXIF


class InputError(UserError, ValueError):
    """An input file that cannot be used; the text names it and the remedy."""


def read_lidar(path: str | Path) -> np.ndarray:
    """Points of a nuScenes ``.pcd.bin``, ``(P, 5)`` float32: x, y, z, intensity, ring.

    Raises:
        InputError: the file is missing, empty or truncated, or holds values that are not finite.
    """
    try:
        require_regular(path)
        raw = np.fromfile(path, dtype=np.float32)
    except OSError as error:
        raise InputError(f"LiDAR file {path} cannot be read: {error.strerror or error}") from error
    if raw.size % _LIDAR_COLUMNS or Path(path).stat().st_size % 4:
        raise InputError(
            f"LiDAR file {path} is truncated: {Path(path).stat().st_size} bytes are not a multiple "
            f"of {4 * _LIDAR_COLUMNS}; fetch it again"
        )
    if not raw.size:
        raise InputError(f"LiDAR file {path} is empty; fetch it again, or take it out of the infos")
    points = raw.reshape(-1, _LIDAR_COLUMNS)
    check_points(points, path)
    return points


def check_points(points: np.ndarray, path: str | Path) -> None:
    """Refuse values that would make the running statistics of a network infinite.

    Args:
        points: ``(P, C)``, at least one: x, y, z in metres, intensity in 0..255, ...
        path: the LiDAR file they are of.

    Raises:
        InputError: they are not finite, or not in these units.
    """
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(1).sum())
        raise InputError(
            f"LiDAR file {path} holds {bad} points with NaN or infinity; fetch it again"
        )
    farthest = np.abs(points[:, :3]).max()
    if farthest > FARTHEST_RETURN:
        raise InputError(
            f"LiDAR file {path} holds a point {farthest:g} m away, expected metres, at most "
            f"{FARTHEST_RETURN:g}: fetch it again"
        )
    low, high = points[:, 3].min(), points[:, 3].max()
    if low < 0 or high > _BRIGHTEST:
        raise InputError(
            f"LiDAR file {path} holds intensities from {low:g} to {high:g}, expected 0 to "
            f"{_BRIGHTEST} as in nuScenes: fetch it again, or scale them"
        )


def read_sweep(path: str | Path, lidar2ego: np.ndarray, mount: Mount) -> np.ndarray:
    """A sweep moved to an ego frame, without its returns on the recording vehicle.

    Args:
        path: the LiDAR file.
        lidar2ego: from the sweep's sensor to the ego frame that is asked for.
        mount: of the sensor at the sweep's own time: the vehicle surrounds it there.

    Returns:
        ``(P, 4)`` float32: x, y, z in metres, intensity in 0..1.

    Raises:
        InputError: the file is missing, truncated or not finite.
    """
    return to_ego(read_lidar(path), lidar2ego, mount)


def to_ego(points: np.ndarray, lidar2ego: np.ndarray, mount: Mount) -> np.ndarray:
    """What ``read_sweep`` makes of a file's points ``(P, 4 or more)``."""
    own = points[:, :3] @ mount.lidar2ego[:3, :3].T + mount.lidar2ego[:3, 3]
    points = points[~on_vehicle(own, mount.ego_box)]
    xyz = points[:, :3] @ lidar2ego[:3, :3].T + lidar2ego[:3, 3]
    return np.concatenate([xyz, points[:, 3:4] / 255.0], axis=1).astype(np.float32)


def read_image(path: Path, record: Mapping[str, Any]) -> Image.Image:
    """An RGB image.

    Args:
        path: the file.
        record: says its ``width`` and ``height``.

    Raises:
        InputError: the image is missing, truncated, of another size, turned by EXIF, or of more
            than 8 bits.
    """
    try:
        with open_image(path) as file:
            _check_image(file, path, record)
            return file.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist: check data_root") from error
    except UNREADABLE_IMAGE as error:
        raise InputError(f"image {path} cannot be read ({error}): fetch it again") from error


def _check_image(file: Image.Image, path: Path, record: Mapping[str, Any]) -> None:
    """Refuse what would not be seen as it was meant, before its pixels are unpacked."""
    if file.size != (record["width"], record["height"]):
        raise InputError(
            f"image {path} is {file.size[0]}x{file.size[1]}, its info says "
            f"{record['width']}x{record['height']}: create the infos again"
        )
    if file.mode not in _EIGHT_BITS:
        raise InputError(
            f"image {path} has pixels of mode {file.mode}, which would be cut off at 255: convert "
            "it to 8 bits a channel"
        )
    check_upright(file, f"image {path}")


def check_upright(file: Image.Image, what: str) -> None:
    """Refuse an image that EXIF turns: calibration and labels are of the pixels as they are stored.

    Raises:
        InputError: it has an orientation other than the stored one.
    """
    orientation = file.getexif().get(_ORIENTATION)
    if orientation not in _UPRIGHT:
        raise InputError(
            f"{what} is to be turned when it is shown (EXIF orientation {orientation}), and its "
            "calibration cannot be of both: store its pixels as they are meant, without EXIF"
        )


@TRANSFORMS.register_module()
class LoadPoints(BaseTransform):
    """The current LiDAR sweep and earlier ones in the ego frame.

    Writes ``points`` ``(P, 5)`` float32: x, y, z in metres, intensity in 0..1, time lag in seconds.

    Args:
        sweeps: how many earlier sweeps to add, at most ``MAX_SWEEPS``. Frames that have fewer, at
            a scene's begin or where files are missing, add what they have.

    Raises:
        SettingError: infos never hold so many sweeps.
        InputError: a file is missing, truncated or not finite, or, in training, no point is left.
    """

    def __init__(self, sweeps: int = 9) -> None:
        self.sweeps = int(check_number("LoadPoints.sweeps", sweeps, 0, MAX_SWEEPS))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``points``."""
        root, lidar = Path(results["data_root"]), results["lidar_points"]
        sources = [(lidar["lidar_path"], lidar["lidar2ego"], 0.0)]
        for sweep in results["lidar_sweeps"][: self.sweeps]:
            lag = lidar["timestamp"] - sweep["timestamp"]
            sources.append((sweep["lidar_path"], sweep["sweep2ego"], lag))
        clouds = []
        for path, lidar2ego, lag in sources:
            cloud = read_sweep(root / path, lidar2ego, mount_of(results))
            clouds.append(np.pad(cloud, ((0, 0), (0, 1)), constant_values=lag))
        results["points"] = np.concatenate(clouds)
        check_any_points(results)
        return results


def check_any_points(results: dict[str, Any]) -> None:
    """Refuse a training frame without ``points``; of one that is tested nothing is predicted.

    Raises:
        InputError: no point is left.
    """
    evaluated = results.get("phase", Phase.WARM) is None
    if not len(results["points"]) and not evaluated:
        file = Path(results["data_root"]) / results["lidar_points"]["lidar_path"]
        raise InputError(
            f"frame {results['token']}: the LiDAR file {file} and its sweeps hold no point off "
            "the vehicle; check the data"
        )


@TRANSFORMS.register_module()
class LoadImages(BaseTransform):
    """The camera images and their matrices.

    Writes ``imgs`` (PIL images, smaller ones enlarged to the size of the largest), ``cam2img`` and
    ``ego2cam`` ``(N, 4, 4)``, ``img_aug`` ``(N, 4, 4)`` identities, and ``raw_size`` ``(height,
    width)``.

    Args:
        read_images: whether to read the files; False leaves black images in their place, for a
            network of LiDAR alone, and the cameras' matrices, for rendering.

    Raises:
        InputError: an image is missing, truncated, or of another size than the info file says.
    """

    def __init__(self, read_images: bool = True) -> None:
        self.read_images = read_images

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the images and matrices."""
        root, views = Path(results["data_root"]), results["images"].values()
        height, width = results["raw_size"] = image_size(results)
        if self.read_images:
            images = (read_image(root / view["img_path"], view) for view in views)
            results["imgs"] = [_enlarged(image, (width, height)) for image in images]
        else:
            results["imgs"] = [Image.new("RGB", (width, height)) for _ in views]
        results["cam2img"], results["ego2cam"] = camera_matrices(results)
        results["img_aug"] = np.tile(np.eye(4), (len(views), 1, 1))
        return results


def _enlarged(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


@TRANSFORMS.register_module()
class LoadOccupancyLabel(BaseTransform):
    """The dense 3D label, where phase and budget allow it.

    Writes ``voxel_semantics`` uint8 and ``mask_camera`` bool on the model's grid; a finer grid
    takes the label of the enclosing 0.4 m voxel. Evaluation frames without a label pass through
    without these keys.

    Args:
        point_cloud_range: the model's range.
        voxel_size: the model's voxel size; None keeps Occ3D's grid, as metrics want it.
    """

    def __init__(self, point_cloud_range: Sequence[float], voxel_size: float | None = None) -> None:
        size = OCC3D_GRID.voxel_size if voxel_size is None else voxel_size
        self.ratio = VoxelGrid(point_cloud_range, size).ratio_to(OCC3D_GRID)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the label's arrays, or nothing."""
        phase = results["phase"]
        training = phase is not None
        if (training and not phase.needs_dense) or (not training and not results["occ_path"]):
            return results
        reader: LabelReader = results["label_reader"]
        for key, array in reader.read(results).items():
            results[key] = refine(array, self.ratio)
        return results


def refine(array: np.ndarray, ratio: int) -> np.ndarray:
    """Every voxel's value repeated for its ``ratio ** 3`` children."""
    if ratio == 1:
        return array
    for axis in range(3):
        array = np.repeat(array, ratio, axis=axis)
    return array
