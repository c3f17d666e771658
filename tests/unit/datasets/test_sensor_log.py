"""Sensor logs: manifests of a vehicle that is not nuScenes', and what is wrong with others."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.manifest import LogError, manifest
from minkocc.datasets.sensor_log import create_log_infos, log_frames
from minkocc.datasets.transforms.loading import LoadImages, LoadPoints, read_lidar
from minkocc.files.infos import InfoError, read_infos
from minkocc.files.point_clouds import PointCloudError
from minkocc.files.rig import camera_matrices, image_size

SIZES = {"left": (40, 30), "right": (80, 40)}
K = [[50.0, 0.0, 20.0], [0.0, 48.0, 15.0], [0.0, 0.0, 1.0]]
# Looks along x: the camera's z is the vehicle's x.
CAM2EGO = [[0, 0, 1, 1.5], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1]]
POINTS = np.array([[10.0, 1.0, 0.5, 0.5], [20.0, -2.0, 1.0, 1.0]], np.float32)


def pose(x=0.0, y=0.0, yaw=0.0):
    return {
        "rotation": [math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)],
        "translation": [x, y, 0.0],
    }


@pytest.fixture
def log(tmp_path):
    """Two frames of a vehicle with two cameras of different sizes; content and a writer."""
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", POINTS)
        for name, size in SIZES.items():
            Image.new("RGB", size, (40 * number, 90, 10)).save(tmp_path / f"{name}{number}.png")
    frames = [
        {
            "timestamp": 100.0 + number,
            "ego2global": pose(5.0 * number),
            "lidar": f"{number}.npy",
            "cameras": {name: f"{name}{number}.png" for name in SIZES},
        }
        for number in range(2)
    ]
    cameras = {name: {"cam2img": K, "cam2ego": CAM2EGO} for name in SIZES}
    lidar = {"lidar2ego": pose(1.0), "intensity_max": 1.0}
    return manifest("drive", frames, lidar=lidar, cameras=cameras)


@pytest.fixture
def read(tmp_path, log):
    def frames(content=None, **how):
        path = tmp_path / "log.json"
        path.write_text(json.dumps(log if content is None else content))
        return log_frames(path, tmp_path, **how)

    return frames


def test_frames_are_linked_named_and_written_as_infos(tmp_path, log):
    (tmp_path / "log.json").write_text(json.dumps(log))
    paths = create_log_infos([tmp_path / "log.json"], tmp_path)
    assert list(paths) == ["train"]
    one, two = read_infos(paths["train"])["data_list"]
    assert (one["token"], two["token"]) == ("drive-000000", "drive-000001")
    assert (one["prev"], one["next"], two["prev"], two["next"]) == (
        "", two["token"], one["token"], "",
    )  # fmt: skip
    assert list(one["images"]) == ["left", "right"]
    assert one["images"]["right"]["img_path"] == "right0.png"
    assert (one["images"]["right"]["width"], one["images"]["right"]["height"]) == (80, 40)
    assert one["occ_path"] is None
    np.testing.assert_allclose(one["ray_origins"], [[1, 0, 0], [6, 0, 0]])
    np.testing.assert_allclose(two["ray_origins"], [[-4, 0, 0], [1, 0, 0]])


def test_lidar_of_another_format_is_kept_as_nuscenes_has_it(tmp_path, read):
    (one, _) = read()
    points = read_lidar(tmp_path / one["lidar_points"]["lidar_path"])
    np.testing.assert_allclose(points[:, :4], POINTS * [1, 1, 1, 255], rtol=1e-6)
    assert not points[:, 4].any()


def test_nuscenes_own_files_are_taken_as_they_are(tmp_path, log, read):
    rows = np.pad(POINTS, ((0, 0), (0, 1))) * np.float32([1, 1, 1, 200, 1])
    rows.tofile(tmp_path / "0.pcd.bin")
    log["frames"] = log["frames"][:1]
    log["frames"][0]["lidar"] = "0.pcd.bin"
    log["lidar"].pop("intensity_max")
    (frame,) = read()
    assert frame["lidar_points"]["lidar_path"] == "0.pcd.bin"
    assert not (tmp_path / "lidar_bin").exists()


def test_the_frame_of_the_infos_stands_on_the_ground(log, read):
    """A vehicle whose origin is 1.7 m up: nothing moves against anything else, all goes up."""
    plain = read()[0]
    log["vehicle"] = {"ground_z": -1.7, "box": [[-1, -1, -1.7], [3, 1, 0.3]]}
    raised = read()[0]
    up = np.eye(4)
    up[2, 3] = 1.7
    to_ego = raised["lidar_points"]["lidar2ego"]
    np.testing.assert_allclose(to_ego, up @ plain["lidar_points"]["lidar2ego"])
    np.testing.assert_allclose(raised["ego_box"], [[-1, -1, 0], [3, 1, 2]])
    for key in ("left", "right"):
        one, other = plain["images"][key]["ego2cam"], raised["images"][key]["ego2cam"]
        np.testing.assert_allclose(other @ up, one, atol=1e-12)
    np.testing.assert_allclose(raised["ego2global"] @ up, plain["ego2global"], atol=1e-12)


def test_a_camera_of_another_moment_is_where_the_vehicle_was_then(log, read):
    """0.5 m behind where the frame's LiDAR was: a point is so much nearer to the frame's camera."""
    log["vehicle"] = {"ground_z": 0.25}
    record = {"file": "left0.png", "ego2global": pose(-0.5), "timestamp": 99.95}
    log["frames"][0]["cameras"]["left"] = record
    images = read()[0]["images"]
    point = np.array([10.0, 0.0, 1.0, 1.0])
    assert (images["right"]["ego2cam"] @ point)[2] == pytest.approx(10 - 1.5)
    assert (images["left"]["ego2cam"] @ point)[2] == pytest.approx(10 - 1.5 + 0.5)
    assert images["left"]["ego2cam"][1, 3] == pytest.approx(images["right"]["ego2cam"][1, 3])
    assert images["left"]["timestamp"] == 99.95


def test_sweeps_are_moved_to_the_frame(tmp_path, log, read):
    np.save(tmp_path / "s.npy", POINTS)
    log["frames"][1]["sweeps"] = [
        {"file": "s.npy", "timestamp": 100.5, "ego2global": pose(3.0, yaw=math.pi / 2)}
    ]
    (sweep,) = read()[1]["lidar_sweeps"]
    # 1 m ahead of a vehicle that stood 2 m behind and looked left.
    np.testing.assert_allclose(sweep["sweep2ego"] @ [0, 0, 0, 1], [-2, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(sweep["sweep2ego"] @ [9, 0, 0, 1], [-2, 10, 0, 1], atol=1e-12)


def test_rays_begin_at_the_origin_of_the_lidar(tmp_path, log, read):
    """Points that a recorder has moved to the vehicle's frame already."""
    log["lidar"].update(lidar2ego=pose(), origin=[0.5, 0.0, 1.9])
    frame = read()[0]
    mount = frame["lidar_points"]["lidar2ego"]
    np.testing.assert_allclose(mount[:3, 3], [0.5, 0, 1.9])
    points = read_lidar(tmp_path / frame["lidar_points"]["lidar_path"])[:, :3]
    np.testing.assert_allclose(points @ mount[:3, :3].T + mount[:3, 3], POINTS[:, :3], atol=1e-6)


