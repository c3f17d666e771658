"""The written data set is what nuscenes-devkit and Occ3D's readers expect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import box_in_image
from PIL import Image
from pyquaternion import Quaternion

from minkocc.structures.taxonomy import CAMERAS, CATEGORY_TO_ID, FREE
from minkocc.structures.voxel_grid import OCC3D_GRID


@pytest.fixture
def figures() -> Iterator[None]:
    """Figures are drawn without a screen and closed after the test."""
    before = matplotlib.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def pose(record: dict) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Quaternion(record["rotation"]).rotation_matrix
    matrix[:3, 3] = record["translation"]
    return matrix


def sensor_to_global(nusc: NuScenes, data: dict) -> np.ndarray:
    calibrated = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
    return pose(nusc.get("ego_pose", data["ego_pose_token"])) @ pose(calibrated)


def lidar_keyframe(nusc: NuScenes, sample: dict) -> tuple[dict, np.ndarray, np.ndarray]:
    """Sample data, (N, 3) points in the LiDAR frame and their Occ3D classes."""
    data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    points = LidarPointCloud.from_file(nusc.get_sample_data_path(data["token"])).points[:3].T
    labels = nusc.get("lidarseg", data["token"])["filename"]
    category = np.fromfile(Path(nusc.dataroot) / labels, np.uint8)
    names = nusc.lidarseg_idx2name_mapping
    return data, points, np.array([CATEGORY_TO_ID[names[i]] for i in range(32)])[category]


def label(nusc: NuScenes, sample: dict) -> dict[str, np.ndarray]:
    scene = nusc.get("scene", sample["scene_token"])["name"]
    path = Path(nusc.dataroot) / "gts" / scene / sample["token"] / "labels.npz"
    with np.load(path) as arrays:
        return dict(arrays)


def test_devkit_loads_scenes_and_splits(nusc: NuScenes, tiny_root: Path) -> None:
    assert [scene["name"] for scene in nusc.scene] == ["scene-0001", "scene-0002"]
    splits = json.loads((tiny_root / "splits.json").read_text())
    assert splits == {"train": ["scene-0001"], "val": ["scene-0002"]}
    assert len(nusc.category) == 32
    assert nusc.lidarseg_name2idx_mapping["vehicle.car"] == 17
    assert [r["name"] for r in sorted(nusc.category, key=lambda r: r["index"])] == list(
        CATEGORY_TO_ID
    )


def test_samples_are_linked_and_sweeps_lie_between(nusc: NuScenes) -> None:
    for scene in nusc.scene:
        first = nusc.get("sample", scene["first_sample_token"])
        second = nusc.get("sample", first["next"])
        assert second["token"] == scene["last_sample_token"]
        assert second["prev"] == first["token"]
        assert second["timestamp"] - first["timestamp"] == 500_000
        data = nusc.get("sample_data", first["data"]["LIDAR_TOP"])
        stamps, keys = [data["timestamp"]], [data["is_key_frame"]]
        while data["next"]:
            data = nusc.get("sample_data", data["next"])
            stamps.append(data["timestamp"])
            keys.append(data["is_key_frame"])
        assert set(np.diff(stamps)) == {50_000}
        assert keys == [True] + 9 * [False] + [True]


def test_cameras_have_their_own_time_and_pose(nusc: NuScenes) -> None:
    for sample in nusc.sample:
        poses = set()
        for channel in CAMERAS:
            data = nusc.get("sample_data", sample["data"][channel])
            assert abs(data["timestamp"] - sample["timestamp"]) <= 50_000
            poses.add(data["ego_pose_token"])
            with Image.open(nusc.get_sample_data_path(data["token"])) as image:
                assert image.size == (320, 180) == (data["width"], data["height"])
        assert len(poses) == len(CAMERAS)


def test_boxes_are_seen_by_cameras(nusc: NuScenes) -> None:
    in_images = 0
    for sample in nusc.sample:
        assert sample["anns"]
        for channel in CAMERAS:
            _, boxes, intrinsics = nusc.get_sample_data(sample["data"][channel])
            in_images += sum(box_in_image(b, intrinsics, (320, 180)) for b in boxes)
    assert in_images > 5


def test_annotations_are_chained_by_instance(nusc: NuScenes) -> None:
    for instance in nusc.instance:
        annotation = nusc.get("sample_annotation", instance["first_annotation_token"])
        count = 1
        while annotation["next"]:
            annotation = nusc.get("sample_annotation", annotation["next"])
            assert annotation["instance_token"] == instance["token"]
            count += 1
        assert count == instance["nbr_annotations"]
        assert annotation["token"] == instance["last_annotation_token"]


def test_points_lie_in_observed_voxels(nusc: NuScenes) -> None:
    for sample in nusc.sample:
        data, points, _ = lidar_keyframe(nusc, sample)
        assert len(points) > 10_000
        calibrated = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
        lidar2ego = pose(calibrated)
        index = OCC3D_GRID.to_index(points @ lidar2ego[:3, :3].T + lidar2ego[:3, 3])
        inside = index[OCC3D_GRID.contains(index)]
        assert label(nusc, sample)["mask_lidar"][tuple(inside.T)].mean() > 0.95


def test_masks_nest_and_hold_the_labels(nusc: NuScenes) -> None:
    for sample in nusc.sample:
        arrays = label(nusc, sample)
        assert all(a.shape == (200, 200, 16) and a.dtype == np.uint8 for a in arrays.values())
        occupied = arrays["semantics"] != FREE
        lidar, camera = arrays["mask_lidar"] > 0, arrays["mask_camera"] > 0
        assert not (camera & ~lidar).any()
        assert not (occupied & ~lidar).any()
        assert 10_000 < occupied.sum() < 80_000
        assert 0.3 < (camera & occupied).sum() / occupied.sum() < 0.9
        assert (lidar & ~occupied).sum() > 5_000


def test_points_agree_with_clean_pseudo_labels(nusc: NuScenes, tiny_root: Path) -> None:
    exact = nearby = total = 0
    for sample in nusc.sample:
        data, points, classes = lidar_keyframe(nusc, sample)
        lidar2global = sensor_to_global(nusc, data)
        for channel in CAMERAS:
            camera = nusc.get("sample_data", sample["data"][channel])
            global2cam = np.linalg.inv(sensor_to_global(nusc, camera))
            matrix = global2cam @ lidar2global
            local = points @ matrix[:3, :3].T + matrix[:3, 3]
            calibrated = nusc.get("calibrated_sensor", camera["calibrated_sensor_token"])
            pixel = local @ np.array(calibrated["camera_intrinsic"]).T
            uv = np.floor(pixel[:, :2] / np.maximum(pixel[:, 2:], 1e-6)).astype(int)
            seen = (local[:, 2] > 0.5) & (uv >= 1).all(1) & (uv < (319, 179)).all(1)
            stem = Path(camera["filename"]).stem
            with Image.open(tiny_root / f"pseudo_labels/labels/{channel}/{stem}.png") as image:
                assert image.mode == "P"
                ids = np.asarray(image)
            u, v, truth = uv[seen, 0], uv[seen, 1], classes[seen] + 1
            around = [ids[v + dv, u + du] == truth for dv in (-1, 0, 1) for du in (-1, 0, 1)]
            exact += around[4].sum()
            nearby += np.any(around, axis=0).sum()
            total += seen.sum()
    # The rest is parallax: the LiDAR looks over what hides a point from the camera.
    assert total > 5_000
    assert exact / total > 0.93
    assert nearby / total > 0.95


def test_map_masks_load(nusc: NuScenes) -> None:
    for sample in nusc.sample:
        data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        ego = nusc.get("ego_pose", data["ego_pose_token"])["translation"]
        scene = nusc.get("scene", sample["scene_token"])
        log = nusc.get("log", scene["log_token"])
        mask = nusc.get("map", log["map_token"])["mask"]
        assert mask.is_on_mask(ego[0], ego[1])


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("channel", ["CAM_FRONT", "LIDAR_TOP"])
def test_devkit_renders_measurements_with_boxes(
    nusc: NuScenes, channel: str, tmp_path: Path
) -> None:
    out = tmp_path / "boxes.png"
    nusc.render_sample_data(nusc.sample[0]["data"][channel], out_path=str(out), verbose=False)
    assert_drawn(out)


@pytest.mark.usefixtures("figures")
def test_devkit_renders_point_labels(nusc: NuScenes, tmp_path: Path) -> None:
    out = tmp_path / "lidarseg.png"
    token = nusc.sample[0]["data"]["LIDAR_TOP"]
    nusc.render_sample_data(
        token, with_anns=False, show_lidarseg=True, out_path=str(out), verbose=False
    )
    assert_drawn(out)


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("labels", [False, True])
def test_devkit_renders_points_in_an_image(nusc: NuScenes, labels: bool, tmp_path: Path) -> None:
    out = tmp_path / "points.png"
    nusc.render_pointcloud_in_image(
        nusc.sample[1]["token"],
        camera_channel="CAM_BACK",
        show_lidarseg=labels,
        out_path=str(out),
        verbose=False,
    )
    assert_drawn(out)


def assert_drawn(path: Path) -> None:
    with Image.open(path) as image:
        assert np.asarray(image.convert("RGB")).std() > 10


def test_boxes_have_the_velocity_of_their_attribute(nusc: NuScenes) -> None:
    moving = standing = 0
    for annotation in nusc.sample_annotation:
        if not (annotation["prev"] or annotation["next"]):
            continue
        speed = float(np.linalg.norm(nusc.box_velocity(annotation["token"])[:2]))
        names = {nusc.get("attribute", token)["name"] for token in annotation["attribute_tokens"]}
        if names & {"vehicle.moving", "pedestrian.moving", "cycle.with_rider"}:
            assert 0.3 < speed < 16
            moving += 1
        else:
            assert speed < 1e-6
            standing += 1
    assert moving > 10
    assert standing > 10


def test_scenes_have_the_rigs_of_both_vehicles(nusc: NuScenes) -> None:
    focal, vehicles = {}, set()
    for scene in nusc.scene:
        sample = nusc.get("sample", scene["first_sample_token"])
        data = nusc.get("sample_data", sample["data"]["CAM_FRONT"])
        camera = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
        focal[scene["name"]] = camera["camera_intrinsic"][0][0] * 1600 / 320
        vehicles.add(nusc.get("log", scene["log_token"])["vehicle"])
    assert focal == pytest.approx({"scene-0001": 1266.417, "scene-0002": 1252.813}, abs=0.01)
    assert vehicles == {"n015", "n008"}
