"""The manifest of a sensor log: a JSON file whose every value is checked where it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.files.poses import pose_matrix
from minkocc.files.reading import is_plain_name, read_json
from minkocc.structures.errors import UserError, short

MANIFEST_FORMAT = "minkocc-log-1"
_MISSING: Any = object()


class LogError(UserError, ValueError):
    """A sensor log that cannot be used; the text names the file, the place and the remedy."""


class Node:
    """A JSON object of a manifest that knows where it stands, for messages.

    Args:
        path: of the manifest.
        place: of the object in it, e.g. ``frames.3.lidar``.
        content: the object.

    Raises:
        LogError: the content is no object.
    """

    def __init__(self, path: Path, place: str, content: Any) -> None:
        self.path, self.place, self._content = path, place, content
        if not isinstance(content, dict):
            raise self.error(f"is {short(content)}, expected an object {{...}}")

    def error(self, problem: str, key: str = "") -> LogError:
        """What is wrong here, or at a key of it, in words."""
        place = ".".join(part for part in (self.place, key) if part)
        return LogError(f"manifest {self.path}{', ' if place else ''}{place} {problem}")

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def keys(self) -> Iterator[str]:
        """Of the object, in its order."""
        return iter(self._content)

    def only(self, *known: str) -> None:
        """Refuse keys that nothing reads.

        Raises:
            LogError: there are some.
        """
        if odd := sorted(set(self._content) - set(known)):
            raise self.error(f"has {', '.join(odd)}, expected only {', '.join(known)}")

    def _value(self, key: str, default: Any) -> Any:
        value = self._content.get(key, default)
        if value is _MISSING:
            raise self.error("is missing", key)
        return value

    def child(self, key: str, default: Any = _MISSING) -> Node:
        """The object under a key."""
        return Node(self.path, f"{self.place}.{key}".lstrip("."), self._value(key, default))

    def children(self, key: str, default: Any = _MISSING) -> list[Node]:
        """The objects in the list under a key.

        Raises:
            LogError: it is no list, or holds something else, or, without a default, nothing.
        """
        items = self._value(key, default)
        if not isinstance(items, list) or (not items and default is _MISSING):
            raise self.error(f"is {short(items)}, expected a list of objects", key)
        place = f"{self.place}.{key}".lstrip(".")
        return [Node(self.path, f"{place}.{number}", item) for number, item in enumerate(items)]

    def file_node(self, key: str) -> Node:
        """What is said of a file: an object with ``file``, or the file's name alone."""
        value = self._value(key, _MISSING)
        content = {"file": value} if isinstance(value, str) else value
        return Node(self.path, f"{self.place}.{key}".lstrip("."), content)

    def text(self, key: str, default: Any = _MISSING) -> str:
        """A text that can be shown and is not empty."""
        value = self._value(key, default)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.error(f"is {short(value)}, expected a text", key)
        return value

    def name(self, key: str, default: Any = _MISSING) -> str:
        """A text that files can be called after."""
        value = self._value(key, default)
        if not is_plain_name(value):
            raise self.error(f"is {short(value)}, expected a plain file name", key)
        return str(value)

    def names(self, key: str) -> list[str] | None:
        """A list of texts; None where there is none."""
        value = self._content.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"is {short(value)}, expected a list of names", key)
        return value

    def number(self, key: str, default: Any = _MISSING) -> float:
        """A finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(f"is {short(value)}, expected a number", key)
        if not math.isfinite(value):
            raise self.error(f"is {value}, expected a finite number", key)
        return float(value)

    def whole(self, key: str) -> int:
        """A whole number from 1."""
        value = self._value(key, _MISSING)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(f"is {short(value)}, expected a whole number from 1", key)
        return value

    def matrix(self, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Finite numbers, a matrix row by row."""
        value = self._value(key, _MISSING)
        try:
            matrix = np.array(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            matrix = np.zeros(())
        if matrix.shape != shape or not np.isfinite(matrix).all():
            rows = " rows of ".join(map(str, shape))
            raise self.error(f"is {short(value)}, expected {rows} numbers", key)
        return matrix

    def pose(self, key: str) -> NDArray[np.float64]:
        """A 4x4 matrix, of rows, or of a ``rotation`` (w, x, y, z) and a ``translation``."""
        value = self._value(key, _MISSING)
        if isinstance(value, list):
            return self.matrix(key, (4, 4))
        node = Node(self.path, f"{self.place}.{key}".lstrip("."), value)
        node.only("rotation", "translation")
        turn, move = (node._value(part, _MISSING) for part in ("rotation", "translation"))
        try:
            return pose_matrix(turn, move)
        except (TypeError, ValueError) as error:
            raise node.error(f"has {error}") from error


def read_manifest(path: Path) -> Node:
    """The manifest of a log.

    Args:
        path: its file.

    Raises:
        LogError: it is missing, no JSON, or of another format.
    """
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        message = f"manifest {path} does not exist: docs/own_data.md says how to write one"
        raise LogError(message) from error
    except (OSError, ValueError) as error:
        raise LogError(f"manifest {path} cannot be read ({error}): write it again") from error
    log = Node(path, "", content)
    if content.get("format") != MANIFEST_FORMAT:
        found = short(content.get("format"))
        raise log.error(f"is {found}, expected {MANIFEST_FORMAT!r}", "format")
    log.only("format", "name", "vehicle", "lidar", "cameras", "frames")
    return log


def manifest(
    name: str,
    frames: Sequence[dict[str, Any]],
    *,
    vehicle: dict[str, Any] | None = None,
    lidar: dict[str, Any] | None = None,
    cameras: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a manifest, for converters to write.

    Args:
        name: of the drive.
        frames: in the order of time.
        vehicle: its ``box`` and ``ground_z``.
        lidar: its ``lidar2ego``, ``origin``, ``columns`` and ``intensity_max``.
        cameras: by name, ``cam2img``, ``cam2ego``, ``width`` and ``height``.
    """
    content: dict[str, Any] = {"format": MANIFEST_FORMAT, "name": name}
    parts = {"vehicle": vehicle, "lidar": lidar, "cameras": cameras}
    content.update({key: part for key, part in parts.items() if part})
    return {**content, "frames": list(frames)}
