"""Occ3D labels of a synthetic scene: which voxels hold which surface, and who could see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from minkocc.ops.ray_cast import ray_hits_and_passes, visible_voxels
from minkocc.ops.voxel_votes import flat_index, majority_class
from minkocc.structures.occupancy_label import OccupancyLabel
from minkocc.structures.taxonomy import CAMERAS, FREE, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.categories import CATEGORY_CLASS, category_index
from minkocc.synthetic.meshes.mesh import FloatArray, Mesh, sample_surface
from minkocc.synthetic.rig import BEAM_ELEVATIONS, LIDAR, camera_directions
from minkocc.synthetic.sensing.sensors import LidarSweep
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.world import World

_SPACING = 0.13  # metres between surface samples: about ten to a voxel's face
_SIGHT = 60.0  # metres; beyond the grid's farthest corner from its middle
_ORIGINS = 8
_APART = 4.0  # metres; samples are kept within ``_SIGHT`` and so much of a place
_ACTOR_STRIDE = 7  # one of so many samples stands for an actor
_SKIN = 0.05  # metres before a sample within which its own surface hides nothing
_MAX_RETURNS = 220_000
_NO_SURFACE = (category_index("noise"), category_index("vehicle.ego"))
# How often a free voxel must be crossed to count as observed: once per so many rays of the scene.
# A single ray may only touch a corner. A genuine Occ3D label has 20,491 free voxels in mask_camera,
# as one crossing per 3,300 rays gives here; others are known to hold 75,000. This lies between.
_RAYS_PER_CROSSING = 5_000
_CAMERA_GRID = (200, 112)  # rays across and down a view


@dataclass(frozen=True)
class SurfaceSamples:
    """Points all over a scene's surfaces.

    Args:
        points: ``(N, 3)`` of scenery and ground, global frame, metres.
        classes: ``(N,)`` Occ3D ids of them.
        owner: ``(N,)`` object number of them.
        actors: ``(M, 3)`` per actor, in its own frame.
        actor_classes: Occ3D id per actor.
    """

    points: npt.NDArray[np.float32]
    classes: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int32]
    actors: tuple[FloatArray, ...]
    actor_classes: tuple[int, ...]


@dataclass(frozen=True)
class Sight:
    """What the LiDAR could see from the scene's keyframes.

    Args:
        samples: ``(N,)`` which surface samples of scenery and ground were in its line of sight.
        whole: numbers of seen objects that count as seen all over.
        lidar_poses: LiDAR-to-global at every keyframe.
        returns: ``(N, 3)`` points of every keyframe, LiDAR frame, metres.
    """

    samples: npt.NDArray[np.bool_]
    whole: npt.NDArray[np.int32]
    lidar_poses: tuple[FloatArray, ...]
    returns: tuple[npt.NDArray[np.float32], ...]


def look_around(
    tracer: Tracer,
    samples: SurfaceSamples,
    times: Sequence[float],
    sweeps: Sequence[LidarSweep],
) -> Sight:
    """Look at every surface sample from the LiDAR's positions at the keyframes.

    Args:
        tracer: of the world.
        samples: of its surfaces.
        times: of the keyframes, seconds.
        sweeps: of the keyframes.
    """
    world = tracer.world
    poses = [world.sensor_pose(LIDAR, time) for time in times]
    seen = np.zeros(len(samples.points), np.bool_)
    whole = set(np.unique(np.concatenate([s.owner for s in sweeps])).tolist())
    for i in np.unique(np.round(np.linspace(0, len(times) - 1, min(len(times), _ORIGINS)))):
        pose, time = poses[int(i)], times[int(i)]
        open_ = np.flatnonzero(~seen)
        seen[open_] = _in_sight(tracer, pose, samples.points[open_], time)
        for actor, points in zip(world.actors, samples.actors):
            if actor.number not in whole:
                here = actor.pose(world.ground, time)
                posed = points[::_ACTOR_STRIDE] @ here[:3, :3].T + here[:3, 3]
                if _in_sight(tracer, pose, posed.astype(np.float32), time).any():
                    whole.add(actor.number)
    plants = samples.owner[seen & (samples.classes == class_id("vegetation"))]
    actors = {actor.number for actor in world.actors}
    return Sight(
        seen,
        np.array(sorted((whole & actors) | set(plants.tolist())), np.int32),
        tuple(poses),
        tuple(s.points[~np.isin(s.category, _NO_SURFACE), :3] for s in sweeps),
    )


def _in_sight(
    tracer: Tracer, lidar2global: FloatArray, points: npt.NDArray[np.float32], time: float
) -> npt.NDArray[np.bool_]:
    """Which global points the LiDAR's field of view holds and nothing hides, ``(N,)``."""
    local = (points - lidar2global[:3, 3].astype(np.float32)) @ lidar2global[:3, :3].astype(
        np.float32
    )
    flat = np.hypot(local[:, 0], local[:, 1])
    elevation = np.arctan2(local[:, 2], flat)
    within = (elevation > BEAM_ELEVATIONS[0]) & (elevation < BEAM_ELEVATIONS[-1])
    index = np.flatnonzero(within & (flat < _SIGHT))
    seen = np.zeros(len(points), np.bool_)
    seen[index] = ~tracer.blocked(lidar2global[:3, 3], points[index], time, _SKIN)
    return seen


