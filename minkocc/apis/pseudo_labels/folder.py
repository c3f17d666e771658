"""A folder of pseudo-labels: what is in it, whose it is, and how files get there."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.apis.pseudo_labels.images import KeyframeImage
from minkocc.datasets.transforms.pseudo_labels import label_path, read_label_image
from minkocc.files.label_images import grey_png, palette_png
from minkocc.files.pseudo_label_meta import PseudoLabelMetaError, meta_path, write_meta
from minkocc.files.reading import read_json
from minkocc.files.writing import atomic_write
from minkocc.structures.taxonomy import OCC3D, Taxonomy

UInt8 = NDArray[np.uint8]

_KINDS = ("labels", "confidence")
_REPORT = ("coverage.json", "coverage.png", "overlays")
_MAX_CHANGES = 3  # told in an error


class PseudoLabelFolder:
    """Reads and writes ``labels``, ``confidence`` and ``meta.json`` of one folder.

    Args:
        path: the folder; made when something is written.
        taxonomy: the classes of the labels.
    """

    def __init__(self, path: Path, taxonomy: Taxonomy = OCC3D) -> None:
        self.path, self.taxonomy = path, taxonomy

    def file(self, kind: str, image: KeyframeImage) -> Path:
        """Where an image's ``labels`` or ``confidence`` are."""
        return label_path(self.path, kind, image.camera, image.record["filename"])

    def finished(self, cameras: Iterable[str]) -> set[tuple[str, str]]:
        """The keys of the images of which both files are there."""
        return {
            (camera, stem)
            for camera in cameras
            for stem in set.intersection(*(self._stems(kind, camera) for kind in _KINDS))
        }

    def write(self, image: KeyframeImage, labels: UInt8, confidence: UInt8) -> None:
        """Write an image's files, the label last: where it is, its confidence is too."""
        painted = palette_png(labels, self.taxonomy)
        contents = (("confidence", grey_png(confidence)), ("labels", painted))
        for kind, content in contents:
            with atomic_write(self.file(kind, image)) as sink:
                sink.write(content)

    def read(self, image: KeyframeImage) -> tuple[UInt8, UInt8]:
        """2D ids and confidence of an image, ``(H, W)``.

        Raises:
            InputError: a file is damaged.
        """
        size = (image.record["height"], image.record["width"])
        labels, confidence = (
            read_label_image(self.file(kind, image), kind, size) for kind in _KINDS
        )
        return labels, confidence

    def remove_leftovers(self, images: Iterable[KeyframeImage]) -> None:
        """Delete what a killed run left half-written of these images, and of no others."""
        own = {self.file(kind, image) for image in images for kind in _KINDS}
        for folder in {path.parent for path in own}:
            for part in folder.glob(".*.part"):
                name = part.name[1:].rpartition(".png.")[0]
                if folder / f"{name}.png" in own:
                    part.unlink(missing_ok=True)

    def changes(self, meta: Mapping[str, Any]) -> list[str]:
        """What ``meta.json`` says otherwise than ``meta``, in words; nothing in a new folder."""
        path = meta_path(self.path)
        if not path.exists():
            stray = any(any(self.path.glob(f"{kind}/*/*.png")) for kind in _KINDS)
            return ["there is no meta.json"] if stray else []
        try:
            before = read_json(path)
        except (OSError, ValueError) as error:
            return [f"meta.json cannot be read: {error}"]
        return list(_differences(before, json.loads(json.dumps(dict(meta)))))

    def check(self, meta: Mapping[str, Any]) -> None:
        """Refuse a folder that was made with other settings.

        Raises:
            PseudoLabelMetaError: its ``meta.json`` says something else, or does not say how its
                labels came about.
        """
        changes = self.changes(meta)
        if changes:
            told = ", ".join(changes[:_MAX_CHANGES])
            raise PseudoLabelMetaError(
                f"{self.path} holds pseudo-labels that were made otherwise ({told}): name another "
                "--folder, or replace them with --overwrite"
            )

    def claim(self, meta: Mapping[str, Any], overwrite: bool) -> None:
        """Write ``meta.json`` unless it says the same; one process at a time does this.

        Args:
            meta: what it is to say.
            overwrite: delete what was made with other settings.

        Raises:
            PseudoLabelMetaError: the folder was made with other settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with _locked(self.path / ".lock"):
            if overwrite and self.changes(meta):
                for name in (*_REPORT, *_KINDS):
                    _remove(self.path / name)
                write_meta(self.path, meta)
            self.check(meta)
            if not meta_path(self.path).exists():
                write_meta(self.path, meta)

    def _stems(self, kind: str, camera: str) -> set[str]:
        folder = self.path / kind / camera
        if not folder.is_dir():
            return set()
        names = (path.name for path in folder.iterdir())
        return {name[: -len(".png")] for name in names if name.endswith(".png")}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block; a killed one lets go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where two JSON values differ, to the leaf."""
    keys: list[Any] = []
    if isinstance(before, dict) and isinstance(after, dict):
        keys = list({**before, **after})
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        keys = list(range(len(before)))
        before, after = dict(enumerate(before)), dict(enumerate(after))
    if not keys:
        if before != after:
            yield f"{place} {_short(before)} -> {_short(after)}"
        return
    for key in keys:
        yield from _differences(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
