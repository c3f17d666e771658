"""What the sweeps of a scene saw: what stands, each object along its track, and the rays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from minkocc.files.rig import on_vehicle
from minkocc.occupancy_labels.completion import complete_vehicle
from minkocc.occupancy_labels.point_map import PointMap, thinned
from minkocc.occupancy_labels.scene import UNLABELLED, Keyframe, SceneError, Sweep, moved
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.occupancy_labels.tracks import Track, tracks_of
from minkocc.ops.points_in_boxes import points_in_boxes
from minkocc.structures.spread import spread_indices
from minkocc.structures.taxonomy import Taxonomy

_EYES = 16
"""Places from which is looked whether the LiDAR could see something: metres apart in a drive."""


class Rays(NamedTuple):
    """Where LiDAR rays began and ended, each ``(N, 3)``, scene frame."""

    origins: NDArray[np.float32]
    ends: NDArray[np.float32]


@dataclass(frozen=True)
class Accumulated:
    """A scene's surfaces.

    Args:
        origin: ``(3,)`` of the scene frame in the world: single precision is exact near it.
        static: what stands, scene frame; every point has a class.
        objects: points of each track in its box's frame.
        tracks: of ``objects``.
        rays: some of the scene's.
        eyes: ``(E, 3)`` some of the LiDAR's positions, scene frame.
    """

    origin: NDArray[np.float64]
    static: PointMap
    objects: tuple[PointMap, ...]
    tracks: tuple[Track, ...]
    rays: Rays
    eyes: NDArray[np.float64]


def accumulate(keyframes: Sequence[Keyframe], settings: LabelSettings) -> Accumulated:
    """Gather all sweeps of a scene.

    Args:
        keyframes: of the scene, at least one.
        settings: how.

    Raises:
        SceneError: the boxes contradict each other, or nothing says what class a return is of.
    """
    tracks = tracks_of(keyframes)
    origin = np.asarray(keyframes[0].ego2world[:3, 3], np.float64)
    total = sum(len(sweep.points) for keyframe in keyframes for sweep in keyframe.sweeps)
    stride = max(1, -(-total // settings.max_rays))
    standing: list[PointMap] = []
    carried: list[list[PointMap]] = [[] for _ in tracks]
    rays: list[Rays] = []
    for keyframe in keyframes:
        parts = []
        for sweep in keyframe.sweeps:
            cloud = _returns(sweep, origin, settings)
            start = ((sweep.ego2world @ sweep.sensor2ego)[:3, 3] - origin).astype(np.float32)
            ends = cloud.points[len(rays) % stride :: stride]
            rays.append(Rays(np.broadcast_to(start, ends.shape), ends))
            parts.append(_split(cloud, sweep.time, tracks, carried, origin, settings))
        standing.append(thinned(PointMap.joined(parts), settings.cell))
        for points in carried:
            if points:
                points[:] = [thinned(PointMap.joined(points), settings.cell)]
    static = _classified(thinned(PointMap.joined(standing), settings.cell), settings.taxonomy)
    return Accumulated(
        origin,
        static,
        tuple(_object(points, track, settings) for points, track in zip(carried, tracks)),
        tuple(tracks),
        _joined(rays),
        _eyes(keyframes, origin),
    )


def _joined(parts: list[Rays]) -> Rays:
    return Rays(*(np.concatenate(part) for part in zip(*parts)))


def _eyes(keyframes: Sequence[Keyframe], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of the LiDARs, spread evenly over the sweeps."""
    poses = [s.ego2world @ s.sensor2ego for keyframe in keyframes for s in keyframe.sweeps]
    chosen = spread_indices(len(poses), _EYES)
    return np.stack([poses[i][:3, 3] - origin for i in chosen])


def _returns(sweep: Sweep, origin: NDArray[np.float64], settings: LabelSettings) -> PointMap:
    """A sweep's returns in the scene, scene frame, without those on the recording vehicle."""
    points = np.asarray(sweep.points, np.float64)
    kept = np.isfinite(points).all(1)
    kept &= np.square(points).sum(1) > settings.min_range**2
    ego = moved(points, sweep.sensor2ego)
    if settings.ego_box is not None:
        kept &= ~on_vehicle(ego, np.asarray(settings.ego_box))
    classes = sweep.classes
    if classes is None:
        classes = np.full(len(points), UNLABELLED, np.uint8)
    scene = moved(ego[kept], sweep.ego2world) - origin
    return PointMap(scene.astype(np.float32), classes[kept])


def _split(
    cloud: PointMap,
    time: float,
    tracks: Sequence[Track],
    carried: list[list[PointMap]],
    origin: NDArray[np.float64],
    settings: LabelSettings,
) -> PointMap:
    """Add the returns on objects to ``carried``; the others are returned."""
    poses = {
        i: pose
        for i, track in enumerate(tracks)
        if (pose := track.at(time, settings.reach)) is not None
    }
    if not poses:
        return cloud
    number = np.array(list(poses))
    box2scene = np.stack([poses[i] for i in number])
    box2scene[:, :3, 3] -= origin
    half = np.stack([tracks[i].size for i in number]) / 2
    owner, local = points_in_boxes(
        cloud.points, np.linalg.inv(box2scene), half + settings.box_margin
    )
    inside = owner >= 0
    unknown = cloud.classes == UNLABELLED
    # A return of a class that has no boxes is never an annotated object's.
    stuff = settings.taxonomy.ids("stuff")
    on_object = inside & ~unknown & ~np.isin(cloud.classes, stuff)
    clear = local[:, 2] > settings.footing - half[owner, 2]
    on_object |= inside & unknown & clear
    order = np.flatnonzero(on_object)[np.argsort(owner[on_object], kind="stable")]
    bounds = np.searchsorted(owner[order], np.arange(len(number) + 1))
    for k, (begin, end) in enumerate(itertools.pairwise(bounds)):
        if end > begin:
            part = order[begin:end]
            kind = np.full(end - begin, tracks[number[k]].class_id, np.uint8)
            carried[number[k]].append(PointMap(local[part].astype(np.float32), kind))
    return cloud.where(~on_object & ~(inside & unknown))


def _object(parts: list[PointMap], track: Track, settings: LabelSettings) -> PointMap:
    """All that is known of an object."""
    cloud = PointMap.joined(parts)
    bodies = settings.taxonomy.ids("bodies")
    if not settings.complete_vehicles or track.class_id not in bodies:
        return cloud
    points = complete_vehicle(cloud.points, settings.cell)
    return PointMap(points, np.full(len(points), track.class_id, np.uint8))


def _classified(cloud: PointMap, taxonomy: Taxonomy) -> PointMap:
    """Points without a class take the nearest labelled point's; what can move is left out.

    A return of a class that can move which no box holds would leave a trace of its object.
    """
    unknown = cloud.classes == UNLABELLED
    classes = cloud.classes.copy()
    if unknown.all():
        if taxonomy.rest is None:
            raise SceneError(
                "no return of the scene has a class, and the taxonomy names none for the rest: "
                "give lidarseg, or set its rest to a class"
            )
        classes[:] = taxonomy.id_of(taxonomy.rest)
    elif unknown.any():
        _, nearest = cKDTree(cloud.points[~unknown]).query(cloud.points[unknown])
        classes[unknown] = classes[~unknown][nearest]
    return PointMap(cloud.points, classes).where(~np.isin(classes, taxonomy.ids("moving")))
