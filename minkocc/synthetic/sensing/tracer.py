"""First hits of rays with a world, by Embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from minkocc.synthetic.meshes.mesh import Mesh, concatenate
from minkocc.synthetic.town.world import World

Float32 = npt.NDArray[np.float32]
_FAR = 1e5


@dataclass(frozen=True)
class Hits:
    """What N rays hit first.

    Args:
        face: ``(N,)`` index into the traced mesh, -1 for nothing.
        distance: ``(N,)`` in lengths of the ray's direction, infinite for nothing.
        normal: ``(N, 3)`` unit normal turned towards the ray's origin.
    """

    face: npt.NDArray[np.int32]
    distance: Float32
    normal: Float32


class Tracer:
    """Traces a world's static mesh, kept in one Embree scene, and its movers, rebuilt per time.

    Args:
        world: to be traced.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._still = concatenate([world.static, world.backdrop])
        self._still_scene = embree_scene(self._still)
        # Faces keep their number and looks while they move, so only Embree's copy is rebuilt.
        self._mesh = concatenate([self._still, world.moving_mesh(0.0)])
        self._time: float | None = None
        self._moving_scene: EmbreeScene | None = None

    @property
    def mesh(self) -> Mesh:
        """What ``Hits.face`` refers to; movers' vertices are those at time 0."""
        return self._mesh

    def _move_to(self, time: float) -> None:
        if time == self._time:
            return
        moving = self.world.moving_mesh(time)
        self._time = time
        self._moving_scene = embree_scene(moving) if len(moving.faces) else None

    def trace(self, origin: npt.ArrayLike, directions: npt.ArrayLike, time: float) -> Hits:
        """First hits of rays from one point.

        Args:
            origin: ``(3,)`` global, metres.
            directions: ``(N, 3)`` global, any length.
            time: of the movers, seconds.
        """
        self._move_to(time)
        rays = np.ascontiguousarray(directions, np.float32)
        start = np.ascontiguousarray(np.broadcast_to(np.asarray(origin, np.float32), rays.shape))
        first = self._still_scene.run(start, rays, output=True)
        face, distance, normal = first["primID"], first["tfar"], first["Ng"]
        if self._moving_scene is not None:
            limit = np.minimum(distance, np.float32(_FAR))
            second = self._moving_scene.run(start, rays, dists=limit, output=True)
            nearer = second["primID"] >= 0
            face[nearer] = second["primID"][nearer] + len(self._still.faces)
            distance[nearer] = second["tfar"][nearer]
            normal[nearer] = second["Ng"][nearer]
        distance[face < 0] = np.inf
        length = np.sqrt(np.einsum("ij,ij->i", normal, normal))
        away = np.einsum("ij,ij->i", normal, rays) > 0
        normal /= (np.maximum(length, 1e-12) * np.where(away, -1, 1))[:, None]
        return Hits(face, distance, normal)

    def hidden(self, points: Float32, directions: Float32, time: float) -> npt.NDArray[np.bool_]:
        """Which points have anything in a direction, such as towards the sun, ``(N,)``.

        Args:
            points: ``(N, 3)`` global, metres, a little off their surfaces.
            directions: ``(N, 3)`` global, any length.
            time: of the movers, seconds.
        """
        self._move_to(time)
        start = np.ascontiguousarray(points, np.float32)
        rays = np.ascontiguousarray(directions, np.float32)
        found = np.asarray(self._still_scene.run(start, rays, query="OCCLUDED") == 0)
        if self._moving_scene is not None:
            found |= self._moving_scene.run(start, rays, query="OCCLUDED") == 0
        return found

    def blocked(
        self, origin: npt.ArrayLike, points: Float32, time: float, skin: float
    ) -> npt.NDArray[np.bool_]:
        """Which points something hides from another point, ``(N,)``.

        Args:
            origin: ``(3,)`` global, metres.
            points: ``(N, 3)`` global, metres.
            time: of the movers, seconds.
            skin: metres before each point that count as the point itself.
        """
        self._move_to(time)
        start = np.ascontiguousarray(np.broadcast_to(np.asarray(origin, np.float32), points.shape))
        rays = np.ascontiguousarray(points - start)
        length = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        rays /= length[:, None]
        limit = np.ascontiguousarray(np.maximum(length - np.float32(skin), np.float32(1e-3)))
        found = np.asarray(
            self._still_scene.run(start, rays, dists=limit.copy(), query="OCCLUDED") == 0
        )
        if self._moving_scene is not None:
            found |= self._moving_scene.run(start, rays, dists=limit, query="OCCLUDED") == 0
        return found


def embree_scene(mesh: Mesh) -> EmbreeScene:
    """A mesh as Embree traces it."""
    scene = EmbreeScene()
    TriangleMesh(scene, mesh.vertices.astype(np.float32), mesh.faces)
    return scene
