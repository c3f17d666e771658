"""Info files: the version, the keys and the shapes that every frame must have."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minkocc.files.info_checks import frame_problems, list_problems
from minkocc.files.reading import UnsafeFileError, is_plain_name, plain_pickle, read_plain_pickle
from minkocc.files.writing import write_pickles
from minkocc.structures.errors import UserError, short
from minkocc.structures.taxonomy import CLASSES, OCC3D, Taxonomy

INFO_VERSION = "minkocc-1"
_DEEPEST = 10
"""Containers in containers: more than infos have, and few enough for all that copies them."""


class InfoError(UserError, ValueError):
    """A root or an info file that cannot be used; the text names it and the remedy."""


def read_infos(
    path: str | Path, paths_leave_root: bool = False, taxonomy: Taxonomy | None = OCC3D
) -> dict[str, Any]:
    """Read an info file and check that this version of minkocc wrote it.

    Args:
        path: the file.
        paths_leave_root: whether it may name files outside the data root.
        taxonomy: the classes that its labels must be of; None: whatever ``metainfo`` says.

    Returns:
        ``metainfo`` and ``data_list``, one dict a frame.

    Raises:
        InfoError: the file is missing, damaged, of another version, or ``check_frames`` refuses
            what it says.
        UnsafeFileError: the file refers to code.
    """
    if not Path(path).is_file():
        raise InfoError(
            f"info file {path} does not exist: create it with "
            "tools/create_data.py --root DIR --version V, or --log MANIFEST"
        )
    try:
        content = read_plain_pickle(path)
    except UnsafeFileError:
        raise
    except ValueError as error:
        raise InfoError(f"info file {error} with tools/create_data.py") from error
    except OSError as error:
        raise InfoError(f"info file {path} cannot be read ({error.strerror}): {_MEND}") from error
    if _nests_deeply(content):
        raise InfoError(f"info file {path} nests deeper than infos do: {_MEND}")
    version = _version(content)
    if version != INFO_VERSION or not isinstance(content.get("data_list"), list):
        raise InfoError(
            f"info file {path} has version {short(version)}, expected {INFO_VERSION!r}: create it "
            "again with tools/create_data.py"
        )
    _check_classes(content["metainfo"], path, taxonomy)
    check_frames(content["data_list"], f"info file {path}", paths_leave_root)
    return dict(content)


def write_infos(
    files: Mapping[Path, Sequence[dict[str, Any]]],
    version: str,
    paths_leave_root: bool = False,
    source: str = "what is to be written",
    remedy: str = "correct what makes it",
    taxonomy: Taxonomy = OCC3D,
) -> None:
    """Write info files that belong together, all or none, if ``read_infos`` would take them.

    Args:
        files: the frames of each file, plain types and arrays; no scene is in two of them.
        version: of the data set, for whoever reads the file.
        paths_leave_root: whether they may name files outside the data root.
        source: of the frames, for messages.
        remedy: what to do about a frame that is refused, for messages.
        taxonomy: the classes of the frames' labels.

    Raises:
        InfoError: ``check_frames`` refuses what the frames say, or two files share a scene.
        UnsafeFileError: a frame holds more than plain values and arrays.
    """
    frames = [frame for each in files.values() for frame in each]
    _check_plain(frames, source)
    check_frames(frames, source, paths_leave_root, remedy)
    scenes = [{frame["scene_name"] for frame in each} for each in files.values()]
    if len(set().union(*scenes)) < sum(map(len, scenes)):
        raise InfoError(f"{source}: a scene is in two files, expected in one: {remedy}")
    classes = list(taxonomy.classes)
    metainfo = {"info_version": INFO_VERSION, "version": version, "classes": classes}
    write_pickles(
        {
            Path(path): {"metainfo": metainfo, "data_list": list(members)}
            for path, members in files.items()
        }
    )


def _check_plain(frames: Sequence[Any], source: str) -> None:
    """Refuse what would be written and could not be read; a frame at a time, for the memory."""
    try:
        for frame in frames:
            plain_pickle(pickle.dumps(frame), source)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InfoError(f"{source} cannot be written: {error}") from error


_MEND = "create it again with tools/create_data.py"


def classes_of_infos(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that the labels of ``read_infos``' frames are of."""
    return tuple(content["metainfo"].get("classes", CLASSES))


def check_frames(
    frames: Sequence[Any], source: str, paths_leave_root: bool = False, remedy: str = _MEND
) -> None:
    """Refuse frames that nothing right can be computed of.

    Args:
        frames: what a ``data_list`` holds.
        source: whence they are, for the message.
        paths_leave_root: whether they may name files outside the data root.
        remedy: what helps where they are refused.

    Raises:
        InfoError: a frame lacks a key, has a value that cannot be right, or names a file where it
            may not; or two frames do not go together.
    """
    for number, frame in enumerate(frames):
        for problem in frame_problems(frame, paths_leave_root):
            name = _name(frame, number)
            raise InfoError(f"{source}, frame {name}: {problem}; {remedy}")
    for token, problem in list_problems(frames):
        raise InfoError(f"{source}, frame {token}: {problem}; {remedy}")


def _name(frame: Any, number: int) -> str:
    token = frame.get("token") if isinstance(frame, dict) else None
    return str(token) if is_plain_name(token) else f"number {number}"


def _version(content: Any) -> str | None:
    metainfo = content.get("metainfo") if isinstance(content, dict) else None
    version = metainfo.get("info_version") if isinstance(metainfo, dict) else None
    return version if isinstance(version, str) else None


def _check_classes(metainfo: dict[str, Any], path: str | Path, taxonomy: Taxonomy | None) -> None:
    """Ids mean nothing without their names; infos need not tell them."""
    names = metainfo.get("classes", list(CLASSES))
    told = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    wanted = tuple(names) if taxonomy is None and told else (taxonomy or OCC3D).classes
    if not told or tuple(names) != wanted:
        whose = "Occ3D-nuScenes" if wanted == CLASSES else "the taxonomy"
        raise InfoError(
            f"info file {path} has classes {short(names)}, expected those of {whose}, "
            f"{short(list(wanted))}: name the taxonomy that its labels are of, or {_MEND}"
        )


def _nests_deeply(content: Any) -> bool:
    """Each container is looked into once a level, however often it occurs."""
    level = [content] if _is_container(content) else []
    for _ in range(_DEEPEST):
        level = list({id(item): item for node in level for item in _containers_in(node)}.values())
        if not level:
            return False
    return True


def _containers_in(node: Any) -> list[Any]:
    if isinstance(node, np.ndarray):
        items: Iterable[Any] = node.ravel().tolist()
    else:
        items = node.values() if isinstance(node, dict) else node
    return [item for item in items if _is_container(item)]


def _is_container(item: Any) -> bool:
    return isinstance(item, (dict, list, tuple, set)) or (
        isinstance(item, np.ndarray) and item.dtype.hasobject
    )
