"""The tables of a nuScenes root by nuscenes-devkit, checked: broken ones end in a line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nuscenes.nuscenes import NuScenes

from minkocc.files.infos import InfoError
from minkocc.files.reading import is_plain_name, require_regular
from minkocc.structures.errors import UserError, short

MEND = "unpack or make the tables again"
"""What to do about broken tables."""


def open_root(root: Path, version: str) -> NuScenes:
    """The tables of a nuScenes root.

    Args:
        root: the folder that holds ``version/``.
        version: name of the tables' folder.

    Raises:
        InfoError: the root has no such version, or its tables are broken.
    """
    if not (root / version / "scene.json").is_file():
        raise InfoError(f"{root / version} holds no nuScenes tables: check --root and --version")
    with broken_tables(root, version):
        for path in sorted((root / version).glob("*.json")):
            require_regular(path)
        try:
            nusc = NuScenes(version=version, dataroot=str(root), verbose=False)
        except Exception as error:  # some of the devkit's own are of no type
            raise ValueError(f"{type(error).__name__}: {error}") from error
        _check_keyframes(nusc)
    return nusc


def _check_keyframes(nusc: NuScenes) -> None:
    """Of two records that claim to be a sensor's at a keyframe the devkit takes the latter.

    Raises:
        InfoError: there are two.
    """
    seen: set[tuple[str, str]] = set()
    for record in nusc.sample_data:
        key = (record["sample_token"], record["channel"])
        if record["is_key_frame"] and key in seen:
            raise InfoError(f"sample {short(key[0])} has two keyframes of {key[1]}: {MEND}")
        if record["is_key_frame"]:
            seen.add(key)


@contextmanager
def broken_tables(root: Path, version: str) -> Iterator[None]:
    """What tables lack, or have of a wrong kind, is the root's fault and said so in one line.

    Args:
        root: the folder that holds ``version/``.
        version: name of the tables' folder.

    Raises:
        InfoError: whatever else than a user's own mistake was raised inside.
    """
    try:
        yield
    except InfoError as error:
        raise InfoError(f"{root / version}: {error}") from error
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the devkit takes for granted that tables are what they should be
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise InfoError(
            f"the nuScenes tables in {root / version} cannot be read ({reason}): {MEND}"
        ) from error


def open_keyframes(root: Path, version: str) -> tuple[NuScenes, list[tuple[str, dict[str, Any]]]]:
    """The tables of a nuScenes root, and the scene's name and record of every keyframe in order.

    Args:
        root: the folder that holds ``version/``.
        version: name of the tables' folder.

    Raises:
        InfoError: there are no such tables, they are broken, or hold no keyframe.
    """
    nusc = open_root(root, version)
    with broken_tables(root, version):
        keyframes = [
            (scene["name"], sample) for scene in nusc.scene for sample in scene_samples(nusc, scene)
        ]
    if not keyframes:
        raise InfoError(f"{root / version} holds no keyframe: check --root and --version")
    return nusc, keyframes


def scene_samples(nusc: NuScenes, scene: dict[str, Any]) -> list[dict[str, Any]]:
    """The keyframes' records of a scene's record, in order.

    Args:
        nusc: the tables.
        scene: a record of ``scene.json``.

    Raises:
        InfoError: the scene or a keyframe has a name that leads out of its folder, or the chain of
            keyframes turns back or into another scene, or lacks an end.
    """
    samples: list[dict[str, Any]] = []
    token, seen = scene["first_sample_token"], set()
    while token:
        if token in seen:
            raise InfoError(
                f"the keyframes of scene {scene['name']} in the nuScenes tables go in a circle: "
                f"sample {samples[-1]['token']} is followed by {token}, which came before: {MEND}"
            )
        seen.add(token)
        samples.append(nusc.get("sample", token))
        if samples[-1]["scene_token"] != scene["token"]:
            raise InfoError(
                f"the keyframes of scene {scene['name']} in the nuScenes tables lead into another "
                f"scene at sample {token}: {MEND}"
            )
        token = samples[-1]["next"]
    if not samples or samples[0]["prev"] or samples[-1]["token"] != scene["last_sample_token"]:
        raise InfoError(
            f"the keyframes of scene {scene['name']} in the nuScenes tables do not lead from its "
            f"first to its last: some are cut off: {MEND}"
        )
    for name in (scene["name"], *(sample["token"] for sample in samples)):
        if not is_plain_name(name):
            raise InfoError(f"the nuScenes tables name {short(name)}, which is no plain file name")
    return samples
