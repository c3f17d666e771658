"""Returns and pseudo-labels written by hand, counted through the files."""

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.transforms.loading import InputError
from minkocc.evaluation.pseudo_label_accuracy import accuracy_figures, no_pairs
from minkocc.files.pseudo_label_meta import make_meta, write_meta
from minkocc.label_report.pseudo_label_tables import pseudo_label_tables
from minkocc.label_report.pseudo_labels import count_keyframe
from minkocc.label_report.sections import Keyframe
from minkocc.structures.taxonomy import CAMERAS, class_id

HEIGHT, WIDTH, FOCAL = 40, 60, 50.0
CATEGORIES = {0: "noise", 1: "vehicle.car", 2: "static.manmade", 31: "vehicle.ego"}
CAR, MANMADE = (class_id(name) for name in ("car", "manmade"))
LIDAR_HEIGHT = 2.0
# All cameras look along +x from the origin: u = 30 - 50 y / x, v = 20 - 50 z / x.
AHEAD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def wall(metres, y, z=0.0):
    """Points ``(P, 3)`` in ego on a wall across the road."""
    return np.array([[metres, side, z] for side in y])


@pytest.fixture
def keyframe(tmp_path):
    """``keyframe((points, category number) ...)`` with what the left half of images is called."""

    def write(*parts, left=MANMADE + 1):
        points = np.concatenate([points for points, _ in parts])
        number = np.repeat([number for _, number in parts], [len(points) for points, _ in parts])
        cloud = np.zeros((len(points), 5), np.float32)
        cloud[:, :3] = points - [0, 0, LIDAR_HEIGHT]
        cloud.tofile(tmp_path / "sweep.bin")
        number.astype(np.uint8).tofile(tmp_path / "lidarseg.bin")
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[:, : WIDTH // 2] = left
        for kind, array in (("labels", label), ("confidence", np.where(label, 204, 0))):
            for camera in CAMERAS:
                path = tmp_path / "pseudo_labels" / kind / camera / "image.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(path)
        write_meta(tmp_path / "pseudo_labels", make_meta("test", [], {}, None))
        lidar2ego = np.eye(4)
        lidar2ego[2, 3] = LIDAR_HEIGHT
        image = {
            "img_path": "image.jpg",
            "cam2img": np.array([[FOCAL, 0, 30], [0, FOCAL, 20], [0, 0, 1]]),
            "ego2cam": AHEAD,
            "height": HEIGHT,
            "width": WIDTH,
        }
        frame = {
            "token": "token",
            "images": dict.fromkeys(CAMERAS, image),
            "lidar_points": {"lidar_path": "sweep.bin", "lidar2ego": lidar2ego},
        }
        return Keyframe(frame, tmp_path / "lidarseg.bin")

    return write


def figures(tmp_path, keyframe, folder="pseudo_labels"):
    return accuracy_figures(count_keyframe(tmp_path, folder, CATEGORIES, keyframe))


def test_a_wall_takes_the_labels_of_its_pixels(keyframe, tmp_path):
    left_and_right = wall(20.0, [4.0, 2.0, -2.0])  # two returns in the left half, one in the other
    found = figures(tmp_path, keyframe((left_and_right, 2)))
    assert found["pairs"] == 3 * len(CAMERAS)
    assert found["labelled"] == 2 / 3
    assert found["accuracy"] == 1.0
    assert found["classes"]["manmade"]["iou"] == 2 / 3
    assert found["rings"]["20-30 m"]["pairs"] == found["pairs"]
    assert found["confidence"]["mean_confidence"] == pytest.approx(0.8)


def test_what_a_car_hides_is_left_out(keyframe, tmp_path):
    car, behind, beside = wall(10.0, [1.0]), wall(30.0, [3.0]), wall(30.0, [12.0])
    found = figures(tmp_path, keyframe((car, 1), (behind, 2), (beside, 2), left=CAR + 1))
    assert found["hidden"] == {"pairs": 6, "labelled": 1.0, "accuracy": 0.0}
    assert found["classes"]["car"]["accuracy"] == 1.0
    manmade = found["classes"]["manmade"]
    assert (manmade["pairs"], manmade["confused_with"]) == (6, "car")


def test_what_is_on_nothing_or_seen_by_no_camera_is_no_pair(keyframe, tmp_path):
    seen, vehicle = wall(20.0, [2.0]), wall(2.0, [0.5])
    dust, hood, behind = wall(20.0, [4.0]), wall(5.0, [1.0]), wall(-20.0, [2.0])
    parts = ((seen, 2), (vehicle, 2), (dust, 0), (hood, 31), (behind, 2))
    found = figures(tmp_path, keyframe(*parts))
    assert found["pairs"] == len(CAMERAS)
    assert found["hidden"]["pairs"] == 0


def test_a_keyframe_without_pseudo_labels(keyframe, tmp_path):
    made = keyframe((wall(20.0, [2.0]), 2))
    assert count_keyframe(tmp_path, "elsewhere", CATEGORIES, made) is None


def test_lidarseg_of_another_sweep(keyframe, tmp_path):
    made = keyframe((wall(20.0, [2.0]), 2))
    (tmp_path / "lidarseg.bin").write_bytes(b"\x02\x02")
    with pytest.raises(InputError, match="has 2 classes, its sweep 1 points"):
        figures(tmp_path, made)


def test_tables_of_few_and_of_no_pairs(keyframe, tmp_path):
    context = {"counted": "pairs", "frames_counted": 1, "frames_without_pseudo_labels": []}
    tokens = {"frames_without_lidarseg": ["a", "b", "c", "d"]}
    found = figures(tmp_path, keyframe((wall(20.0, [4.0, -4.0]), 2)))
    text = pseudo_label_tables({**context, **tokens, **found})
    assert "without lidarseg: 4 keyframes (a, b, c, ...)" in text
    assert "without pseudo-labels" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| manmade"))
    assert row.split() == "| manmade | 12 | 50.00 | 100.00 | 50.00 | 0.00 | - |".split()
    for block in text.split("\n\n")[2::2]:
        assert len({len(line) for line in block.splitlines()}) == 1
    nothing = pseudo_label_tables({**context, **tokens, **accuracy_figures(no_pairs())})
    assert "expected calibration error -" in nothing
