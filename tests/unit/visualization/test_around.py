"""How cameras' pictures stand on a sheet."""

import numpy as np

from minkocc.structures.taxonomy import CAMERAS
from minkocc.visualization.cameras import around


def rows(names):
    pictures = {name: (name, np.zeros((2, 2, 3), np.uint8)) for name in names}
    return [[title for title, _ in row] for row in around(pictures)]


def test_nuscenes_six_stand_as_one_looks_around():
    assert rows(CAMERAS) == [
        ["CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"],
        ["CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"],
    ]


def test_some_of_them_keep_their_places():
    assert rows(["CAM_BACK", "CAM_FRONT", "CAM_FRONT_LEFT"]) == [
        ["CAM_FRONT_LEFT", "CAM_FRONT"],
        ["CAM_BACK"],
    ]
    assert rows(["CAM_BACK"]) == [["CAM_BACK"]]


def test_other_cameras_stand_as_they_come():
    names = [f"cam{number}" for number in range(7)]
    assert rows(names) == [names[:3], names[3:6], names[6:]]
