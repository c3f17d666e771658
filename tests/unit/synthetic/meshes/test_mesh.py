"""Primitives have the shape they claim."""

from __future__ import annotations

import numpy as np
import pytest

from minkocc.synthetic.meshes.mesh import (
    Paint,
    blob,
    box,
    concatenate,
    cone,
    pose_matrix,
    sample_surface,
)
from minkocc.synthetic.meshes.scenery import street_tree
from minkocc.synthetic.meshes.street_objects import barrier, clutter, pedestrian, traffic_cone
from minkocc.synthetic.meshes.vehicles import VEHICLES
from minkocc.synthetic.rig import LIDAR, RIGS, Rig, camera_directions, lidar_directions

PAINT = Paint("static.manmade", (0.5, 0.5, 0.5))


def test_box_has_its_size_and_owner() -> None:
    mesh = box((1, 2, 3), (4, 2, 6), PAINT).owned_by(7)
    low, high = mesh.bounds()
    np.testing.assert_allclose(low, (-1, 1, 0))
    np.testing.assert_allclose(high, (3, 3, 6))
    assert (mesh.owner == 7).all()


def test_surface_samples_lie_on_the_box() -> None:
    mesh = box((0, 0, 0), (2, 2, 2), PAINT)
    points, face = sample_surface(mesh, 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(np.abs(points).max(1), 1.0)
    assert len(points) == len(face) == pytest.approx(24 / 0.01, rel=0.01)


def test_closed_primitives_enclose_their_volume() -> None:
    def volume(mesh):  # type: ignore[no-untyped-def]
        a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
        return abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6

    assert volume(box((0, 0, 0), (1, 2, 3), PAINT)) == pytest.approx(6)
    drum = cone((0, 0, 0), (0, 0, 2), (1, 1), PAINT, 64)
    assert np.ptp(drum.vertices[:, 2]) == pytest.approx(2)
    ball = blob((0, 0, 0), (1, 1, 1), PAINT, np.random.default_rng(0), level=2)
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 1, atol=1e-5)
    assert len(ball.faces) == 320


def test_transform_and_concatenate_keep_faces_apart() -> None:
    first = box((0, 0, 0), (1, 1, 1), PAINT)
    second = first.transformed(pose_matrix(10, 0, 0, np.pi / 2))
    both = concatenate([first, second])
    assert len(both.faces) == 24
    assert both.faces.max() == 15
    assert both.vertices[both.faces[12:]].mean() > 3
    assert len(concatenate([]).faces) == 0


@pytest.mark.parametrize("name", VEHICLES)
def test_vehicles_stand_on_the_ground_in_a_plausible_size(name: str) -> None:
    limits = {
        "car": (3.5, 5.2), "truck": (5.5, 9), "bus": (9, 13), "trailer": (6, 12),
        "construction_vehicle": (3.5, 8), "motorcycle": (1.5, 2.5), "bicycle": (1.4, 2),
    }  # fmt: skip
    for seed in range(5):
        low, high = VEHICLES[name](np.random.default_rng(seed)).bounds()
        assert low[2] == pytest.approx(0)
        np.testing.assert_allclose((low + high)[:2], 0, atol=1e-9)
        assert limits[name][0] < high[0] - low[0] < limits[name][1]


def test_small_objects_have_plausible_heights() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        assert 0.9 < pedestrian(rng).bounds()[1][2] < 2.0
        assert 0.6 < traffic_cone(rng).bounds()[1][2] < 1.1
        assert 0.8 < barrier(rng, seed % 2 == 0).bounds()[1][2] < 1.2
        assert 0.2 < clutter(rng).bounds()[1][2] < 1.6


def test_lidar_directions_follow_the_rings() -> None:
    rays = lidar_directions()
    assert rays.shape == (1084 * 32, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1)
    elevation = np.degrees(np.arcsin(rays[:32, 2]))
    assert elevation[0] == pytest.approx(-30.67)
    assert elevation[-1] == pytest.approx(10.67)


@pytest.mark.parametrize("rig", RIGS)
def test_cameras_look_where_their_names_say(rig: Rig) -> None:
    yaw = {}
    for channel, mount in rig.mounts.items():
        if channel != LIDAR:
            forward = mount.sensor2ego()[:3, 2]
            yaw[channel] = np.degrees(np.arctan2(forward[1], forward[0]))
    assert abs(yaw["CAM_FRONT"]) < 2
    assert abs(yaw["CAM_BACK"]) > 175
    assert 40 < yaw["CAM_FRONT_LEFT"] < 70
    assert -70 < yaw["CAM_FRONT_RIGHT"] < -40
    assert 90 < yaw["CAM_BACK_LEFT"] < 125
    assert -125 < yaw["CAM_BACK_RIGHT"] < -90


def test_camera_directions_pass_through_pixel_centres() -> None:
    mount = RIGS[0].mounts["CAM_FRONT"]
    rays = camera_directions(mount, (800, 450))
    assert rays.shape == (800 * 450, 3)
    pixel = rays[[0, 800, -1]] @ mount.intrinsics((800, 450)).T
    np.testing.assert_allclose(pixel[:, :2], [(0.5, 0.5), (0.5, 1.5), (799.5, 449.5)])


def test_lorries_pass_under_street_trees() -> None:
    for seed in range(20):
        mesh = street_tree(np.random.default_rng(seed))
        low = mesh.vertices[:, 2] < 3.6
        assert np.abs(mesh.vertices[low, :2]).max() < 0.3  # the stem alone
        assert 6.0 < mesh.bounds()[1][2] < 12.0
