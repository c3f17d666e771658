"""Reading info files: the version, the keys and the shapes that every frame must have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minkocc.info_checks import frame_problems, list_problems
from minkocc.structures.errors import UserError
from minkocc.structures.files import UnsafeFileError, read_plain_pickle

INFO_VERSION = "minkocc-1"
MAX_SWEEPS = 10
"""How many earlier sweeps a frame holds, at most."""


class InfoError(UserError, ValueError):
    """A root or an info file that cannot be used; the text names it and the remedy."""


def read_infos(path: str | Path, paths_leave_root: bool = False) -> dict[str, Any]:
    """Read an info file and check that this version of minkocc wrote it.

    Args:
        path: the file.
        paths_leave_root: whether it may name files outside the data root.

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
            "tools/create_data.py --root DIR --version V"
        )
    try:
        content = read_plain_pickle(path)
    except UnsafeFileError:
        raise
    except ValueError as error:
        raise InfoError(f"info file {error} with tools/create_data.py") from error
    version = _version(content)
    if version != INFO_VERSION or not isinstance(content.get("data_list"), list):
        raise InfoError(
            f"info file {path} has version {version!r}, expected {INFO_VERSION!r}: create it "
            "again with tools/create_data.py"
        )
    check_frames(content["data_list"], f"info file {path}", paths_leave_root)
    return dict(content)


_MEND = "create it again with tools/create_data.py"


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
            name = frame.get("token", f"number {number}") if isinstance(frame, dict) else number
            raise InfoError(f"{source}, frame {name}: {problem}; {remedy}")
    for token, problem in list_problems(frames):
        raise InfoError(f"{source}, frame {token}: {problem}; {remedy}")


def _version(content: Any) -> Any:
    metainfo = content.get("metainfo") if isinstance(content, dict) else None
    return metainfo.get("info_version") if isinstance(metainfo, dict) else None
