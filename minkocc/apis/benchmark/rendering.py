"""What rendering loses of a scene that is known exactly, and what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from minkocc.datasets.transforms.loading import refine
from minkocc.datasets.transforms.pseudo_labels import LoadPseudoLabels
from minkocc.evaluation.report import aligned, cell
from minkocc.evaluation.voxel_iou import RINGS, percent_of, ring_of_voxels
from minkocc.files.occupancy import read_label
from minkocc.files.rig import image_size
from minkocc.models.render_cameras import RenderCameras
from minkocc.models.renderers import Renderer, build_renderer
from minkocc.ops import first_hit, pulsar_render
from minkocc.ops.sphere_hits import ego_rays
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.settings import RENDERERS, SettingError
from minkocc.structures.taxonomy import CLASSES, FREE, NUM_CLASSES, has_class_2d
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

COUNTED = (
    "pixels whose ray meets an occupied voxel of the dense label between 1 and 60 m; right is the "
    "class with most of a pixel that is covered by half at least"
)
VARIANTS: dict[str, tuple[str, float, float]] = {
    "spheres 0.4 m": ("spheres", 0.4, 0.0),
    "spheres 0.2 m": ("spheres", 0.2, 0.0),
    "spheres 0.1 m": ("spheres", 0.1, 0.0),
    "Pulsar 0.4 m": ("pytorch3d", 0.4, 0.0),
    "voxels 0.4 m": ("voxels", 0.4, 0.0),
    "voxels 0.4 m, opaque": ("voxels", 0.4, 20.0),
}
"""Renderer, edge in metres, and what is added to a voxel's logit of opacity: 0 as training begins,
at 0.98 along an edge. Pulsar's package is optional."""

_WIDTH = 200  # of the images, pixels: 1/8 of nuScenes'
_REACHED = 1e-3
RANGE = (1.0, 60.0)
_RINGS = ring_of_voxels(OCC3D_GRID)


@dataclass(frozen=True)
class Scene:
    """A frame's label and cameras."""

    semantics: NDArray[np.uint8]
    """``(200, 200, 16)`` Occ3D ids."""
    visible: NDArray[np.bool_]
    """``(200, 200, 16)``, what a camera sees."""
    ego2cam: Tensor
    """(N, 4, 4) float64."""
    cam2img: Tensor
    """(N, 3, 3) float64, of the rendered images."""
    size: tuple[int, int]
    """(h, w) of them."""
    labels: NDArray[np.uint8] | None
    """``(N, h, w)`` 2D ids, where the root has them."""

    def to(self, device: str) -> Scene:
        """With its cameras on a device."""
        return replace(self, ego2cam=self.ego2cam.to(device), cam2img=self.cam2img.to(device))


