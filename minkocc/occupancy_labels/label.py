"""The labels of a scene's keyframes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from minkocc.occupancy_labels.accumulate import Accumulated, accumulate
from minkocc.occupancy_labels.gaps import hidden_gaps
from minkocc.occupancy_labels.scene import Keyframe, Matrix, SceneError, moved
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.occupancy_labels.visibility import observed_by_lidar, seen_by_cameras
from minkocc.ops.fill_gaps import fill_gaps
from minkocc.ops.line_of_sight import Surfaces
from minkocc.ops.voxel_votes import flat_index, majority_class
from minkocc.structures.occupancy_label import OccupancyLabel
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID


def label_scene(
    keyframes: Sequence[Keyframe], settings: LabelSettings, wanted: Collection[str] | None = None
) -> Iterator[tuple[Keyframe, OccupancyLabel]]:
    """Label the keyframes of one scene, one after another.

    Args:
        keyframes: in order of time.
        settings: how.
        wanted: tokens of those that get a label; None gives all of them one.

    Raises:
        SceneError: there is no keyframe or no LiDAR return, or boxes contradict each other.
    """
    if not any(len(sweep.points) for keyframe in keyframes for sweep in keyframe.sweeps):
        raise SceneError("the scene has no LiDAR return: a label is made of them")
    scene = accumulate(keyframes, settings)
    for keyframe in keyframes:
        if wanted is None or keyframe.token in wanted:
            yield keyframe, label_keyframe(scene, keyframe, settings)


def label_keyframe(
    scene: Accumulated, keyframe: Keyframe, settings: LabelSettings
) -> OccupancyLabel:
    """Label one keyframe of an accumulated scene.

    Args:
        scene: what was seen of it.
        keyframe: one of it.
        settings: how.
    """
    scene2world = np.eye(4)
    scene2world[:3, 3] = scene.origin
    world2ego = np.linalg.inv(keyframe.ego2world)
    scene2ego = world2ego @ scene2world
    points, classes = _surfaces(scene, keyframe.time, world2ego, scene2ego, settings)
    flat, inside = flat_index(OCC3D_GRID, points)
    ground = settings.taxonomy.ids("ground")
    hit = majority_class(OCC3D_GRID, flat, classes[inside], ground).reshape(OCC3D_GRID.shape)
    observed = observed_by_lidar(scene.rays, scene2ego, settings)
    semantics = fill_gaps(hit, observed, settings.gap)
    gaps = np.flatnonzero(semantics != hit)
    middles = OCC3D_GRID.to_centre(np.argwhere(semantics != hit))
    surfaces = Surfaces(OCC3D_GRID, np.concatenate([points[inside], middles]), settings.cell)
    hidden = hidden_gaps(surfaces, gaps, moved(scene.eyes, scene2ego))
    semantics.reshape(-1)[gaps[hidden]] = FREE
    occupied = semantics != FREE
    mask_lidar = occupied | observed
    views = seen_by_cameras(occupied, surfaces, keyframe.cameras, world2ego, settings)
    return OccupancyLabel(
        semantics, mask_lidar.astype(np.uint8), (mask_lidar & views).astype(np.uint8)
    )


def _surfaces(
    scene: Accumulated,
    time: float,
    world2ego: Matrix,
    scene2ego: Matrix,
    settings: LabelSettings,
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Every surface point at a moment with its class, ego frame."""
    points, classes = [moved(scene.static.points, scene2ego)], [scene.static.classes]
    for track, cloud in zip(scene.tracks, scene.objects):
        pose = track.at(time, settings.reach)
        if pose is not None and len(cloud.points):
            points.append(moved(cloud.points, world2ego @ pose))
            classes.append(cloud.classes)
    return np.concatenate(points), np.concatenate(classes)
