"""Values that a component is given, refused where they make no sense."""

from __future__ import annotations

import math
from typing import Any

from minkocc.structures.errors import UserError

RENDERERS = ("spheres", "voxels", "pytorch3d")
"""What may stand for a voxel in the images of the render head."""


class SettingError(UserError, ValueError):
    """A value that a component cannot take; the text names it and what is expected."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, which True and False are not."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """Return a value as a float.

    Raises:
        SettingError: it is no finite number from ``least`` to ``most``.
    """
    if not is_number(value) or not least <= value <= most:
        raise SettingError(f"{name} {value!r}: expected a number from {least:g} to {most:g}")
    return float(value)


def check_share(name: str, value: Any) -> float:
    """Return a share or a probability as a float.

    Raises:
        SettingError: it is not from 0 to 1.
    """
    return check_number(name, value, 0.0, 1.0)
