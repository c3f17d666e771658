"""What labels are made of: the keyframes of one scene, whatever log they come from.

Poses are 4x4 matrices on column vectors, ``p_b = a2b @ p_a``, metres. The world frame is any frame
that does not move; of sizes and times only differences matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import NUM_CLASSES

UNLABELLED = 255
"""The class of a return of which nothing is known."""

Matrix = NDArray[np.float64]

_LONGEST = 100.0
"""Metres: no object on a road is as long, and hardly one is as short in centimetres."""


class SceneError(UserError, ValueError):
    """A scene that no label can be made of; the text says what is wrong with it."""


@dataclass(frozen=True)
class Sweep:
    """One turn of a LiDAR.

    Args:
        points: ``(N, 3)`` in the sensor's frame; what is on nothing in the scene, such as returns
            of a category "noise", is left out.
        sensor2ego: 4x4.
        ego2world: 4x4, of the vehicle at the sweep's time.
        time: seconds.
        classes: ``(N,)`` uint8 Occ3D ids 0..16, ``UNLABELLED`` where unknown; None knows nothing.

    Raises:
        SceneError: an array has another shape, or a class is none.
    """

    points: NDArray[np.floating[Any]]
    sensor2ego: Matrix
    ego2world: Matrix
    time: float
    classes: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise SceneError(
                f"the points of the sweep at {self.time} s are {self.points.shape}: expected (N, 3)"
            )
        for name in ("sensor2ego", "ego2world"):
            check_pose(getattr(self, name), f"{name} of the sweep at {self.time} s")
        if self.classes is None:
            return
        if self.classes.shape != (len(self.points),):
            raise SceneError(
                f"the sweep at {self.time} s has {len(self.points)} points and classes of shape "
                f"{self.classes.shape}: expected one a point"
            )
        odd = self.classes[(self.classes >= NUM_CLASSES) & (self.classes != UNLABELLED)]
        if len(odd):
            raise SceneError(
                f"the sweep at {self.time} s holds class {odd[0]}: expected 0..{NUM_CLASSES - 1}, "
                f"or {UNLABELLED} for unknown"
            )


@dataclass(frozen=True)
class Box:
    """An annotated object at a keyframe.

    Args:
        track: names the object; the same at every keyframe.
        class_id: Occ3D id 0..16.
        box2world: 4x4, from the box's frame: origin in its middle, x ahead, y left, z up.
        size: length, width and height (along x, y and z), metres.

    Raises:
        SceneError: the class or the size makes no sense.
    """

    track: str
    class_id: int
    box2world: Matrix
    size: tuple[float, float, float]

    def __post_init__(self) -> None:
        check_pose(self.box2world, f"box2world of {self.track}")
        if not 0 <= self.class_id < NUM_CLASSES:
            raise SceneError(
                f"the box of {self.track} is of class {self.class_id}: expected "
                f"0..{NUM_CLASSES - 1}"
            )
        if len(self.size) != 3 or not all(0 < edge < _LONGEST for edge in self.size):
            raise SceneError(
                f"the box of {self.track} has size {self.size}: expected length, width and height "
                f"in metres, above 0 and below {_LONGEST:g}"
            )


@dataclass(frozen=True)
class Camera:
    """A picture taken for a keyframe, by an ideal pinhole.

    Args:
        cam2img: 3x3.
        cam2world: 4x4 at the moment of exposure; x right, y down, z ahead.
        size: width and height, pixels.

    Raises:
        SceneError: a matrix is of another shape.
    """

    cam2img: Matrix
    cam2world: Matrix
    size: tuple[int, int]

    def __post_init__(self) -> None:
        check_pose(self.cam2world, "cam2world of a camera")
        if np.shape(self.cam2img) != (3, 3) or not abs(np.linalg.det(self.cam2img)) > 0:
            raise SceneError(
                f"cam2img of a camera is {np.asarray(self.cam2img).tolist()}: expected a 3x3 "
                "matrix that can be inverted"
            )


@dataclass(frozen=True)
class Keyframe:
    """A moment that gets a label, and what was recorded since the keyframe before it.

    Args:
        token: names it.
        time: seconds.
        ego2world: 4x4; the label is in this ego frame.
        sweeps: its own, and those since the keyframe before; of any number of LiDARs.
        boxes: what is annotated at this moment.
        cameras: its pictures; without any, ``mask_camera`` is empty.

    Raises:
        SceneError: the pose is none.
    """

    token: str
    time: float
    ego2world: Matrix
    sweeps: Sequence[Sweep] = ()
    boxes: Sequence[Box] = field(default=())
    cameras: Sequence[Camera] = field(default=())

    def __post_init__(self) -> None:
        check_pose(self.ego2world, f"ego2world of keyframe {self.token}")


def check_pose(matrix: Any, what: str) -> None:
    """Refuse what is no 4x4 pose.

    Raises:
        SceneError: it is of another shape, not finite, or its rotation is none.
    """
    array = np.asarray(matrix, np.float64)
    if array.shape != (4, 4) or not np.isfinite(array).all():
        raise SceneError(f"{what} is of shape {array.shape}: expected a finite 4x4 pose")
    turn = array[:3, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or not np.linalg.det(turn) > 0:
        raise SceneError(
            f"{what} turns by {turn.tolist()}, which is no rotation: give a rigid pose"
        )


def moved(points: NDArray[np.floating[Any]], a2b: Matrix) -> NDArray[np.float64]:
    """``(N, 3)`` points of frame a in frame b."""
    return np.asarray(points @ a2b[:3, :3].T + a2b[:3, 3], np.float64)
