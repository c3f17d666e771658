"""Which images get pseudo-labels, in batches that do not depend on who works on them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkocc.datasets.nuscenes_tables import open_keyframes
from minkocc.files.infos import InfoError, read_infos
from minkocc.structures.taxonomy import OCC3D, Taxonomy


@dataclass(frozen=True)
class KeyframeImage:
    """A camera's image of a keyframe.

    Args:
        camera: its name.
        record: of the table ``sample_data``: ``filename``, ``width``, ``height``, ...
    """

    camera: str
    record: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Camera and stem: what names the image's pseudo-label."""
        return self.camera, Path(self.record["filename"]).stem


Batch = list[KeyframeImage]


@dataclass(frozen=True)
class KeyframeImages:
    """The images of one moment.

    Args:
        scene: name of its scene.
        token: of its sample.
        images: one a camera.
    """

    scene: str
    token: str
    images: list[KeyframeImage]


@dataclass(frozen=True)
class Selection:
    """The keyframes that are to be labelled.

    Args:
        keyframes: in the order of their scenes and of time.
        image_size: width and height if all keyframes of the root have the same, else None.
    """

    keyframes: list[KeyframeImages]
    image_size: tuple[int, int] | None

    @property
    def cameras(self) -> list[str]:
        """The cameras whose images they are, those of every keyframe."""
        return [image.camera for image in self.keyframes[0].images]

    def images(self) -> list[KeyframeImage]:
        """All images, keyframe by keyframe."""
        return [image for keyframe in self.keyframes for image in keyframe.images]

    def batches(self, size: int) -> list[Batch]:
        """The images in batches of ``size``, the last of a scene perhaps smaller.

        No batch spans two scenes: what a model computes can depend on the batch in the last bits,
        and so it depends neither on the selected scenes nor on shards or kills.
        """
        scenes: dict[str, Batch] = {}
        for keyframe in self.keyframes:
            scenes.setdefault(keyframe.scene, []).extend(keyframe.images)
        return [
            images[i : i + size] for images in scenes.values() for i in range(0, len(images), size)
        ]


def select_images(
    root: Path, version: str, cameras: Sequence[str], scenes: Sequence[str] | None
) -> Selection:
    """The images of a nuScenes root's keyframes.

    Args:
        root: its folder.
        version: the folder of its tables.
        cameras: whose images.
        scenes: names of scenes; None takes all.

    Raises:
        InfoError: the tables are missing or broken, a scene is not among them, or a keyframe lacks
            a camera.
    """
    nusc, samples = open_keyframes(root, version)
    names = [scene["name"] for scene in nusc.scene]
    _check_scenes(scenes, names, str(root / version))
    return _selected([_keyframe(nusc, scene, sample, cameras) for scene, sample in samples], scenes)


def select_info_images(
    infos: Sequence[Path],
    cameras: Sequence[str] | None,
    scenes: Sequence[str] | None,
    taxonomy: Taxonomy = OCC3D,
) -> Selection:
    """The images of info files, of whatever vehicle.

    Args:
        infos: the files.
        cameras: whose images; None takes all.
        scenes: names of scenes; None takes all.
        taxonomy: the classes that the infos must be of.

    Raises:
        InfoError: a file cannot be used, holds no frame, or not the scene or the camera.
    """
    frames = [frame for path in infos for frame in read_infos(path, True, taxonomy)["data_list"]]
    where = ", ".join(map(str, infos))
    if not frames:
        raise InfoError(f"{where} holds no frame: nothing to label")
    _check_scenes(scenes, list(dict.fromkeys(frame["scene_name"] for frame in frames)), where)
    keyframes = []
    for frame in frames:
        views, names = frame["images"], cameras or list(frame["images"])
        if missing := [name for name in names if name not in views]:
            raise InfoError(
                f"frame {frame['token']} of {where} has no camera {', '.join(missing)}: it has "
                f"{', '.join(views)}"
            )
        images = [KeyframeImage(n, {**views[n], "filename": views[n]["img_path"]}) for n in names]
        keyframes.append(KeyframeImages(frame["scene_name"], frame["token"], images))
    return _selected(keyframes, scenes)


def _check_scenes(scenes: Sequence[str] | None, names: Sequence[str], where: str) -> None:
    for name in scenes or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise InfoError(f"--scenes {name}: not among the {len(names)} of {where}{hint}")


def _selected(keyframes: list[KeyframeImages], scenes: Sequence[str] | None) -> Selection:
    sizes = {
        (image.record["width"], image.record["height"]) for k in keyframes for image in k.images
    }
    chosen = [k for k in keyframes if scenes is None or k.scene in scenes]
    return Selection(chosen, sizes.pop() if len(sizes) == 1 else None)


def _keyframe(
    nusc: Any, scene: str, sample: dict[str, Any], cameras: Sequence[str]
) -> KeyframeImages:
    missing = [camera for camera in cameras if camera not in sample["data"]]
    if missing:
        raise InfoError(
            f"sample {sample['token']} ({scene}) lacks {', '.join(missing)}: leave the camera out "
            "with --cameras"
        )
    images = [
        KeyframeImage(camera, nusc.get("sample_data", sample["data"][camera])) for camera in cameras
    ]
    return KeyframeImages(scene, sample["token"], images)
