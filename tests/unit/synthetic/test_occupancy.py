"""Labels of worlds small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minkocc.structures.taxonomy import CAMERAS, FREE, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.occupancy import label_keyframe, look_around, sample_world
from minkocc.synthetic.sensors import sweep_lidar, take_picture
from minkocc.synthetic.tracer import Tracer
from minkocc.synthetic.world import World
from tests.unit.synthetic.walled import WALL, walled_world


@pytest.fixture(scope="module")
def walled() -> World:
    return walled_world()


def test_label_of_the_wall(walled: World) -> None:
    tracer, pose = Tracer(walled), walled.ego_pose(0.0)
    rng = np.random.default_rng(0)
    sweep = sweep_lidar(tracer, 0.0, rng)
    samples = sample_world(walled, pose[None, :3, 3], rng)
    sight = look_around(tracer, samples, [0.0], [sweep])
    depths = {c: take_picture(tracer, c, 0.0, (160, 90), rng).distance for c in CAMERAS}
    label = label_keyframe(walled, samples, sight, 0.0, dict.fromkeys(CAMERAS, 0.0), depths)

    def at(x: float, y: float, z: float) -> tuple[int, ...]:
        return tuple(OCC3D_GRID.to_index(np.array([x, y, z])))

    assert label.semantics[at(WALL + 0.1, 0.1, 2.1)] == class_id("manmade")
    assert label.semantics[at(8.0, 0.1, 0.0)] == class_id("driveable_surface")
    assert label.semantics[at(8.0, 0.1, 1.0)] == FREE
    assert label.mask_lidar[at(8.0, 0.1, 1.0)]
    # Nothing behind the wall is observed, and it hides the road.
    behind = (slice(at(WALL + 2, 0, 0)[0], None), slice(75, 125), slice(0, 8))
    assert (label.semantics[behind] == FREE).all()
    assert not label.mask_lidar[behind].any()
    assert label.mask_camera[at(WALL + 0.1, 0.1, 2.1)]
    # Left of the car, close to its wheels, no camera looks.
    assert not label.mask_camera[at(0.9, 1.0, 0.0)]
