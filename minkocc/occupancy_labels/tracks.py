"""Where an annotated object is between its keyframes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from minkocc.occupancy_labels.scene import Box, Keyframe, Matrix, SceneError

_PARKED = 0.5
"""An object whose boxes' middles lie within so many metres has not moved: annotations waver."""


@dataclass(frozen=True)
class Track:
    """One object over the scene.

    Args:
        name: of the object.
        class_id: Occ3D id.
        size: length, width and height, metres.
        times: ``(T,)`` of its boxes, seconds, rising.
        poses: ``(T, 4, 4)`` box to world.
    """

    name: str
    class_id: int
    size: NDArray[np.float64]
    times: NDArray[np.float64]
    poses: NDArray[np.float64]

    @property
    def parked(self) -> bool:
        """Whether it has not moved while it was annotated, so that it is there at all times.

        Of an object with a single box nobody knows.
        """
        places = self.poses[:, :3, 3]
        still = np.linalg.norm(places - places[0], axis=1).max() < _PARKED
        return bool(still and len(self.times) > 1)

    def at(self, time: float, reach: float) -> Matrix | None:
        """Its pose, None where it is not known.

        Between two boxes it moves straight and turns evenly; before the first and after the last
        it goes on as it did next to them. A parked one stays as its nearest box in time has it.

        Args:
            time: seconds.
            reach: how far outside its annotations it is still known, seconds.
        """
        first, last = self.times[0], self.times[-1]
        if self.parked:
            return np.asarray(self.poses[np.abs(self.times - time).argmin()])
        if not first - reach <= time <= last + reach:
            return None
        if len(self.times) == 1:
            return np.asarray(self.poses[0])
        after = int(np.clip(np.searchsorted(self.times, time), 1, len(self.times) - 1))
        return _between(self.times, self.poses, after, time)


def _between(
    times: NDArray[np.float64], poses: NDArray[np.float64], after: int, time: float
) -> Matrix:
    before = after - 1
    share = (time - times[before]) / (times[after] - times[before])
    pose = np.eye(4)
    start, end = poses[before], poses[after]
    pose[:3, 3] = start[:3, 3] + share * (end[:3, 3] - start[:3, 3])
    turns = Slerp([0.0, 1.0], Rotation.from_matrix([start[:3, :3], end[:3, :3]]))
    pose[:3, :3] = turns(np.clip(share, 0.0, 1.0)).as_matrix()
    return pose


def tracks_of(keyframes: Iterable[Keyframe]) -> list[Track]:
    """The objects of a scene, by name.

    Raises:
        SceneError: two boxes of a keyframe are of the same track, or a track changes its class.
    """
    found: dict[str, list[tuple[float, Box]]] = defaultdict(list)
    for keyframe in keyframes:
        for box in keyframe.boxes:
            found[box.track].append((keyframe.time, box))
    return [_track(name, found[name]) for name in sorted(found)]


def _track(name: str, boxes: Sequence[tuple[float, Box]]) -> Track:
    boxes = sorted(boxes, key=lambda pair: pair[0])
    times = np.array([time for time, _ in boxes])
    if (np.diff(times) <= 0).any():
        raise SceneError(f"track {name} has two boxes at one time: give each object its own track")
    classes = {box.class_id for _, box in boxes}
    if len(classes) > 1:
        raise SceneError(
            f"track {name} is of classes {sorted(classes)}: give each object its own track"
        )
    return Track(
        name,
        classes.pop(),
        np.median([box.size for _, box in boxes], axis=0),
        times,
        np.stack([box.box2world for _, box in boxes]),
    )