def read_scene(frame: dict[str, Any], root: Path, labels: str | None, width: int = _WIDTH) -> Scene:
    """What an info file says of a frame, with its dense label.

    Args:
        frame: an entry of ``read_infos(...)["data_list"]``.
        root: of its files.
        labels: folder of 2D labels in the root; None reads none.
        width: of the rendered images, pixels, as nearly as whole steps of the raw ones allow.
    """
    raw = image_size(frame)
    lattice = RenderLattice.central(max(1, raw[1] // width))
    dense = read_label(root / frame["occ_path"], ("semantics", "mask_camera"))
    images = None
    if labels:
        step = {**frame, "data_root": str(root), "phase": None, "raw_size": raw}
        found = LoadPseudoLabels(labels).transform(step).get("img_semantics")
        images = None if found is None else lattice.pick(np.asarray(found))
    return Scene(
        dense["voxel_semantics"],
        dense["mask_camera"],
        *RenderCameras.of_frame(frame, lattice),
        images,
    )


def first_voxels(scene: Scene) -> NDArray[np.int64]:
    """The first occupied voxel of every pixel's ray from 1 to 60 m, ``(N * h * w,)``; -1: none.

    By the walk of RayIoU, which no renderer shares.
    """
    rays = ego_rays(scene.ego2cam, scene.cam2img, scene.size)
    solid = torch.from_numpy(scene.semantics < FREE)
    return first_hit.first_voxels(solid, OCC3D_GRID, *rays, RANGE).flatten().numpy()


def rendered_classes(scene: Scene, variant: str) -> tuple[NDArray[np.int64], float | None]:
    """The class of every pixel under a variant, and the share of visible voxels it learns for.

    Returns:
        ``(N * h * w,)`` Occ3D ids, 17 where less than half is covered; percent of the occupied
        voxels that a camera sees which get a gradient from some pixel.
    """
    name, voxel_size, logit = VARIANTS[variant]
    renderer = build_renderer(name, voxel_size, RANGE, 8, 3e-3, 1e-6)
    ratio = round(OCC3D_GRID.voxel_size / voxel_size)
    semantics = refine(scene.semantics, ratio)
    occupied = semantics < FREE
    index = torch.from_numpy(np.argwhere(occupied))
    kinds = torch.from_numpy(semantics[occupied].astype(np.int64))
    values = torch.nn.functional.one_hot(kinds, NUM_CLASSES).float().requires_grad_()
    out = render_scene(renderer, scene, index, values, logit)
    covered = out.coverage.detach().flatten() > 0.5
    found = torch.where(covered, out.values.detach().argmax(1).flatten(), FREE)
    out.values.sum().backward()
    assert values.grad is not None
    seen = refine(scene.visible, ratio)[occupied]
    reached = (values.grad[:, 0] > _REACHED).numpy() & seen
    return found.numpy(), percent_of(reached.sum(), seen.sum())


def render_scene(
    renderer: Renderer,
    scene: Scene,
    index: Tensor,
    values: Tensor,
    logit: float,
    learns: bool = False,
) -> Any:
    """The voxels under one logit of opacity; ``learns``: with the gradient of it, as training."""
    grid = VoxelGrid(OCC3D_GRID.point_cloud_range, renderer.voxel_size)
    raw = values.new_zeros(len(index), 2)
    raw[:, 1] = logit
    raw.requires_grad_(learns)
    centres = grid.to_centre(index)
    return renderer(raw, values, centres, scene.ego2cam, scene.cam2img, scene.size)


def installed_variants() -> list[str]:
    """Of ``VARIANTS``, those that can be rendered here."""
    installed = installed_renderers()
    return [name for name, (renderer, *_) in VARIANTS.items() if renderer in installed]


def installed_renderers() -> list[str]:
    """The renderers that can be built here: Pulsar's package is optional."""
    try:
        pulsar_render.pulsar()
    except SettingError:
        return [name for name in RENDERERS if name != "pytorch3d"]
    return list(RENDERERS)


def measure_loss(
    frames: Sequence[dict[str, Any]], root: Path, labels: str | None = None
) -> dict[str, Any]:
    """What each variant that is installed shows of the dense labels of frames, in percent.

    Args:
        frames: of an info file.
        root: of their files.
        labels: folder of 2D labels in the root, to compare with too.
    """
    shape = (len(RINGS), NUM_CLASSES, 3)  # pixels, right, covered by another class
    variants = installed_variants()
    counts = {name: np.zeros(shape, np.int64) for name in variants}
    images = {name: np.zeros(2, np.int64) for name in variants}
    reach: dict[str, list[float | None]] = {name: [] for name in variants}
    for frame in tqdm(frames, desc="rendering", unit="frame"):
        scene = read_scene(frame, root, labels)
        first = first_voxels(scene)
        for name in variants:
            found, reached = rendered_classes(scene, name)
            counts[name] += _counted(scene, first, found)
            reach[name].append(reached)
            if scene.labels is not None:
                wanted = scene.labels.reshape(-1)
                used = has_class_2d(wanted) & (first >= 0)
                images[name] += [used.sum(), (found[used] == wanted[used] - 1).sum()]
    return {
        "counted": COUNTED,
        "frames": len(frames),
        "variants": {
            name: {
                **_shares(counts[name]),
                "image": percent_of(images[name][1], images[name][0]),
                "visible_voxels_reached": _mean(reach[name]),
            }
            for name in variants
        },
    }


def _counted(scene: Scene, first: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    met = first >= 0
    voxel = first[met]
    truth, ring = scene.semantics.reshape(-1)[voxel].astype(int), _RINGS.reshape(-1)[voxel]
    got = found[met]
    out = np.zeros((len(RINGS), NUM_CLASSES, 3), np.int64)
    for column, where in enumerate((got >= 0, got == truth, (got != truth) & (got < FREE))):
        np.add.at(out[..., column], (ring[where], truth[where]), 1)
    return out


def _shares(counts: NDArray[np.int64]) -> dict[str, Any]:
    whole = counts.sum((0, 1))
    return {
        "pixels": int(whole[0]),
        "right": percent_of(whole[1], whole[0]),
        "another_class": percent_of(whole[2], whole[0]),
        "uncovered": percent_of(whole[0] - whole[1] - whole[2], whole[0]),
        "rings": {
            name: percent_of(ring[:, 1].sum(), ring[:, 0].sum())
            for name, ring in zip(RINGS, counts)
        },
        "classes": {
            name: percent_of(counts[:, i, 1].sum(), counts[:, i, 0].sum())
            for i, name in enumerate(CLASSES)
        },
        "pixels_by_class": dict(zip(CLASSES, counts[..., 0].sum(0).tolist())),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 2) if known else None


def loss_table(figures: Mapping[str, Any]) -> str:
    """The figures in Markdown."""
    variants = figures["variants"]
    rows = [["percent of the pixels", *variants]]
    for key, title in (
        ("right", "the first voxel's class"),
        ("another_class", "another class"),
        ("uncovered", "less than half covered"),
        ("image", "the 2D label's class"),
        ("visible_voxels_reached", "visible voxels with a gradient"),
    ):
        rows.append([title, *(cell(v[key], 1) for v in variants.values())])
    for group in ("rings", "classes"):
        names = next(iter(variants.values()))[group]
        rows += [
            [f"right, {name}", *(cell(v[group][name], 1) for v in variants.values())]
            for name in names
        ]
    return "\n".join([f"({figures['counted']})", "", *aligned(rows)])