def test_images_of_different_sizes_are_brought_to_one(tmp_path, read):
    """A point is seen at the same share of every image, whatever was enlarged."""
    frame = {**read()[0], "data_root": str(tmp_path)}
    assert image_size(frame) == (40, 80)
    loaded = LoadImages().transform(dict(frame))
    assert [image.size for image in loaded["imgs"]] == [(80, 40), (80, 40)]
    point = np.array([10.0, 1.0, 0.5, 1.0])
    for matrix, ego2cam, name in zip(*camera_matrices(frame), SIZES):
        u, v, z = (matrix @ ego2cam @ point)[:3]
        raw = np.array(K) @ (ego2cam @ point)[:3]
        width, height = SIZES[name]
        assert u / z / 80 == pytest.approx(raw[0] / raw[2] / width)
        assert v / z / 40 == pytest.approx(raw[1] / raw[2] / height)


def test_returns_on_the_vehicles_own_box_are_left_out(tmp_path, log, read):
    log["vehicle"] = {"box": [[8.0, -3.0, -1.0], [14.0, 3.0, 3.0]]}  # the first point is inside
    frame = {**read()[0], "data_root": str(tmp_path), "phase": None}
    points = LoadPoints(sweeps=0).transform(frame)["points"]
    np.testing.assert_allclose(points[:, :3], [[21.0, -2.0, 1.0]])


