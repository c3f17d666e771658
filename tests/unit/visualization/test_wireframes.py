"""Cameras and boxes as lines, by hand."""

import numpy as np

from minkocc.visualization.wireframes import box_lines, image_plane

CAM2EGO = np.array([[0.0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]])  # looks along x


def test_an_off_centre_image_lies_where_its_pixels_look():
    cam2img = np.array([[100.0, 0, 70], [0, 50, 20], [0, 0, 1]])
    plane = image_plane(cam2img, np.linalg.inv(CAM2EGO), (60, 200), 2.0)
    ego2img = np.eye(4)
    ego2img[:3, :3] = cam2img
    ego2img = ego2img @ np.linalg.inv(CAM2EGO)
    right, down, forward = plane.rotation.T
    assert np.allclose(forward, [1, 0, 0])
    for across, along, pixel in ((-1, -1, (0, 0)), (1, -1, (200, 0)), (1, 1, (200, 60))):
        corner = plane.centre + across * plane.width / 2 * right + along * plane.height / 2 * down
        seen = ego2img @ [*corner, 1]
        assert np.isclose(seen[2], 2.0)
        assert np.allclose(seen[:2] / seen[2], pixel)
    assert plane.lines.shape == (8, 2, 3)
    assert np.allclose(plane.lines[:4, 0], CAM2EGO[:3, 3])


def test_a_box_has_its_twelve_edges_and_a_nose():
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # its front looks along y
    lines = box_lines(np.array([10.0, 0, 1]), np.array([4.0, 2, 1.5]), turned)
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
    assert sorted(np.round(lengths, 6)) == [1.0] + [1.5] * 4 + [2.0] * 4 + [4.0] * 4
    assert np.allclose(lines[:12].reshape(-1, 3).min(0), [9, -2, 0.25])
    assert np.allclose(lines[:12].reshape(-1, 3).max(0), [11, 2, 1.75])
    assert np.allclose(lines[12], [[10, 2, 0.25], [10, 3, 0.25]])