def sample_world(world: World, positions: FloatArray, rng: np.random.Generator) -> SurfaceSamples:
    """Sample the surfaces near the ego vehicle's path.

    Args:
        world: the scene.
        positions: ``(K, 3)`` global ego positions at the keyframes.
        rng: draws the samples.
    """
    numbers = np.array([actor.number for actor in world.actors])
    scenery = _select(world.static, ~np.isin(world.static.owner, numbers))
    centre = scenery.vertices[scenery.faces].mean(1)
    gap = np.linalg.norm(centre[:, None, :2] - positions[None, :, :2], axis=-1).min(1)
    size = np.ptp(scenery.vertices[scenery.faces], axis=1).max(1)
    near = _select(scenery, gap < _SIGHT + size)
    points, face = sample_surface(near, _SPACING, rng)
    gap = np.full(len(points), np.inf)
    for position in positions[_apart(positions)]:
        gap = np.minimum(gap, np.hypot(points[:, 0] - position[0], points[:, 1] - position[1]))
    kept = (gap < _SIGHT + _APART) & (points[:, 2] < positions[:, 2].max() + 8)
    actors = [sample_surface(a.mesh, _SPACING * 0.7, rng)[0] for a in world.actors]
    return SurfaceSamples(
        points[kept].astype(np.float32),
        CATEGORY_CLASS[near.category[face[kept]]],
        near.owner[face[kept]],
        tuple(actors),
        tuple(int(CATEGORY_CLASS[a.mesh.category[0]]) for a in world.actors),
    )


