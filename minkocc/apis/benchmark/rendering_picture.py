"""What each renderer shows of a pedestrian, near and far, beside the photo and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.apis.benchmark.rendering import (
    Scene,
    first_voxels,
    installed_variants,
    read_scene,
    rendered_classes,
)
from minkocc.datasets.transforms.loading import read_image
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES, FREE, PALETTE, PALETTE_2D
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.visualization.sheet import Picture

_PEDESTRIAN = CLASSES.index("pedestrian")
_AROUND = 2.0  # metres from the distance that is asked for
_CROP = (36, 32)  # rows and columns of the rendered image


class Sighting(NamedTuple):
    """A pedestrian in an image."""

    frame: dict[str, Any]
    view: int
    corner: tuple[int, int]
    """Row and column of the crop in the rendered image."""
    metres: float
    pixels: int


def find_pedestrian(frames: Sequence[dict[str, Any]], root: Path, distance: float) -> Sighting:
    """The one with most pixels of those whose first voxel is about so far from the vehicle.

    Args:
        frames: of an info file.
        root: of their files.
        distance: metres on the ground.

    Raises:
        UserError: no camera sees one there.
    """
    best: Sighting | None = None
    for frame in tqdm(frames, desc=f"pedestrian at {distance:g} m", unit="frame"):
        scene = read_scene(frame, root, None)
        first = first_voxels(scene).reshape(len(scene.ego2cam), *scene.size)
        place = np.stack(np.unravel_index(np.maximum(first, 0), OCC3D_GRID.shape), -1)
        away = np.linalg.norm(OCC3D_GRID.to_centre(place)[..., :2], axis=-1)
        kind = scene.semantics.reshape(-1)[first]
        wanted = (first >= 0) & (kind == _PEDESTRIAN) & (np.abs(away - distance) < _AROUND)
        view = int(wanted.sum((1, 2)).argmax())
        count = int(wanted[view].sum())
        if count > (best.pixels if best else 0):
            centre = np.median(np.argwhere(wanted[view]), axis=0)
            most = np.array(scene.size) - _CROP
            corner = np.clip((centre - np.array(_CROP) / 2).round(), 0, np.maximum(most, 0))
            row, column = map(int, corner)
            metres = float(np.median(away[view][wanted[view]]))
            best = Sighting(frame, view, (row, column), metres, count)
    if best is None:
        raise UserError(
            f"no camera sees a pedestrian at {distance:g} m in {len(frames)} frames: give more "
            "--frames"
        )
    return best


def pedestrian_row(
    sighting: Sighting, root: Path, labels: str | None, variants: Sequence[str] | None = None
) -> list[Picture]:
    """The photo, the 2D label, the first voxels on the rays and what each variant shows, cropped.

    Args:
        sighting: of ``find_pedestrian``.
        root: of the frame's files.
        labels: folder of 2D labels in the root; None leaves them out.
        variants: names of ``VARIANTS``; None draws all that are installed.
    """
    scene = read_scene(sighting.frame, root, labels)
    first = first_voxels(scene)
    truth = np.where(first >= 0, scene.semantics.reshape(-1)[first], FREE)
    photo = _photo(sighting, root, scene)
    row = [(f"photo, {sighting.metres:.0f} m", photo)]
    if scene.labels is not None:
        row.append(("2D label", PALETTE_2D[_cropped(scene.labels, sighting)]))
    row.append(("first voxel", _coloured(truth, scene, sighting)))
    for name in installed_variants() if variants is None else variants:
        row.append((name, _coloured(rendered_classes(scene, name)[0], scene, sighting)))
    return row


def _coloured(ids: NDArray[np.integer], scene: Scene, sighting: Sighting) -> NDArray[np.uint8]:
    return PALETTE[_cropped(ids.reshape(len(scene.ego2cam), *scene.size), sighting)]


def _cropped(images: NDArray[Any], sighting: Sighting) -> NDArray[Any]:
    (top, left), (rows, columns) = sighting.corner, _CROP
    return images[sighting.view, top : top + rows, left : left + columns]


def _photo(sighting: Sighting, root: Path, scene: Scene) -> NDArray[np.uint8]:
    record = list(sighting.frame["images"].values())[sighting.view]
    image = np.asarray(read_image(root / record["img_path"], record).convert("RGB"))
    step = image.shape[1] // scene.size[1]
    (top, left), (rows, columns) = sighting.corner, _CROP
    return image[top * step : (top + rows) * step, left * step : (left + columns) * step]
