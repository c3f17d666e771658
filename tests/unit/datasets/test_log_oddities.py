"""Mistakes that a manifest may hold without being wrong in itself are told."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.log_oddities import oddities
from minkocc.datasets.manifest import manifest
from minkocc.datasets.sensor_log import log_frames

CAM2EGO = [[0, 0, 1, 1.5], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1]]
K = [[40.0, 0.0, 40.0], [0.0, 40.0, 20.0], [0.0, 0.0, 1.0]]


@pytest.fixture
def told(tmp_path):
    """A road around the vehicle and a wall ahead, with what the manifest says changed."""
    x, y = np.meshgrid(np.arange(-20, 20, 0.5), np.arange(-20, 20, 0.5))
    road = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.8), np.zeros(x.size)], 1)
    wall = np.zeros((200, 4))
    wall[:, :3] = np.linspace([12, -5, -1.5], [12, 5, 2.0], 200)
    Image.new("RGB", (80, 40)).save(tmp_path / "a.png")

    def found(scale=1.0, lidar=(1, 0, 0, 0), up=1.8, cam2ego=CAM2EGO, ground=0.0):
        points = np.concatenate([road, wall]) * [scale, scale, scale, 1]
        np.save(tmp_path / "a.npy", points.astype(np.float32))
        frame = {
            "timestamp": 1.0,
            "ego2global": {"rotation": [1, 0, 0, 0], "translation": [0, 0, 0]},
            "lidar": "a.npy",
            "cameras": {"front": {"file": "a.png", "cam2img": K, "cam2ego": cam2ego}},
        }
        mount = {"rotation": list(lidar), "translation": [0, 0, up]}
        log = manifest("drive", [frame], lidar={"lidar2ego": mount}, vehicle={"ground_z": ground})
        (tmp_path / "log.json").write_text(json.dumps(log))
        (read,) = log_frames(tmp_path / "log.json", tmp_path)
        return list(oddities(read, tmp_path))

    return found


def test_nothing_is_said_of_a_log_that_is_right(told):
    assert told() == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": 100.0}, "are the LiDAR's units metres"),
        ({"scale": 0.001}, "are the LiDAR's units metres"),
        ({"up": 180.0}, "lidar stands 180 m from the vehicle's origin"),
        ({"lidar": (0, 1, 0, 0)}, "[01]% of the returns within 15 m lie on the road"),
        ({"ground": 1.8}, "look at lidar2ego .* and vehicle.ground_z"),
        ({"cam2ego": np.eye(4).tolist()}, "no return falls into the image of front"),
    ],
)
def test_what_is_hardly_meant_is_told(told, wrong, words):
    assert any(re.search(words, each) for each in told(**wrong)), told(**wrong)
