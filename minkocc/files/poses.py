"""Poses as files of data sets give them: a rotation by a quaternion, and a translation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

from minkocc.structures.errors import short

_UNIT_TOLERANCE = 1e-3


def pose_matrix(rotation: Any, translation: Any) -> NDArray[np.float64]:
    """4x4 matrix of a rotation and a translation.

    Args:
        rotation: unit quaternion (w, x, y, z).
        translation: x, y, z in metres.

    Raises:
        ValueError: the rotation is no unit quaternion, whose matrix has no inverse, or the
            translation is not of three numbers.
    """
    if np.shape(translation) != (3,):  # numpy would take a single one for all three
        raise ValueError(f"translation {short(translation)}, expected x, y, z")
    turn = np.asarray(rotation, np.float64)
    if turn.shape != (4,) or not abs(np.linalg.norm(turn) - 1) < _UNIT_TOLERANCE:
        raise ValueError(f"rotation {short(rotation)}, which is no unit quaternion (w, x, y, z)")
    matrix = Quaternion(rotation).transformation_matrix
    matrix[:3, 3] = translation
    return np.asarray(matrix, dtype=np.float64)
