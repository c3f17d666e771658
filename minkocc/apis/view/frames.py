"""What can be shown of the frames of an info file; what has no data is absent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from PIL import Image

from minkocc.apis.frame_pictures import weak_occupancy_step, without_class
from minkocc.apis.inference import prediction_data
from minkocc.apis.view.boxes import has_tables, manifest_boxes, table_boxes
from minkocc.apis.view.predictions import Predicted, Predictor, shared_groups
from minkocc.config.classes import recipe_classes
from minkocc.datasets.manifest import LogError
from minkocc.datasets.nuscenes_occ import located
from minkocc.datasets.transforms.loading import read_image, read_sweep
from minkocc.datasets.transforms.pseudo_labels import (
    PSEUDO_LABELS,
    LoadPseudoLabels,
    label_path,
)
from minkocc.datasets.weak_occupancy import sweeps_around
from minkocc.files.infos import InfoError, read_infos
from minkocc.files.occupancy import read_label
from minkocc.files.rig import image_size, mount_of
from minkocc.occupancy_labels.scene import Box
from minkocc.registry import TRANSFORMS
from minkocc.structures.taxonomy import FREE
from minkocc.visualization.cameras import overlay
from minkocc.visualization.errors import compare
from minkocc.visualization.wireframes import ImagePlane, image_plane

LABEL, VISIBLE, WEAK = "label", "visible label", "weak target"
IMAGE, PSEUDO_LABEL = "image", "pseudo-label"

_KEPT = 24  # frames whose predictions and targets stay in memory: 2.5 MB each
_IMAGE_WIDTH = 480  # pixels, as sent to the browser
_PLANE_DEPTH = 4.0  # metres from a camera to its image

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Volume:
    """Voxels to be drawn."""

    semantics: NDArray[np.uint8]
    """``(200, 200, 16)``: rows of the palette; 17 and above is not drawn."""
    kind: str = "class"
    """``"class"``, ``"error"`` (kinds of ``visualization.errors``) or ``"weak"``."""
    predicted: Predicted | None = None
    """Where it comes from, if it is a prediction."""


class ViewedFrames:
    """The frames of an info file, and everything that there is of each.

    Files are read when a layer is first asked for.

    Args:
        cfg: a resolved recipe: says which weak target is trained on, and where pseudo-labels are.
        infos: the info file, in its data root.
        predictors: at most two; the errors are those of each against the label.
        logs: manifests whose boxes are drawn; without any those of the root's tables.

    Raises:
        InfoError: the info file cannot be used, or holds no frame.
        LogError: a manifest cannot be used, or has no frame of the info file.
        PredictionError: the predictors tell other classes apart.
    """

    def __init__(
        self,
        cfg: Config,
        infos: Path,
        predictors: Sequence[Predictor] = (),
        logs: Sequence[Path] = (),
    ) -> None:
        init_default_scope("minkocc")
        data = prediction_data(cfg)
        self._own_groups = recipe_classes(cfg)
        taxonomy = self._own_groups.taxonomy
        content = read_infos(infos, bool(data.get("paths_leave_root", False)), taxonomy)
        self.frames: list[dict[str, Any]] = content["data_list"]
        if not self.frames:
            raise InfoError(f"info file {infos} holds no frame: create it with other --val-scenes")
        self.root = infos.parent
        self._version = str(content["metainfo"].get("version", ""))
        self._by_token = {frame["token"]: frame for frame in self.frames}
        self._log_boxes = manifest_boxes(logs, taxonomy) if logs else None
        if self._log_boxes is not None and not self._log_boxes.keys() & self._by_token.keys():
            raise LogError(
                f"--log {logs[0]} has no frame of {infos}: name the manifests of its logs"
            )
        self._weak_frames: tuple[int, int] = tuple(data.get("weak_frames", (8, 0)))
        self._weak_step = TRANSFORMS.build(weak_occupancy_step(cfg))
        self._pseudo_labels = LoadPseudoLabels(cfg.get("pseudo_labels", PSEUDO_LABELS))
        self._kept: OrderedDict[tuple[int, str], Any] = OrderedDict()
        self.predict_by(predictors)

    def predict_by(self, predictors: Sequence[Predictor]) -> None:
        """Say what predicts the frames, before anything is shown.

        Args:
            predictors: at most two.

        Raises:
            PredictionError: they tell other classes apart.
        """
        self.groups = shared_groups(list(predictors), self._own_groups)
        self._predictors = _named(predictors)

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    @cached_property
    def layers(self) -> dict[str, Callable[[int], Volume | None]]:
        """What reads the voxels of each layer, by its name; None where a frame has none."""
        layers: dict[str, Callable[[int], Volume | None]] = {}
        labelled = any(frame["occ_path"] for frame in self.frames)
        for name in self._predictors:
            layers[f"prediction{name}"] = partial(self._prediction, name)
        if labelled:
            layers[LABEL] = partial(self._label, False)
            layers[VISIBLE] = partial(self._label, True)
            for name in self._predictors:
                layers[f"errors{name}"] = partial(self._errors, name)
        if self._has_sweeps(self.frames[0]):
            layers[WEAK] = self._weak
        return layers

    @property
    def pictures(self) -> list[str]:
        """What the cameras can show: names for ``images``."""
        found = [IMAGE]
        camera, view = next(iter(self.frames[0]["images"].items()))
        folder = self.root / self._pseudo_labels.folder
        if label_path(folder, "labels", camera, view["img_path"]).is_file():
            found.append(PSEUDO_LABEL)
        for name, predictor in self._predictors.items():
            found += [f"rendered{name}, {path}" for path in predictor.paths]
        return found

    @property
    def has_boxes(self) -> bool:
        """Whether there are annotated boxes."""
        if self._log_boxes is not None:
            return any(self._log_boxes.values())
        return has_tables(self.root, self._version)

    def title(self, index: int) -> str:
        """Scene and token of a frame."""
        return f"{self.frames[index]['scene_name']}  {self.frames[index]['token']}"

    def volume(self, index: int, layer: str) -> Volume | None:
        """The voxels of a layer, or None where the frame has none.

        Raises:
            UserError: a file is damaged.
        """
        return self._remembered(index, layer, lambda: self.layers[layer](index))

    def sweep(self, index: int) -> NDArray[np.float32] | None:
        """The returns of the frame's own sweep, ``(P, 4)``: x, y, z in ego, intensity in 0..1.

        Raises:
            InputError: the file is damaged.
        """
        lidar = self.frames[index]["lidar_points"]
        path = self.root / lidar["lidar_path"]
        if not path.is_file():
            return None
        return read_sweep(path, lidar["lidar2ego"], mount_of(self.frames[index]))

    def planes(self, index: int) -> dict[str, ImagePlane]:
        """Where each camera's image lies."""
        return {
            camera: image_plane(
                view["cam2img"], view["ego2cam"], (view["height"], view["width"]), _PLANE_DEPTH
            )
            for camera, view in self.frames[index]["images"].items()
        }

    def images(self, index: int, picture: str) -> dict[str, NDArray[np.uint8]]:
        """A picture of each camera, small; those without a file are left out.

        Args:
            index: of the frame.
            picture: one of ``pictures``.

        Raises:
            UserError: a file is damaged.
        """
        labels = None if picture == IMAGE else self._labels_2d(index, picture)
        found, taxonomy = {}, self.groups.taxonomy
        for number, (camera, view) in enumerate(self.frames[index]["images"].items()):
            path = self.root / view["img_path"]
            if path.is_file():
                image = _small(read_image(path, view))
                found[camera] = (
                    image if labels is None else overlay(image, labels[number], taxonomy)
                )
        return found

    def boxes(self, index: int) -> list[Box]:
        """The annotated boxes of a frame; the first call reads the tables.

        Raises:
            InfoError: the tables are broken.
        """
        return self._boxes.get(self.frames[index]["token"], [])

    @cached_property
    def _boxes(self) -> dict[str, list[Box]]:
        if self._log_boxes is not None:
            return self._log_boxes
        return table_boxes(self.root, self._version, self._by_token.keys())

    def _remembered(self, index: int, name: str, read: Callable[[], ValueT]) -> ValueT:
        key = (index, name)
        if key not in self._kept:
            self._kept[key] = read()
            if len(self._kept) > _KEPT * max(1, len(self._predictors)):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        value: ValueT = self._kept[key]
        return value

    def _predicted(self, name: str, index: int) -> Predicted | None:
        predictor = self._predictors[name]
        read = partial(predictor.predict, self.frames[index])
        return self._remembered(index, f"predicted{name}", read)

    def _prediction(self, name: str, index: int) -> Volume | None:
        predicted = self._predicted(name, index)
        return None if predicted is None else Volume(predicted.semantics, predicted=predicted)

    def _label(self, visible: bool, index: int) -> Volume | None:
        label = self._read_label(index)
        if label is None:
            return None
        semantics, mask = label
        return Volume(np.where(mask, semantics, FREE).astype(np.uint8) if visible else semantics)

    def _errors(self, name: str, index: int) -> Volume | None:
        label, predicted = self._read_label(index), self._predicted(name, index)
        if label is None or predicted is None:
            return None
        return Volume(compare(predicted.semantics, *label), "error", predicted)

    def _weak(self, index: int) -> Volume | None:
        frame = self.frames[index]
        sources = sweeps_around(frame, self._by_token.get, self._weak_frames)
        if not all((self.root / source["lidar_path"]).is_file() for source in sources):
            return None
        begin = {
            **located(frame, self.root),
            "phase": None,
            "weak_sources": lambda: sources,
            "taxonomy": self.groups.taxonomy,
        }
        return Volume(without_class(self._weak_step.transform(begin)["weak_occupancy"]), "weak")

    def _read_label(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        path = self.frames[index]["occ_path"]
        if not path or not (self.root / path).is_file():
            return None
        keys = ("semantics", "mask_camera")
        label = read_label(self.root / path, keys, self.groups.taxonomy)
        return self.groups.grouped(label["voxel_semantics"]), label["mask_camera"]

    def _labels_2d(self, index: int, picture: str) -> NDArray[np.uint8] | None:
        if picture == PSEUDO_LABEL:
            return self._read_pseudo_labels(index)
        for name in self._predictors:
            predicted = self._predicted(name, index)
            for path, ids in (predicted.rendered if predicted else {}).items():
                if picture == f"rendered{name}, {path}":
                    return ids
        return None

    def _read_pseudo_labels(self, index: int) -> NDArray[np.uint8] | None:
        frame = self.frames[index]
        begin = {
            **frame,
            "data_root": self.root,
            "phase": None,
            "raw_size": image_size(frame),
            "taxonomy": self.groups.taxonomy,
        }
        labels = self._pseudo_labels.transform(begin).get("img_semantics")
        return None if labels is None else self.groups.grouped_2d(labels)

    def _has_sweeps(self, frame: Mapping[str, Any]) -> bool:
        return (self.root / frame["lidar_points"]["lidar_path"]).is_file()


def _named(predictors: Sequence[Predictor]) -> dict[str, Predictor]:
    """What is written behind 'prediction' and 'errors' to tell them apart."""
    if len(predictors) == 1:
        return {"": predictors[0]}
    names = [f" {predictor.name}" for predictor in predictors]
    if len(set(names)) < len(names):
        names = [f" {number}" for number in range(1, len(names) + 1)]
    return dict(zip(names, predictors))


def _small(image: Image.Image) -> NDArray[np.uint8]:
    """An image as it is sent to the browser."""
    image.thumbnail((_IMAGE_WIDTH, image.height))
    return np.asarray(image)