def _apart(positions: FloatArray) -> list[int]:
    """Places of a drive some metres apart, the first and the last among them."""
    steps = np.linalg.norm(np.diff(positions[:, :2], axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    count = int(np.ceil(travelled[-1] / _APART)) + 1
    wanted = np.linspace(0.0, travelled[-1], count)
    return [*np.unique(np.searchsorted(travelled, wanted - 1e-9)).tolist(), len(positions) - 1]


def _select(mesh: Mesh, faces: npt.NDArray[np.bool_]) -> Mesh:
    """Some of a mesh's faces."""
    return replace(
        mesh,
        faces=mesh.faces[faces],
        category=mesh.category[faces],
        colour=mesh.colour[faces],
        texture=mesh.texture[faces],
        reflectance=mesh.reflectance[faces],
        owner=mesh.owner[faces],
    )


def _flat(
    points: npt.NDArray[Any], matrix: FloatArray
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Flat voxel index and ego position of the moved points inside the grid, and which they are."""
    kind = points.dtype
    moved = points @ matrix[:3, :3].T.astype(kind) + matrix[:3, 3].astype(kind)
    flat, inside = flat_index(OCC3D_GRID, moved)
    return flat, moved[inside], inside


def label_keyframe(
    world: World,
    samples: SurfaceSamples,
    sight: Sight,
    time: float,
    camera_times: dict[str, float],
    depths: dict[str, npt.NDArray[np.float32]],
) -> OccupancyLabel:
    """Label one keyframe.

    A voxel is occupied if it holds a surface that the LiDAR can see from one of the scene's
    keyframes, whatever its beams happened to hit; an actor or a plant counts as a whole once any
    part of it is seen: Occ3D accumulates boxes, and beams reach through leaves. Free voxels are
    observed if rays of real returns crossed them.

    Args:
        world: the scene.
        samples: of its surfaces.
        sight: what the LiDAR saw during the scene.
        time: of the keyframe, seconds.
        camera_times: exposure time of each camera, seconds.
        depths: ``(H, W)`` metres along the optical axis of each camera.
    """
    ego_pose = world.ego_pose(time)
    global2ego = np.linalg.inv(ego_pose)
    flat, points, inside = _flat(samples.points, global2ego)
    classes = samples.classes[inside]
    posed = [
        _flat(points, global2ego @ actor.pose(world.ground, time))
        for actor, points in zip(world.actors, samples.actors)
    ]
    actor_voxels = [voxels for voxels, _, _ in posed]
    all_flat = np.concatenate([flat, *actor_voxels])
    all_points = np.concatenate([points, *(moved for _, moved, _ in posed)])
    actor_class = [np.full(len(v), c) for v, c in zip(actor_voxels, samples.actor_classes)]
    semantics = majority_class(OCC3D_GRID, all_flat, np.concatenate([classes, *actor_class]))
    solid = (semantics != FREE).reshape(OCC3D_GRID.shape)

    seen = np.zeros(OCC3D_GRID.num_voxels, np.bool_)
    seen[flat[sight.samples[inside]]] = True
    seen[flat[np.isin(samples.owner[inside], sight.whole)]] = True
    for actor, voxels, kind in zip(world.actors, actor_voxels, samples.actor_classes):
        if actor.number in sight.whole:
            seen[voxels[semantics[voxels] == kind]] = True
    occupied = solid & seen.reshape(OCC3D_GRID.shape)
    crossed = _crossed([global2ego @ pose for pose in sight.lidar_poses], sight.returns)
    mask_lidar = occupied | (crossed & ~solid)
    views = _traversed_by_cameras(world, solid, global2ego, camera_times)
    # One surface point stands for its voxel: the last written.
    sample = np.full(OCC3D_GRID.num_voxels, -1, np.int64)
    sample[all_flat] = np.arange(len(all_flat))
    hit = np.flatnonzero(sample >= 0)
    in_view = _in_view(all_points[sample[hit]], world, global2ego, camera_times, depths)
    views.reshape(-1)[hit[in_view]] = True
    label = np.where(occupied, semantics.reshape(OCC3D_GRID.shape), FREE)
    return OccupancyLabel(
        label.astype(np.uint8),
        mask_lidar.astype(np.uint8),
        (mask_lidar & views).astype(np.uint8),
    )


def _crossed(
    lidar2ego: Sequence[FloatArray], returns: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.bool_]:
    """Voxels that enough rays of real returns cross or end in."""
    crossed = np.zeros(OCC3D_GRID.shape, np.int64)
    total = sum(map(len, returns))
    share = max(1, -(-total // _MAX_RETURNS))
    for matrix, points in zip(lidar2ego, returns):
        ends = points[::share].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        hits, passes = ray_hits_and_passes(OCC3D_GRID, matrix[None, :3, 3], ends)
        crossed += hits + passes
    return crossed >= max(1, total // share // _RAYS_PER_CROSSING)


def _traversed_by_cameras(
    world: World,
    solid: npt.NDArray[np.bool_],
    global2ego: FloatArray,
    camera_times: dict[str, float],
) -> npt.NDArray[np.bool_]:
    """Voxels that camera rays reach before or at the first solid voxel."""
    seen = np.zeros_like(solid)
    for channel in CAMERAS:
        cam2ego = global2ego @ world.sensor_pose(channel, camera_times[channel])
        rays = camera_directions(world.rig.mounts[channel], _CAMERA_GRID) @ cam2ego[:3, :3].T
        seen |= visible_voxels(OCC3D_GRID, solid, cam2ego[None, :3, 3], rays, _SIGHT)
    return seen


def _in_view(
    points: npt.NDArray[Any],
    world: World,
    global2ego: FloatArray,
    camera_times: dict[str, float],
    depths: dict[str, npt.NDArray[np.float32]],
) -> npt.NDArray[np.bool_]:
    """Which ``(N, 3)`` ego-frame surface points a camera sees, by its depth image.

    Rays through voxels end at the nearest bump of the road; the true surface is seen beyond it.
    """
    seen = np.zeros(len(points), np.bool_)
    for channel, depth in depths.items():
        cam2ego = global2ego @ world.sensor_pose(channel, camera_times[channel])
        ego2cam = np.linalg.inv(cam2ego)
        local = points @ ego2cam[:3, :3].T + ego2cam[:3, 3]
        height, width = depth.shape
        z = np.maximum(local[:, 2], 1e-3)
        pixel = local @ world.rig.mounts[channel].intrinsics((width, height)).T
        u, v = pixel[:, 0] / z, pixel[:, 1] / z
        inside = (local[:, 2] > 0.3) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        index = np.flatnonzero(inside)
        measured = depth[v[index].astype(np.int64), u[index].astype(np.int64)]
        # On the road, neighbouring rows of pixels lie metres apart far away.
        seen[index] |= z[index] < measured * 1.05 + 0.2
    return seen
