"""What the cameras and the LiDAR measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import SKY_2D, to_2d
from minkocc.synthetic.appearance import expose, shade
from minkocc.synthetic.categories import CATEGORY_CLASS
from minkocc.synthetic.mesh import SCENERY, FloatArray
from minkocc.synthetic.rig import (
    BEAM_ELEVATIONS,
    LIDAR,
    LIDAR_RANGE,
    MOUNTS,
    RANGE_NOISE,
    camera_directions,
    lidar_directions,
)
from minkocc.synthetic.tracer import Tracer
from minkocc.synthetic.world import Light

_BLIND = 1.0  # metres from the LiDAR within which it measures nothing


@dataclass(frozen=True)
class CameraFrame:
    """One picture and what it truly shows.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        semantics: ``(H, W)`` uint8 2D ids.
        owner: ``(H, W)`` int32 object number, -1 for ground and sky.
        distance: ``(H, W)`` float32 depth along the optical axis in metres, infinite for sky.
    """

    image: npt.NDArray[np.uint8]
    semantics: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float32]


@dataclass(frozen=True)
class LidarSweep:
    """One turn of the LiDAR.

    Args:
        points: ``(N, 5)`` float32: x, y, z in the LiDAR frame (metres), intensity 0..255, ring.
        category: ``(N,)`` nuScenes-lidarseg index.
        owner: ``(N,)`` object number, -1 for ground.
    """

    points: npt.NDArray[np.float32]
    category: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int32]


def take_picture(
    tracer: Tracer,
    light: Light,
    channel: str,
    ego_pose: FloatArray,
    time: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> CameraFrame:
    """Render one camera.

    Args:
        tracer: of the world.
        light: of the world.
        channel: camera name.
        ego_pose: 4x4 ego-to-global at ``time``.
        time: of the exposure, seconds.
        size: width and height in pixels.
        rng: draws exposure and noise.
    """
    cam2global = ego_pose @ MOUNTS[channel].sensor2ego()
    rays = camera_directions(channel, size) @ cam2global[:3, :3].T
    directions = rays.astype(np.float32)
    hits = tracer.trace(cam2global[:3, 3], directions, time)
    mesh, seen = tracer.mesh, hits.face >= 0
    semantics = np.full(len(directions), SKY_2D, np.uint8)
    semantics[seen] = to_2d(CATEGORY_CLASS)[mesh.category[hits.face[seen]]]
    owner = np.full(len(directions), SCENERY, np.int32)
    owner[seen] = mesh.owner[hits.face[seen]]
    colour = shade(mesh, hits, cam2global[:3, 3], directions, light)
    shape = (size[1], size[0])
    return CameraFrame(
        expose(colour, size, rng),
        semantics.reshape(shape),
        owner.reshape(shape),
        hits.distance.reshape(shape),
    )


def sweep_lidar(
    tracer: Tracer, ego_pose: FloatArray, time: float, rng: np.random.Generator
) -> LidarSweep:
    """Measure one turn, all of it at one moment.

    Intensity falls with the angle of incidence and weak returns are lost, as are some at random.

    Args:
        tracer: of the world.
        ego_pose: 4x4 ego-to-global at ``time``.
        time: of the turn, seconds.
        rng: draws noise and drop-outs.
    """
    lidar2global = ego_pose @ MOUNTS[LIDAR].sensor2ego()
    local = lidar_directions()
    # A turn never starts at the same angle.
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    local = local @ turn.T
    directions = (local @ lidar2global[:3, :3].T).astype(np.float32)
    hits = tracer.trace(lidar2global[:3, 3], directions, time)
    reach = (hits.face >= 0) & (hits.distance < LIDAR_RANGE) & (hits.distance > _BLIND)
    index = np.flatnonzero(reach)
    face, distance = hits.face[index], hits.distance[index].astype(np.float64)
    cosine = np.abs(np.einsum("ij,ij->i", hits.normal[index], directions[index]))
    reflectance = tracer.mesh.reflectance[face]
    intensity = 90 * reflectance * np.sqrt(cosine) * rng.uniform(0.6, 1.4, len(index))
    # Retro-reflectors saturate the receiver.
    intensity = np.where(reflectance > 0.5, 2.2 * intensity, intensity)
    signal = reflectance * cosine / (distance / LIDAR_RANGE + 0.05) ** 2
    kept = rng.random(len(index)) < 0.97 * (1 - np.exp(-30 * signal))
    measured = (distance + rng.normal(0, RANGE_NOISE, len(index)))[:, None] * local[index]
    ring = index % len(BEAM_ELEVATIONS)
    points = np.column_stack([measured, np.clip(np.floor(intensity), 0, 255), ring])
    mesh = tracer.mesh
    return LidarSweep(
        points[kept].astype(np.float32), mesh.category[face[kept]], mesh.owner[face[kept]]
    )
