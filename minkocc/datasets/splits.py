"""Which scenes of a nuScenes root train and which validate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from nuscenes.utils.splits import create_splits_scenes

from minkocc.files.infos import InfoError
from minkocc.files.reading import is_plain_name, read_json
from minkocc.structures.errors import short

_OFFICIAL_SPLITS = {"v1.0-trainval": ("train", "val"), "v1.0-mini": ("mini_train", "mini_val")}


def split_scenes(
    root: Path, version: str, scenes: Sequence[str], val_scenes: Sequence[str] | None
) -> dict[str, list[str]]:
    """Which of the root's scenes train and which validate.

    ``val_scenes`` decides when given; else the ``splits.json`` that a synthetic world carries; else
    the official lists of v1.0-trainval and v1.0-mini.

    Args:
        root: of the data.
        version: name of the tables' folder.
        scenes: names of all scenes in the tables.
        val_scenes: names of those that validate, or None.

    Returns:
        The scenes' names of ``train`` and of ``val``, in the order of ``scenes``.

    Raises:
        InfoError: a named scene is not in the root, or nothing tells the split.
    """
    if val_scenes is not None:
        unknown = sorted(set(val_scenes) - set(scenes))
        if unknown:
            raise InfoError(f"--val-scenes {', '.join(unknown)}: not in {root / version}")
        return _partition(scenes, set(val_scenes))
    if (root / "splits.json").is_file():
        return _own_split(root / "splits.json", scenes)
    if version in _OFFICIAL_SPLITS:
        official = create_splits_scenes()
        train, val = (set(official[name]) for name in _OFFICIAL_SPLITS[version])
        if set(scenes) <= train | val:
            return _partition(scenes, val)
    raise InfoError(
        f"{root / version} holds scenes without an official split "
        f"({', '.join(list(scenes)[:3])}...): name the validation scenes with --val-scenes"
    )


def _own_split(path: Path, scenes: Sequence[str]) -> dict[str, list[str]]:
    """What a world says of its own scenes; it must name each of them, once, and no others.

    Raises:
        InfoError: it does not.
    """
    try:
        content = read_json(path)
        named = {split: list(content[split]) for split in ("train", "val")}
        if odd := [name for names in named.values() for name in names if not is_plain_name(name)]:
            raise ValueError(f"{short(odd[0])} is no scene's name")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InfoError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected "
            '{"train": [scenes], "val": [scenes]}, or name the validation scenes with --val-scenes'
        ) from error
    listed = Counter([*named["train"], *named["val"]])
    for what, names in (
        ("names scenes that the tables do not hold", listed.keys() - set(scenes)),
        ("does not name all scenes of the tables", set(scenes) - listed.keys()),
        ("names scenes twice", {name for name, count in listed.items() if count > 1}),
    ):
        if names:
            raise InfoError(
                f"{path} {what}: {', '.join(sorted(names)[:3])}; mend it, or name the validation "
                "scenes with --val-scenes"
            )
    return _partition(scenes, set(named["val"]))


def _partition(scenes: Iterable[str], val: set[str]) -> dict[str, list[str]]:
    return {
        "train": [name for name in scenes if name not in val],
        "val": [name for name in scenes if name in val],
    }
