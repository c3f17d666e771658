"""What the cameras and the LiDAR measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import SKY_2D, to_2d
from minkocc.synthetic.categories import CATEGORY_CLASS, category_index
from minkocc.synthetic.meshes.mesh import SCENERY, FloatArray
from minkocc.synthetic.meshes.vehicles import ego_body
from minkocc.synthetic.rig import (
    BEAM_ELEVATIONS,
    LIDAR,
    LIDAR_RANGE,
    RANGE_NOISE,
    Mount,
    camera_directions,
    lidar_directions,
)
from minkocc.synthetic.sensing.appearance import expose, shade
from minkocc.synthetic.sensing.tracer import Tracer, embree_scene

_NO_ECHO = 0.5  # metres within which points without an echo lie
_NOISE = category_index("noise")


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
        owner: ``(N,)`` object number, -1 for ground, the ego vehicle and no echo.
    """

    points: npt.NDArray[np.float32]
    category: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int32]


def take_picture(
    tracer: Tracer,
    channel: str,
    time: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> CameraFrame:
    """Render one camera.

    Args:
        tracer: of the world.
        channel: camera name.
        time: of the exposure, seconds.
        size: width and height in pixels.
        rng: draws exposure and noise.
    """
    world = tracer.world
    cam2global = world.sensor_pose(channel, time)
    rays = camera_directions(world.rig.mounts[channel], size) @ cam2global[:3, :3].T
    directions = rays.astype(np.float32)
    hits = tracer.trace(cam2global[:3, 3], directions, time)
    mesh, seen = tracer.mesh, hits.face >= 0
    semantics = np.full(len(directions), SKY_2D, np.uint8)
    semantics[seen] = to_2d(CATEGORY_CLASS)[mesh.category[hits.face[seen]]]
    owner = np.full(len(directions), SCENERY, np.int32)
    owner[seen] = mesh.owner[hits.face[seen]]
    colour = shade(tracer, hits, cam2global[:3, 3], directions, time, size, rng)
    shape = (size[1], size[0])
    return CameraFrame(
        expose(colour, size, world.light.tint, rng),
        semantics.reshape(shape),
        owner.reshape(shape),
        hits.distance.reshape(shape),
    )


def sweep_lidar(tracer: Tracer, time: float, rng: np.random.Generator) -> LidarSweep:
    """Measure one turn, all of it at one moment.

    Every ray leaves a point, as in nuScenes' files: those without an echo lie close to the sensor
    and are of category "noise". Intensity falls with the angle of incidence; weak echoes are lost,
    as are some at random. The vehicle's own roof and bonnet echo too.

    Args:
        tracer: of the world.
        time: of the turn, seconds.
        rng: draws noise and drop-outs.
    """
    rig = tracer.world.rig
    lidar2global = tracer.world.sensor_pose(LIDAR, time)
    local = _turned(rng.uniform(0, 2 * np.pi))
    directions = (local @ lidar2global[:3, :3].T).astype(np.float32)
    hits = tracer.trace(lidar2global[:3, 3], directions, time)
    own = _own_body(rig.lidar, local)
    mesh, found = tracer.mesh, hits.face >= 0
    face = np.where(found, hits.face, 0)
    cosine = np.abs(np.einsum("ij,ij->i", hits.normal, directions))
    distance = np.where(found, hits.distance, np.float32(LIDAR_RANGE)).astype(np.float64)
    kept, intensity = _echo(mesh.reflectance[face], cosine, distance, rng)
    kept &= found & (distance < LIDAR_RANGE)
    category = np.where(kept, mesh.category[face], _NOISE).astype(np.uint8)
    owner = np.where(kept, mesh.owner[face], SCENERY).astype(np.int32)
    # The sensor rides above its own vehicle: nothing of the world is nearer than that.
    on_own = own < distance
    category[on_own], owner[on_own] = category_index("vehicle.ego"), SCENERY
    distance = np.where(kept, distance, rng.uniform(0.05, _NO_ECHO, len(local)))
    distance = np.where(on_own, own, distance)
    near = np.floor(rng.uniform(0, 12, len(local)))
    intensity = np.where(kept & ~on_own, intensity, near)
    measured = (distance + rng.normal(0, RANGE_NOISE, len(local)))[:, None] * local
    ring = np.arange(len(local)) % len(BEAM_ELEVATIONS)
    points = np.column_stack([measured, np.clip(np.floor(intensity), 0, 255), ring])
    return LidarSweep(points.astype(np.float32), category, owner)


def _turned(angle: float) -> FloatArray:
    """The directions of a turn that starts at ``angle`` radians; no two start at the same."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.asarray(lidar_directions() @ turn.T)


def _echo(
    reflectance: npt.NDArray[np.float32],
    cosine: npt.NDArray[np.float32],
    distance: FloatArray,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Whether each ray's echo is heard, and its intensity.

    Args:
        reflectance: ``(N,)`` of what was hit, in [0, 1].
        cosine: ``(N,)`` of the angle of incidence.
        distance: ``(N,)`` metres.
        rng: draws both.
    """
    intensity = 120 * reflectance * np.sqrt(cosine) * rng.uniform(0.6, 1.4, len(cosine))
    # Retro-reflectors saturate the receiver.
    intensity = np.where(reflectance > 0.5, 2.2 * intensity, intensity)
    signal = reflectance * cosine / (distance / LIDAR_RANGE + 0.05) ** 2
    return rng.random(len(cosine)) < 0.97 * (1 - np.exp(-30 * signal)), intensity


def _own_body(mount: Mount, local: FloatArray) -> FloatArray:
    """Distance at which rays of the LiDAR hit its own vehicle, ``(N,)`` metres, infinite if not."""
    mesh = ego_body()
    lidar2ego = mount.sensor2ego()
    rays = (local @ lidar2ego[:3, :3].T).astype(np.float32)
    start = np.ascontiguousarray(np.broadcast_to(lidar2ego[:3, 3].astype(np.float32), rays.shape))
    hits = embree_scene(mesh).run(start, np.ascontiguousarray(rays), output=True)
    return np.where(hits["primID"] >= 0, hits["tfar"], np.inf).astype(np.float64)
