import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import view_points
from pyquaternion import Quaternion

from minkocc.datasets.infos import create_infos
from minkocc.datasets.nuscenes_tables import open_keyframes
from minkocc.datasets.splits import split_scenes
from minkocc.datasets.transforms.loading import LoadPoints
from minkocc.files.infos import INFO_VERSION, InfoError, read_infos, write_infos
from minkocc.files.reading import UnsafeFileError
from minkocc.files.rig import NUSCENES_BOX
from minkocc.structures.taxonomy import CAMERAS
from tests.bomb import Bomb


@pytest.fixture(scope="module")
def nusc(synthetic_root):
    return NuScenes(version="v1.0-synthetic", dataroot=str(synthetic_root), verbose=False)


def all_frames(root):
    return [
        frame
        for split in ("train", "val")
        for frame in read_infos(root / f"minkocc_infos_{split}.pkl")["data_list"]
    ]


# Splits


@pytest.mark.parametrize(
    ("version", "train", "val"),
    [
        ("v1.0-mini", ["scene-0061", "scene-1077"], ["scene-0103", "scene-0916"]),
        ("v1.0-trainval", ["scene-0001", "scene-1077"], ["scene-0003", "scene-0916"]),
    ],
)
def test_official_split(tmp_path, version, train, val):
    scenes = [train[0], val[0], train[1], val[1]]
    assert split_scenes(tmp_path, version, scenes, None) == {"train": train, "val": val}


def test_named_scenes_override_the_official_split(tmp_path):
    scenes = ["scene-0061", "scene-0103"]
    assert split_scenes(tmp_path, "v1.0-mini", scenes, ["scene-0061"]) == {
        "train": ["scene-0103"],
        "val": ["scene-0061"],
    }


def test_unknown_named_scene_is_refused(tmp_path):
    with pytest.raises(InfoError, match="scene-9999: not in"):
        split_scenes(tmp_path, "v1.0-mini", ["scene-0061"], ["scene-9999"])


@pytest.mark.parametrize("version", ["v1.0-mine", "v1.0-mini"])
def test_scenes_without_a_split_ask_for_one(tmp_path, version):
    with pytest.raises(InfoError, match=r"mine-1.*--val-scenes"):
        split_scenes(tmp_path, version, ["mine-1", "mine-2"], None)


def test_a_worlds_own_split(tmp_path):
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"]}))
    assert split_scenes(tmp_path, "v1.0-synthetic", ["a", "b"], None) == {
        "train": ["a"],
        "val": ["b"],
    }


def change_table(root, name, change):
    """Put a changed table in the place of a link."""
    table = root / "v1.0-synthetic" / f"{name}.json"
    records = json.loads(table.read_text())
    change(records)
    table.unlink()
    table.write_text(json.dumps(records))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"train": ["a"], "val": ["z"]}', "names scenes that the tables do not hold: z"),
        ('{"train": ["a", "y"], "val": ["b"]}', "names scenes that the tables do not hold: y"),
        ('{"train": ["a"], "val": []}', "does not name all scenes of the tables: b"),
        ('{"train": ["a", "b"], "val": ["b"]}', "names scenes twice: b"),
        ('{"val": ["b"]}', "cannot be read .*'train'"),
        ('["b"]', "cannot be read"),
        ('{"train": 3, "val": []}', "cannot be read"),
        ('{"train"', "cannot be read"),
        pytest.param("[" * 100_000, "cannot be read", id="deep"),
    ],
)
def test_a_worlds_own_split_that_does_not_fit_is_refused(tmp_path, text, words):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(InfoError, match=rf"splits\.json {words}.*--val-scenes"):
        split_scenes(tmp_path, "v1.0-synthetic", ["a", "b"], None)
    named = split_scenes(tmp_path, "v1.0-synthetic", ["a", "b"], ["b"])
    assert named == {"train": ["a"], "val": ["b"]}


# Content, against nuscenes-devkit


def test_every_keyframe_is_there_once_and_linked(synthetic_root, nusc):
    frames = all_frames(synthetic_root)
    assert sorted(f["token"] for f in frames) == sorted(s["token"] for s in nusc.sample)
    for frame in frames:
        sample = nusc.get("sample", frame["token"])
        assert (frame["prev"], frame["next"]) == (sample["prev"], sample["next"])
        assert frame["timestamp"] == sample["timestamp"] / 1e6
        assert (synthetic_root / frame["occ_path"]).is_file()


