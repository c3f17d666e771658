"""Augmentation by matrices: nothing downstream knows a flag, only products of matrices.

``ego_aug`` (4x4) moves points and label lookups; ``img_aug`` (4x4) acts on (u z, v z, z, 1), so
that its translation sits in column 2; ``ego2img = img_aug @ cam2img @ ego2cam @ inv(ego_aug)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance

from minkocc.datasets.transforms.loading import LoadOccupancyLabel
from minkocc.datasets.transforms.pseudo_labels import (
    LiftPseudoLabels,
    LoadPseudoLabels,
    SampleLattice,
)
from minkocc.datasets.transforms.voted_labels import LoadVotedLabels
from minkocc.datasets.transforms.weak_targets import LoadWeakOccupancy
from minkocc.registry import TRANSFORMS
from minkocc.structures.settings import check_number, check_share
from minkocc.structures.taxonomy import (
    DROPPED,
    FREE,
    IGNORED,
    UNVOTED,
    WEAK_DROPPED,
    WEAK_IGNORED,
    WEAK_OCCUPIED,
)
from minkocc.structures.voxel_grid import VoxelGrid


@TRANSFORMS.register_module()
class AugmentScene(BaseTransform):
    """Random flips along x and y and a rotation about z (paper Sec. V-B).

    Args:
        point_cloud_range: the model's range.
        voxel_size: the model's voxel size.
        flip: probability of each flip.
        yaw: largest rotation, radians.

    Raises:
        SettingError: a value makes no sense.
    """

    def __init__(
        self,
        point_cloud_range: Sequence[float],
        voxel_size: float,
        flip: float = 0.5,
        yaw: float = 0.3925,
    ) -> None:
        self.grid = VoxelGrid(point_cloud_range, voxel_size)
        self.flip = check_share("AugmentScene.flip", flip)
        self.yaw = check_number("AugmentScene.yaw", yaw, 0.0, 2 * np.pi)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draw ``ego_aug`` and apply it to points and voxel arrays."""
        rng: np.random.Generator = results["rng"]
        angle = rng.uniform(-self.yaw, self.yaw)
        signs = np.where(rng.random(2) < self.flip, -1.0, 1.0)
        ego_aug = np.eye(4)
        ego_aug[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        ego_aug[:2, :2] = np.diag(signs) @ ego_aug[:2, :2]
        results["ego_aug"] = ego_aug
        points = results["points"]
        points[:, :3] = points[:, :3] @ ego_aug[:3, :3].T.astype(np.float32)
        fills = {
            "voxel_semantics": IGNORED,
            "mask_camera": False,
            "weak_occupancy": WEAK_IGNORED,
            "voted_labels": UNVOTED,
        }
        present = {key: fill for key, fill in fills.items() if key in results}
        if present:
            source = voxel_sources(self.grid, ego_aug)
        for key, fill in present.items():
            results[key] = resample_voxels(results[key], source, fill)
        return results


def voxel_sources(grid: VoxelGrid, ego_aug: np.ndarray) -> np.ndarray:
    """Where each column of voxels was before the augmentation.

    A voxel comes from the voxel that contains ``inv(ego_aug) @ centre``. Heights stay, so that
    all voxels of a column come from the same height of one other column.

    Args:
        grid: of the arrays to resample.
        ego_aug: 4x4, may move x and y only.

    Returns:
        ``(X * Y,)`` int64: ``x * Y + y`` of the source column, -1 where it is outside the grid.

    Raises:
        ValueError: ``ego_aug`` moves z, or mixes it with x and y.
    """
    if ego_aug[:2, 2].any() or not np.array_equal(ego_aug[2:], np.eye(4)[2:]):
        raise ValueError(f"ego_aug moves z, expected flips and a rotation about z:\n{ego_aug}")
    size_x, size_y, _ = grid.shape
    x, y = np.divmod(np.arange(size_x * size_y), size_y)
    centres = grid.to_centre(np.stack([x, y, np.zeros_like(x)], axis=-1))
    back = np.linalg.inv(ego_aug)
    source = grid.to_index(centres @ back[:3, :3].T + back[:3, 3])
    return np.where(grid.contains(source), source[:, 0] * size_y + source[:, 1], -1)


def resample_voxels(array: np.ndarray, source: np.ndarray, fill: int | bool) -> np.ndarray:
    """A voxel array ``(X, Y, Z)`` with its columns taken from ``voxel_sources``.

    Args:
        array: ``(X, Y, Z)``.
        source: ``(X * Y,)``.
        fill: value of the columns that come from outside the grid.
    """
    out = array.reshape(len(source), -1).take(source, axis=0)
    out[source < 0] = fill  # -1 took the last column
    return out.reshape(array.shape)


@TRANSFORMS.register_module()
class AugmentImages(BaseTransform):
    """Resize and crop to the network's size, with random scale, shift, rotation and colour.

    The image is scaled to the target's width and the surplus height is cut from the top, where the
    sky is. Without ranges this is a plain resize. Every view draws its own augmentation.

    Args:
        image_size: network input ``(height, width)``.
        scale: range of an extra scale factor.
        shift: largest translation, as a share of the target's size.
        rotate: largest rotation, degrees.
        colour: largest relative change of brightness, contrast and saturation.

    Raises:
        SettingError: a value makes no sense.
    """

    def __init__(
        self,
        image_size: Sequence[int],
        scale: Sequence[float] = (1.0, 1.0),
        shift: float = 0.0,
        rotate: float = 0.0,
        colour: float = 0.0,
    ) -> None:
        self.image_size = (int(image_size[0]), int(image_size[1]))
        low, high = (check_number("AugmentImages.scale", s, 0.1, 10.0) for s in scale)
        self.scale = (low, check_number("AugmentImages.scale[1]", high, low, 10.0))
        self.shift = check_share("AugmentImages.shift", shift)
        self.rotate = check_number("AugmentImages.rotate", rotate, 0.0, 360.0)
        self.colour = check_share("AugmentImages.colour", colour)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``imgs`` by arrays and ``img_aug`` by what was done to each of them."""
        rng: np.random.Generator = results["rng"]
        images, matrices = [], []
        for image in results["imgs"]:
            matrix = self._matrix(image.size, rng)
            images.append(np.asarray(self._colour(self._warp(image, matrix), rng)))
            matrices.append(_on_rays(matrix))
        results["imgs"] = images
        results["img_aug"] = np.stack(matrices) @ results["img_aug"]
        return results

    def _matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """3x3 affine map from raw to network pixels, both measured from the top-left corner."""
        height, width = self.image_size
        base = width / size[0]
        fit = np.diag([base, base, 1.0])
        fit[1, 2] = height - base * size[1]  # cut from the top
        factor = rng.uniform(*self.scale)
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate))
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        move = rng.uniform(-self.shift, self.shift, 2) * (width, height)
        about_centre = np.array([[cos, -sin, move[0]], [sin, cos, move[1]], [0.0, 0.0, 1.0]])
        centre = np.eye(3)
        centre[:2, 2] = width / 2, height / 2
        return centre @ about_centre @ np.linalg.inv(centre) @ fit

    def _warp(self, image: Image.Image, matrix: np.ndarray) -> Image.Image:
        height, width = self.image_size
        factor = np.sqrt(np.linalg.det(matrix[:2, :2]))
        if factor < 1:  # shrink with a proper filter first; an affine warp alone would alias
            small = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
            shrink = np.diag([image.width / small[0], image.height / small[1], 1.0])
            image = image.resize(small, Image.Resampling.BILINEAR, reducing_gap=2.0)
            matrix = matrix @ shrink
        back = np.linalg.inv(matrix)
        return image.transform(
            (width, height),
            Image.Transform.AFFINE,
            tuple(back[:2].ravel()),
            Image.Resampling.BILINEAR,
        )

    def _colour(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        if not self.colour:
            return image
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(1 + rng.uniform(-self.colour, self.colour))
        return image


def plain_steps(steps: Iterable[BaseTransform], targets: bool) -> Iterator[BaseTransform]:
    """The steps of a training pipeline without what draws at random, and without 2D labels.

    Args:
        steps: of the pipeline.
        targets: whether to load 3D targets, dense or weak.
    """
    left_out: tuple[type[BaseTransform], ...] = (
        AugmentScene,
        DropVoxels,
        LoadPseudoLabels,
        LiftPseudoLabels,
        LoadVotedLabels,
        SampleLattice,
    )
    if not targets:
        left_out += (LoadOccupancyLabel, LoadWeakOccupancy)
    for step in steps:
        if isinstance(step, AugmentImages):
            yield AugmentImages(step.image_size)
        elif not isinstance(step, left_out):
            yield step


def _on_rays(affine: np.ndarray) -> np.ndarray:
    """A pixel affine map as a 4x4 on (u z, v z, z, 1)."""
    out = np.eye(4)
    out[:2, :3] = affine[:2]
    return out


@TRANSFORMS.register_module()
class DropVoxels(BaseTransform):
    """Ground-truth voxel dropout (paper Sec. V-B): some occupied target voxels are in no loss.

    Args:
        ratio: share of the occupied target voxels to drop.

    Raises:
        SettingError: it is no share.
    """

    def __init__(self, ratio: float = 0.1) -> None:
        self.ratio = check_share("DropVoxels.ratio", ratio)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mark dropped voxels as such, never as free."""
        rng: np.random.Generator = results["rng"]
        if "voxel_semantics" in results:
            semantics = results["voxel_semantics"]
            semantics.flat[self._draw(semantics < FREE, rng)] = DROPPED
        if "weak_occupancy" in results:
            weak = results["weak_occupancy"]
            weak.flat[self._draw(weak == WEAK_OCCUPIED, rng)] = WEAK_DROPPED
        return results

    def _draw(self, occupied: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Flat indices of the voxels to drop; numbers are drawn for the occupied ones alone."""
        places = np.flatnonzero(occupied)
        return places[rng.random(len(places), dtype=np.float32) < self.ratio]