def spoilt(**changes):
    def change(log):
        for place, value in changes.items():
            *path, key = place.split("__")
            node = log
            for part in path:
                node = node[int(part) if part.isdigit() else part]
            if value is None:
                del node[key]
            else:
                node[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoilt(format="1"), "format is '1', expected 'minkocc-log-1'"),
        (spoilt(name="../drive"), "name is '../drive', expected a plain file name"),
        (spoilt(frames=[]), "frames is .*, expected a list of objects"),
        (spoilt(frames=[3]), r"frames\.0 is 3, expected an object"),
        (spoilt(sensors={}), "has sensors, expected only format, name"),
        (spoilt(vehicle={"groundz": 1}), "vehicle has groundz, expected only box, ground_z"),
        (spoilt(vehicle={"ground_z": "1"}), "vehicle.ground_z is '1', expected a number"),
        (spoilt(vehicle={"box": [1, 2]}), "vehicle.box is .*, expected 2 rows of 3 numbers"),
        (spoilt(frames__1__timestamp=None), r"frames\.1\.timestamp is missing"),
        (spoilt(frames__1__timestamp=float("nan")), r"frames\.1\.timestamp is nan"),
        (spoilt(frames__0__ego2global=[[1]]), "ego2global is .*, expected 4 rows of 4 numbers"),
        (
            spoilt(frames__0__ego2global={"rotation": [2, 0, 0, 0], "translation": [0, 0, 0]}),
            "ego2global has rotation .*no unit quaternion",
        ),
        (
            spoilt(frames__0__ego2global={"rotation": [1, 0, 0, 0], "translation": 3}),
            "has translation 3, expected x, y, z",
        ),
        (spoilt(frames__0__lidar="no.npy"), r"frames\.0\.lidar\.file is no\.npy, and there is no"),
        (spoilt(frames__0__cameras__left="no.png"), r"cameras\.left\.file is no\.png"),
        (
            spoilt(frames__0__cameras__left=None),
            "lacks left, expected those of the log's own",
        ),
        (spoilt(frames__0__cameras__up="x.png"), "also has up, expected those"),
        (spoilt(cameras__left__cam2img=None), r"cameras\.left\.cam2img is missing"),
        (spoilt(lidar__intensity_max=0), "intensity_max 0, expected a number above 0"),
        (spoilt(lidar__origin=[1]), "lidar.origin is .*, expected 3 numbers"),
        (spoilt(lidar__columns="xyz"), "lidar.columns is 'xyz', expected a list of names"),
        (spoilt(cameras__left__width=0, cameras__left__height=3), "width is 0, expected a whole"),
    ],
)
def test_what_a_manifest_says_is_checked_where_it_is_read(log, read, change, words):
    change(log)
    with pytest.raises(LogError, match=words) as told:
        read()
    assert "log.json" in str(told.value) or "log drive" in str(told.value)


def test_intensities_of_another_scale_are_refused(log, read):
    log["lidar"]["intensity_max"] = 0.5
    with pytest.raises(PointCloudError, match=r"intensities from 0\.5 to 1, expected 0 to 0\.5"):
        read()


def test_files_outside_of_the_root_need_leave(tmp_path, log):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(LogError, match=r"outside of the data root .*--paths-leave-root"):
        log_frames(tmp_path / "log.json", folder)
    frames = log_frames(tmp_path / "log.json", folder, paths_leave_root=True)
    assert frames[0]["images"]["left"]["img_path"] == str(tmp_path / "left0.png")
    assert (folder / frames[0]["lidar_points"]["lidar_path"]).is_file()


def test_poses_that_cannot_be_are_refused_by_the_infos_checks(tmp_path, log):
    log["cameras"]["left"]["cam2img"] = [[-50.0, 0, 20], [0, 48, 15], [0, 0, 1]]
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(
        InfoError, match=r"images\.left\.cam2img is no camera's.*correct the manifest"
    ):
        create_log_infos([tmp_path / "log.json"], tmp_path)
    assert not (tmp_path / "minkocc_infos_train.pkl").exists()


def test_logs_are_split_by_their_names(tmp_path, log):
    paths = []
    for name in ("one", "two"):
        paths.append(tmp_path / f"{name}.json")
        # Each with images of its own: no two frames share one.
        frames = [log["frames"][len(paths) - 1]]
        paths[-1].write_text(json.dumps({**log, "name": name, "frames": frames}))
    written = create_log_infos(paths, tmp_path, ["two"])
    for split, name in (("train", "one"), ("val", "two")):
        (frame,) = read_infos(written[split])["data_list"]
        assert frame["scene_name"] == name
    with pytest.raises(LogError, match="--val-scenes three: no manifest has that name"):
        create_log_infos(paths, tmp_path, ["three"])
    with pytest.raises(LogError, match="of 2 manifests some are of one name"):
        create_log_infos([paths[0], paths[0]], tmp_path)


def test_a_manifest_that_is_none_is_told(tmp_path):
    with pytest.raises(LogError, match=r"does not exist: docs/own_data\.md"):
        log_frames(tmp_path / "no.json", tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(LogError, match=r"bad\.json cannot be read"):
        log_frames(tmp_path / "bad.json", tmp_path)