def test_training_infos_carry_no_label(synthetic_root):
    for frame in all_frames(synthetic_root):
        text = repr(frame).lower()
        assert all(word not in text for word in ("anns", "box", "lidarseg", "category"))


def test_sweeps_agree_with_the_devkit(synthetic_root, nusc):
    frame = next(f for f in all_frames(synthetic_root) if f["prev"])
    sample = nusc.get("sample", frame["token"])
    cloud, times = LidarPointCloud.from_file_multisweep(
        nusc, sample, "LIDAR_TOP", "LIDAR_TOP", nsweeps=6, min_distance=0.0
    )
    lidar2ego = frame["lidar_points"]["lidar2ego"]
    expected = cloud.points[:3].T @ lidar2ego[:3, :3].T + lidar2ego[:3, 3]
    results = LoadPoints(sweeps=5)({**frame, "data_root": str(synthetic_root)})
    got = results["points"]
    lags = np.unique(np.round(got[:, 4], 3))
    np.testing.assert_allclose(lags, np.unique(np.round(times, 3)), atol=2e-3)
    for lag in lags:
        ours = got[np.abs(got[:, 4] - lag) < 2e-3, :3]
        theirs = expected[np.abs(times[0] - lag) < 2e-3]
        # Returns on the vehicle are ours to remove; they lie in its box at the sweep's own time.
        off = ((theirs < NUSCENES_BOX[0] - 3) | (theirs > NUSCENES_BOX[1] + 3)).any(1)
        keep = ((ours < NUSCENES_BOX[0] - 3) | (ours > NUSCENES_BOX[1] + 3)).any(1)
        assert off.sum() == keep.sum() > 1000
        np.testing.assert_allclose(ours[keep], theirs[off], atol=2e-3)


def lidar(nusc, sample):
    return LidarPointCloud.from_file(nusc.get_sample_data_path(sample["data"]["LIDAR_TOP"]))


def devkit_projection(nusc, sample, camera):
    """The steps of the devkit's map_pointcloud_to_image, without its filter by depth."""
    cloud = lidar(nusc, sample)
    for channel, forward in (("LIDAR_TOP", True), (camera, False)):
        record = nusc.get("sample_data", sample["data"][channel])
        calibration = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
        poses = [calibration, nusc.get("ego_pose", record["ego_pose_token"])]
        for pose in poses if forward else poses[::-1]:
            rotation = Quaternion(pose["rotation"]).rotation_matrix
            if forward:
                cloud.rotate(rotation)
                cloud.translate(np.array(pose["translation"]))
            else:
                cloud.translate(-np.array(pose["translation"]))
                cloud.rotate(rotation.T)
    intrinsics = np.array(calibration["camera_intrinsic"])
    return view_points(cloud.points[:3], intrinsics, normalize=True)[:2].T, cloud.points[2]


def test_cameras_agree_with_the_devkit(synthetic_root, nusc):
    frame = next(f for f in all_frames(synthetic_root) if f["prev"])
    sample = nusc.get("sample", frame["token"])
    lidar2ego = frame["lidar_points"]["lidar2ego"]
    for camera in CAMERAS:
        uv, depth = devkit_projection(nusc, sample, camera)
        view = frame["images"][camera]
        points = lidar(nusc, sample).points[:3].T
        ego = points @ lidar2ego[:3, :3].T + lidar2ego[:3, 3]
        local = ego @ view["ego2cam"][:3, :3].T + view["ego2cam"][:3, 3]
        # The devkit works in float32, at hundreds of metres from the map's origin.
        seen = (local[:, 2] > 1.0) & (np.abs(uv) < 500).all(1)
        assert seen.sum() > 500
        pixel = local[seen] @ view["cam2img"].T
        np.testing.assert_allclose(local[:, 2], depth, atol=2e-3)
        np.testing.assert_allclose(pixel[:, :2] / pixel[:, 2:], uv[seen], atol=0.05)


def test_ray_origins_are_the_scenes_lidar_positions(synthetic_root, nusc):
    for frame in all_frames(synthetic_root):
        sample = nusc.get("sample", frame["token"])
        scene = nusc.get("scene", sample["scene_token"])
        assert frame["ray_origins"].shape == (scene["nbr_samples"], 3)
        own = 1 if frame["prev"] else 0
        mount = frame["lidar_points"]["lidar2ego"][:3, 3]
        np.testing.assert_allclose(frame["ray_origins"][own], mount, atol=1e-9)


