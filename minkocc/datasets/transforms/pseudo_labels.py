"""Steps for 2D pseudo-labels: read them, lift them to the returns, keep what is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray
from PIL import Image

from minkocc.datasets.transforms.loading import InputError, check_upright
from minkocc.files.images import UNREADABLE_IMAGE, open_image
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.files.rig import image_size
from minkocc.ops.point_sampling import project_points
from minkocc.registry import TRANSFORMS
from minkocc.structures.phase import Phase, has_2d_term
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.taxonomy import (
    NUM_CLASSES,
    NUM_IDS_2D,
    OCC3D,
    Taxonomy,
    has_class_2d,
)

PSEUDO_LABELS = "pseudo_labels"
"""The folder of the pseudo-labels under a data root."""


@TRANSFORMS.register_module()
class LoadPseudoLabels(BaseTransform):
    """2D pseudo-labels and their confidence (y_2D and c of the paper's Eq. 5).

    Their classes must be those of ``taxonomy``, or Occ3D's.

    In training they are read where a loss of the sample's phase uses them, and need not be there
    otherwise. Writes ``img_semantics`` uint8 ``(N, H, W)`` of 2D ids and ``img_confidence`` uint8
    ``(N, H, W)``, 255 = 1.0. At test time frames without pseudo-labels pass through.

    Args:
        folder: relative to the data root, or absolute.
        weight_2d: of the rendered 2D term (as in ``PulsarHead``).
        shader_weight: of its shader path.
        tied_weight: of its tied path.
        warm_shader: whether the shader learns during the warm start.
        lift_weight: of the lifted labels (as in ``MinkOcc``).

    Raises:
        InputError: a file is missing in training, or of a wrong size or id.
        PseudoLabelMetaError: ``meta.json`` is missing or not of our classes.
    """

    def __init__(
        self,
        folder: str = PSEUDO_LABELS,
        weight_2d: float = 1.0,
        shader_weight: float = 0.5,
        tied_weight: float = 0.5,
        warm_shader: bool = True,
        lift_weight: float = 0.0,
    ) -> None:
        self.folder = folder
        self._used = {
            phase: has_2d_term(phase, weight_2d, shader_weight, tied_weight, warm_shader)
            for phase in Phase
        }
        self._used[Phase.WEAK] |= bool(lift_weight)
        self._known: Path | None = None  # the folder whose meta.json this process has read

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the pseudo-labels."""
        root, phase = Path(results["data_root"]) / self.folder, results["phase"]
        camera, view = next(iter(results["images"].items()))
        there = label_path(root, "labels", camera, view["img_path"]).is_file
        if not (there() if phase is None else self._used[phase]):
            return results
        if root != self._known:
            read_meta(root, results.get("taxonomy", OCC3D))
            self._known = root
        for key, kind in (("img_semantics", "labels"), ("img_confidence", "confidence")):
            results[key] = read_views(root, kind, results)
        _check_ids(results["img_semantics"], root, results.get("taxonomy", OCC3D))
        return results


def _check_ids(labels: NDArray[np.uint8], root: Path, taxonomy: Taxonomy) -> None:
    """Ids between the taxonomy's last class and sky stand for nothing."""
    last = len(taxonomy.classes)
    if last < NUM_CLASSES and ((labels > last) & (labels <= NUM_CLASSES)).any():
        raise InputError(
            f"pseudo-labels in {root} hold ids above {last}, and the taxonomy has {last} classes: "
            "generate them again with tools/generate_pseudo_labels.py"
        )


def label_path(root: Path, kind: str, camera: str, image: str) -> Path:
    """The file of an image's ``"labels"`` or ``"confidence"`` under a pseudo-label folder."""
    return root / kind / camera / f"{Path(image).stem}.png"


def read_view(root: Path, kind: str, camera: str, view: dict[str, Any]) -> NDArray[np.uint8]:
    """What ``read_label_image`` reads, of an image as the info file has it."""
    path = label_path(root, kind, camera, view["img_path"])
    return read_label_image(path, kind, (view["height"], view["width"]))


def read_views(root: Path, kind: str, frame: Mapping[str, Any]) -> NDArray[np.uint8]:
    """What ``read_view`` reads of all images of a frame, ``(N, H, W)``, at the largest one's size.

    Raises:
        InputError: a file is missing, cannot be read, or is of a wrong size or id.
    """
    height, width = image_size(frame)
    maps = [read_view(root, kind, *each) for each in frame["images"].items()]
    return np.stack([_enlarged(labels, (width, height)) for labels in maps])


def _enlarged(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if labels.shape[::-1] == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def read_label_image(path: Path, kind: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """2D ids (``"labels"``) or ``"confidence"`` of an image, ``(H, W)``.

    Args:
        path: the file.
        kind: one of the two.
        size: ``(H, W)`` of the image.

    Raises:
        InputError: the file is missing, cannot be read, or is of a wrong size or id.
    """
    try:
        with open_image(path) as file:
            _check_label_image(file, path, kind, size)
            array = np.array(file)
    except FileNotFoundError as error:
        raise InputError(
            f"pseudo-label {path} does not exist: create it with tools/generate_pseudo_labels.py "
            "(those of a synthetic root come with it: tools/create_synthetic.py)"
        ) from error
    except UNREADABLE_IMAGE as error:
        raise InputError(
            f"pseudo-label {path} cannot be read ({error}): delete it and run "
            "tools/generate_pseudo_labels.py again"
        ) from error
    if kind == "labels" and array.max() >= NUM_IDS_2D:
        raise InputError(
            f"pseudo-label {path}: id {array.max()}, expected 0..{NUM_IDS_2D - 1}; generate it "
            "again with tools/generate_pseudo_labels.py"
        )
    return array


def _check_label_image(file: Image.Image, path: Path, kind: str, size: tuple[int, int]) -> None:
    """Refuse what is not one byte a pixel of its image, before the pixels are unpacked."""
    modes = ("L", "P") if kind == "labels" else ("L",)  # a palette's entry is no confidence
    width, height = file.size
    if (height, width) != size or file.mode not in modes:
        raise InputError(
            f"pseudo-label {path} is {width}x{height} of mode {file.mode}, expected "
            f"{size[1]}x{size[0]} of mode {' or '.join(modes)} like its image: generate it again"
        )
    if file.format != "PNG":  # a JPEG's pixels are nearly those that were meant: other ids
        raise InputError(
            f"pseudo-label {path} is a {file.format}, expected a PNG, which keeps ids as they "
            "are: generate it again"
        )
    check_upright(file, f"pseudo-label {path}")


@TRANSFORMS.register_module()
class LiftPseudoLabels(BaseTransform):
    """Gives each return of the current sweep the pseudo-label of its pixel.

    Stands after ``LoadPseudoLabels``, before anything that moves the points or picks pixels.
    Writes, for every (return, view) pair that has a label, ``lift_point`` int64 (a row of
    ``points``), ``lift_label`` uint8 (an Occ3D id) and ``lift_confidence`` uint8, each ``(M,)``;
    nothing in the phases that have dense labels.

    Args:
        lift_weight: of the loss that reads them (that of ``MinkOcc``); with 0 nothing is done.
    """

    def __init__(self, lift_weight: float) -> None:
        self.lift_weight = lift_weight

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the labels of the returns, or nothing."""
        phase = results["phase"]
        if not self.lift_weight or phase is None or phase.needs_dense:
            return results
        points, ego2img = results["points"], results["cam2img"] @ results["ego2cam"]
        current = np.flatnonzero(points[:, 4] == 0)
        row, label, confidence = lift_labels(
            points[current, :3], ego2img, results["img_semantics"], results["img_confidence"]
        )
        results["lift_point"] = current[row]
        results["lift_label"], results["lift_confidence"] = label, confidence
        return results


def lift_labels(
    points: NDArray[np.floating],
    ego2img: NDArray[np.floating],
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
    """The pseudo-label of every (return, view) pair that has one.

    Args:
        points: ``(P, 3)`` in the unaugmented ego frame, metres.
        ego2img: ``(N, 4, 4)`` to raw pixels.
        labels: 2D ids ``(N, H, W)``.
        confidence: ``(N, H, W)``.

    Returns:
        Point index, Occ3D id and confidence, each ``(M,)``.
    """
    height, width = labels.shape[1:]
    at = pixels_of(points, ego2img, (height, width))
    label = labels[at.view, at.row, at.column]
    labelled = has_class_2d(label)
    found = confidence[at.view, at.row, at.column]
    return at.point[labelled], label[labelled] - 1, found[labelled]


class PixelsOf(NamedTuple):
    """The pairs of a point and a view that it falls into, each ``(M,)``."""

    view: NDArray[np.int64]
    point: NDArray[np.int64]
    """Row of the points."""
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    depth: NDArray[np.float64]
    """Metres along the optical axis."""


def pixels_of(
    points: NDArray[np.floating], ego2img: NDArray[np.floating], size: tuple[int, int]
) -> PixelsOf:
    """The pixel of every (point, view) pair that has one.

    Args:
        points: ``(P, 3)`` in the unaugmented ego frame, metres.
        ego2img: ``(N, 4, 4)`` to raw pixels.
        size: ``(height, width)`` of the images.
    """
    uv, depth, valid = project_points(
        torch.from_numpy(points.astype(np.float64)), torch.from_numpy(ego2img), size
    )
    view, point = (index.numpy() for index in valid.nonzero(as_tuple=True))
    column, row = np.floor(uv.numpy()[view, point]).astype(np.int64).T
    return PixelsOf(view, point, row, column, depth.numpy()[view, point])


@TRANSFORMS.register_module()
class SampleLattice(BaseTransform):
    """Keeps of the pseudo-labels the pixels that are rendered: one in ``render_stride`` squared.

    Writes ``lattice``, a ``RenderLattice``: drawn in training, so that every label is used in the
    end, central at test time. Maps that were not loaded are not missed.

    Args:
        render_stride: raw pixels per rendered pixel, that of ``PulsarHead``.
    """

    def __init__(self, render_stride: int) -> None:
        self.render_stride = render_stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draw the lattice and read the maps there."""
        training = results["phase"] is not None
        lattice = (
            RenderLattice.drawn(self.render_stride, results["rng"])
            if training
            else RenderLattice.central(self.render_stride)
        )
        results["lattice"] = lattice
        for key in ("img_semantics", "img_confidence"):
            if key in results:
                results[key] = np.ascontiguousarray(lattice.pick(results[key]))
        return results
