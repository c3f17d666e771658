"""KITTI's layout: what its own matrices say of a point is what the infos' say."""

import json

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.kitti import GROUND_Z, kitti_manifest
from minkocc.datasets.manifest import LogError
from minkocc.datasets.sensor_log import log_frames
from minkocc.datasets.transforms.loading import read_lidar

# Sequence 00's, rounded.
P0 = [718.856, 0, 607.193, 0, 0, 718.856, 185.216, 0, 0, 0, 1, 0]
P2 = [718.856, 0, 607.193, 45.38, 0, 718.856, 185.216, -0.1131, 0, 0, 1, 0.00378]
TR = [4.277e-4, -0.99997, -8.084e-3, -0.01198, -7.21e-3, 8.081e-3, -0.99994, -0.05403,
      0.99997, 4.86e-4, -7.207e-3, -0.2922]  # fmt: skip
FORWARD = [1, 0, 0, 0.0, 0, 1, 0, 0.0, 0, 0, 1, 2.0]  # two metres along camera 0's axis


def orthonormal(row):
    matrix = np.array(row, float).reshape(3, 4)
    u, _, v = np.linalg.svd(matrix[:, :3])
    matrix[:, :3] = u @ v
    return matrix


def text(*rows):
    return "\n".join(" ".join(map(repr, map(float, row))) for row in rows) + "\n"


@pytest.fixture
def sequence(tmp_path):
    root = tmp_path / "sequences" / "07"
    (root / "velodyne").mkdir(parents=True)
    points = np.array([[20.0, 3.0, -1.0, 0.4], [12.0, -4.0, 0.5, 0.99]], np.float32)
    for number in range(2):
        points.tofile(root / "velodyne" / f"{number:06d}.bin")
        for camera in ("image_0", "image_2"):
            (root / camera).mkdir(exist_ok=True)
            Image.new("RGB", (124, 37)).save(root / camera / f"{number:06d}.png")
    calib = {"P0": P0, "P2": P2, "Tr": orthonormal(TR).ravel().tolist()}
    lines = [f"{name}: {text(row)}" for name, row in calib.items()]
    (root / "calib.txt").write_text("".join(lines))
    (root / "times.txt").write_text("0.0\n0.1\n")
    (root / "poses.txt").write_text(text(np.eye(3, 4).ravel(), FORWARD))
    return root


def frames_of(sequence, tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(kitti_manifest(sequence, tmp_path)))
    return log_frames(tmp_path / "log.json", tmp_path)


def test_points_fall_where_kittis_own_projection_puts_them(sequence, tmp_path):
    frame = frames_of(sequence, tmp_path)[0]
    points = read_lidar(tmp_path / frame["lidar_points"]["lidar_path"])[:, :3]
    velodyne = np.pad(points, ((0, 0), (0, 1)), constant_values=1.0)
    mount = frame["lidar_points"]["lidar2ego"]
    ego = velodyne @ mount.T
    np.testing.assert_allclose(ego[:, 2], points[:, 2] - GROUND_Z, rtol=1e-6)
    tr = np.vstack([orthonormal(TR), [0, 0, 0, 1]])
    for name, projection in (("image_0", P0), ("image_2", P2)):
        want = velodyne @ tr.T @ np.array(projection).reshape(3, 4).T
        view = frame["images"][name]
        got = (ego @ view["ego2cam"].T)[:, :3] @ view["cam2img"].T
        np.testing.assert_allclose(got[:, :2] / got[:, 2:], want[:, :2] / want[:, 2:], rtol=1e-9)
        assert (view["width"], view["height"]) == (124, 37)


def test_the_vehicle_drives_forward(sequence, tmp_path):
    one, two = frames_of(sequence, tmp_path)
    moved = np.linalg.inv(one["ego2global"]) @ two["ego2global"]
    np.testing.assert_allclose(moved[:3, 3], [2, 0, 0], atol=0.05)  # Tr is not quite square
    assert two["timestamp"] - one["timestamp"] == pytest.approx(0.1)


def spoil_times(root):
    (root / "times.txt").write_text("0.0\n")


def spoil_poses(root):
    (root / "poses.txt").write_text("1 2 3\n1 2 3\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "calib.txt").unlink(), r"calib\.txt cannot be read"),
        (lambda root: (root / "calib.txt").write_text("P0: 1 2\n"), "has no Tr"),
        (spoil_times, "has 2 sweeps, 1 times and 2 poses"),
        (spoil_poses, "expected 12 numbers a line"),
        (lambda root: (root / "image_2" / "000001.png").unlink(), "has no image 000001"),
        (lambda root: [path.unlink() for path in (root / "velodyne").iterdir()], "has 0 sweeps"),
    ],
)
def test_what_does_not_go_together_is_told(sequence, tmp_path, spoil, words):
    spoil(sequence)
    with pytest.raises(LogError, match=words):
        kitti_manifest(sequence, tmp_path)