def test_a_root_without_labels_gets_infos_without_them(linked_root):
    shutil.rmtree(linked_root / "gts")
    for name in ("train", "val"):
        (linked_root / f"minkocc_infos_{name}.pkl").unlink()
    create_infos(linked_root, "v1.0-synthetic", val_scenes=["scene-0001"])
    val = read_infos(linked_root / "minkocc_infos_val.pkl")["data_list"]
    assert {frame["scene_name"] for frame in val} == {"scene-0001"}
    assert all(frame["occ_path"] is None for frame in all_frames(linked_root))


def test_a_root_with_keyframes_alone_and_no_annotations(linked_root):
    shutil.rmtree(linked_root / "sweeps")
    for name in ("sample_annotation", "instance"):
        table = linked_root / "v1.0-synthetic" / f"{name}.json"
        table.unlink()
        table.write_text("[]")
    for name in ("train", "val"):
        (linked_root / f"minkocc_infos_{name}.pkl").unlink()
    created = create_infos(linked_root, "v1.0-synthetic")
    nusc = NuScenes("v1.0-synthetic", str(linked_root), verbose=False)
    lidar = [r["filename"] for r in nusc.sample_data if r["filename"].startswith("sweeps/LIDAR")]
    assert created.missing_sweeps == sorted(lidar)
    for frame in all_frames(linked_root):
        # Only the keyframe half a second ago is left of the ten sweeps before this one.
        lags = [frame["lidar_points"]["timestamp"] - s["timestamp"] for s in frame["lidar_sweeps"]]
        assert len(lags) == (1 if frame["prev"] else 0)
        assert all(0.4 < lag < 0.6 for lag in lags)
        paths = [sweep["lidar_path"] for sweep in frame["lidar_sweeps"]]
        assert all((linked_root / path).is_file() for path in paths)


def test_wrong_version_is_named(synthetic_root):
    with pytest.raises(InfoError, match=r"v1\.0-trainval holds no nuScenes tables"):
        create_infos(synthetic_root, "v1.0-trainval")


# Reading


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def test_missing_info_file_says_how_to_make_it(tmp_path):
    with pytest.raises(InfoError, match=r"none\.pkl does not exist: create it with"):
        read_infos(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    "content",
    [
        {"metainfo": {"info_version": "minkocc-0"}, "data_list": []},
        {"infos": [], "metadata": {}},
        {"metainfo": [1], "data_list": []},
        [1, 2],
    ],
)
def test_infos_of_another_make_are_refused(tmp_path, content):
    with pytest.raises(InfoError, match=f"expected '{INFO_VERSION}': create it again"):
        read_infos(write(tmp_path / "old.pkl", content))


def test_missing_keys_are_named(tmp_path, synthetic_root):
    content = read_infos(synthetic_root / "minkocc_infos_val.pkl")
    frame = content["data_list"][0]
    del frame["ray_origins"], frame["images"]
    with pytest.raises(InfoError, match=f"frame {frame['token']}: missing images, ray_origins"):
        read_infos(write(tmp_path / "part.pkl", content))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda frame: frame["images"].pop("CAM_BACK"),
            "its cameras are CAM_FRONT, .*in one order",
        ),
        (
            lambda frame: frame["images"]["CAM_BACK"].pop("cam2img"),
            r"missing images\.CAM_BACK\.cam2img",
        ),
        (
            lambda frame: frame["lidar_points"].update(lidar2ego=np.eye(3)),
            r"lidar_points\.lidar2ego has shape \(3, 3\), expected \(4, 4\)",
        ),
        (
            lambda frame: frame.update(ego2global=np.full((4, 4), np.nan)),
            "ego2global holds NaN or infinity",
        ),
        (
            lambda frame: frame.update(ego2global=[[1, 2], [3]]),
            "ego2global is list, expected a matrix of float64",
        ),
        (lambda frame: frame.update(lidar_sweeps=None), "lidar_sweeps is no list"),
        (lambda frame: frame.update(lidar_points=3), r"lidar_points is a int, expected a dict"),
        (
            lambda frame: frame["lidar_sweeps"].append({"lidar_path": "x", "timestamp": 0}),
            r"missing lidar_sweeps\.\d+\.sweep2ego",
        ),
    ],
)
def test_every_part_of_a_frame_is_checked(tmp_path, synthetic_root, spoil, words):
    content = read_infos(synthetic_root / "minkocc_infos_val.pkl")
    frame = content["data_list"][-1]
    spoil(frame)
    with pytest.raises(InfoError, match=f"frame {frame['token']}: {words}; create it again"):
        read_infos(write(tmp_path / "part.pkl", content))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "12", True])
@pytest.mark.parametrize(
    ("part", "place"),
    [
        (lambda frame: frame, "timestamp"),
        (lambda frame: frame["lidar_points"], "lidar_points.timestamp"),
        (lambda frame: frame["lidar_sweeps"][0], "lidar_sweeps.0.timestamp"),
        (lambda frame: frame["images"]["CAM_BACK"], "images.CAM_BACK.timestamp"),
    ],
    ids=["frame", "lidar", "sweep", "image"],
)
def test_times_that_are_none_are_refused(tmp_path, synthetic_root, part, place, value):
    """A sweep's lag is an input of the network: one NaN made the whole loss NaN."""
    content = read_infos(synthetic_root / "minkocc_infos_val.pkl")
    part(content["data_list"][-1])["timestamp"] = value
    words = re.escape(f"{place} {value!r} is no time in seconds")
    with pytest.raises(InfoError, match=words):
        read_infos(write(tmp_path / "part.pkl", content))


def test_broken_tables_are_named(linked_root):
    table = linked_root / "v1.0-synthetic" / "sample.json"
    text = table.read_text()
    table.unlink()
    table.write_text(text[: len(text) // 2])
    with pytest.raises(InfoError, match=r"tables in .*v1\.0-synthetic cannot be read .*again"):
        create_infos(linked_root, "v1.0-synthetic")


def test_tables_that_nest_too_deeply_are_named(linked_root):
    table = linked_root / "v1.0-synthetic" / "sample.json"
    table.unlink()
    table.write_text("[" * 100_000)
    with pytest.raises(InfoError, match=r"tables in .*v1\.0-synthetic cannot be read .*Recursion"):
        create_infos(linked_root, "v1.0-synthetic")


def test_a_keyframe_whose_name_leaves_the_folder_is_refused(linked_root):
    change_table(linked_root, "scene", lambda scenes: scenes[0].update(name="../scene"))
    with pytest.raises(InfoError, match=r"'\.\./scene', which is no plain file name"):
        open_keyframes(linked_root, "v1.0-synthetic")


def spoil_first(table, **values):
    return table, lambda records: records[0].update(values)


def lose_last(records):
    del records[-1]


REFUSED = {
    "camera of no focal length": (
        *("calibrated_sensor", lambda records: [r.update(camera_intrinsic=NAN) for r in records]),
        r"cam2img holds NaN or infinity; unpack or make the tables again",
    ),
    "path that leaves the root": (
        *("sample_data", lambda records: [r.update(filename="../x") for r in records]),
        "leaves the data root",
    ),
    "pose that has no inverse": (
        *spoil_first("ego_pose", rotation=[0.0, 0.0, 0.0, 0.0]),
        "no unit quaternion",
    ),
    "rotation of three numbers": (
        *spoil_first("ego_pose", rotation=[1.0, 0.0]),
        "no unit quaternion",
    ),
    "rotation of yes": (*spoil_first("ego_pose", rotation=True), "no unit quaternion"),
    "sweep without its pose": ("ego_pose", lose_last, "cannot be read"),
    "sensors in a list": (
        *("calibrated_sensor", lambda records: [r.update(camera_intrinsic=7) for r in records]),
        r"cam2img has shape \(\)",
    ),
    "map of another release": (
        *("map", lambda records: records[0].pop("log_tokens")),
        "cannot be read .*log_tokens not in map table",
    ),
    "translation of one number": (
        *spoil_first("ego_pose", translation=7.0),
        r"v1\.0-synthetic: .* hold a pose, .* of translation 7\.0, expected x, y, z",
    ),
    "time of 400 digits": (*spoil_first("sample", timestamp=10**400), "OverflowError"),
    "scene without a name": (
        *("scene", lambda records: records[0].pop("name")),
        r"tables in .*v1\.0-synthetic cannot be read \(KeyError: 'name'\)",
    ),
    "scene of a wrong name": (*spoil_first("scene", name={}), "a scene is called {}"),
    "scene that begins later": (
        *(
            "scene",
            lambda records: records[0].update(first_sample_token=records[0]["last_sample_token"]),
        ),
        "do not lead from its first to its last: some are cut off",
    ),
    "scene that ends early": (*spoil_first("sample", next=""), "some are cut off"),
    "scene that never begins": (*spoil_first("scene", first_sample_token=""), "some are cut off"),
    "sweep that is left out of its chain": (
        *("sample_data", lambda records: [r.update(next="") for r in records if r["prev"]]),
        "sweep .* follows .*, which does not lead to it",
    ),
    "two keyframes of a sensor": (
        *("sample_data", lambda records: [r.update(is_key_frame=True) for r in records]),
        "has two keyframes of LIDAR_TOP",
    ),
    "keyframe without a time": (*spoil_first("sample", timestamp=None), "cannot be read"),
}
NAN = [[np.nan] * 3] * 3


@pytest.mark.parametrize("case", REFUSED)
def test_infos_that_would_be_refused_do_not_replace_good_ones(linked_root, case):
    table, spoil, words = REFUSED[case]
    change_table(linked_root, table, spoil)
    files = sorted(linked_root.glob("minkocc_infos_*"))
    before = [path.read_bytes() for path in files]
    with pytest.raises(InfoError, match=words):
        create_infos(linked_root, "v1.0-synthetic")
    assert [path.read_bytes() for path in files] == before
    assert sorted(linked_root.glob("*minkocc_infos*")) == files


def test_no_info_file_is_replaced_before_all_are_written(linked_root, monkeypatch):
    files = sorted(linked_root.glob("minkocc_infos_*"))
    before = [path.read_bytes() for path in files]
    dump, calls = pickle.dump, []

    def full_disk(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        dump(*arguments, **options)

    monkeypatch.setattr(pickle, "dump", full_disk)
    with pytest.raises(OSError, match="No space left"):
        create_infos(linked_root, "v1.0-synthetic", val_scenes=["scene-0001"])
    assert [path.read_bytes() for path in files] == before
    assert not list(linked_root.glob(".*.part"))


def link(number, target):
    def change(samples):
        chain = [sample for sample in samples if not sample["prev"]]
        last = next(s for s in samples if s["token"] == chain[0]["next"])
        first = chain[number]
        last["next"] = first["token"] if target == "first" else last["token"]

    return change


CHAINS = {
    "a circle": (link(0, "first"), "go in a circle"),
    "a keyframe after itself": (link(0, "itself"), "go in a circle"),
    "another scene": (link(1, "first"), "lead into another scene at sample"),
}


@pytest.mark.parametrize("case", CHAINS)
def test_keyframes_that_do_not_end_are_refused(linked_root, case, soon):
    change, words = CHAINS[case]
    change_table(linked_root, "sample", change)
    for use in (create_infos, open_keyframes):
        with pytest.raises(InfoError, match=words):
            use(linked_root, "v1.0-synthetic")


def test_sweeps_in_a_circle_are_refused(linked_root, soon):
    def change(records):
        lidar = [r for r in records if "LIDAR_TOP" in r["filename"]]
        first = next(r for r in lidar if not r["prev"])
        first["prev"] = first["token"]

    change_table(linked_root, "sample_data", change)
    with pytest.raises(InfoError, match=r"sweep .* follows .*, which does not lead to it"):
        create_infos(linked_root, "v1.0-synthetic")


def test_infos_with_code_are_refused_and_not_run(tmp_path):
    content = {"metainfo": {"info_version": INFO_VERSION}, "data_list": [Bomb(tmp_path / "ran")]}
    with pytest.raises(UnsafeFileError, match="could run code: refused"):
        read_infos(write(tmp_path / "bad.pkl", content))
    assert not (tmp_path / "ran").exists()


def test_corrupt_info_file_is_named(tmp_path):
    (tmp_path / "cut.pkl").write_bytes(b"\x80\x04\x95 ")
    with pytest.raises(InfoError, match=r"cut\.pkl is not a readable pickle.*create_data\.py"):
        read_infos(tmp_path / "cut.pkl")


@pytest.mark.parametrize("odd", [Path("x"), np.random.default_rng(0), lambda: None])
def test_what_could_not_be_read_is_not_written(synthetic_root, tmp_path, odd):
    frames = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    path = tmp_path / "infos.pkl"
    write_infos({path: frames}, "mine")
    before = path.read_bytes()
    with pytest.raises((UnsafeFileError, InfoError)):
        write_infos({path: [{**frames[0], "extra": odd}]}, "mine")
    assert path.read_bytes() == before
    assert read_infos(path)["data_list"][0]["token"] == frames[0]["token"]


def test_a_scene_is_in_one_file_alone(synthetic_root, tmp_path):
    first, *rest = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    first, last = {**first, "next": ""}, {**rest[-1], "prev": "", "next": ""}
    with pytest.raises(InfoError, match="a scene is in two files"):
        write_infos({tmp_path / "a.pkl": [first], tmp_path / "b.pkl": [last]}, "mine")
    assert not list(tmp_path.iterdir())
