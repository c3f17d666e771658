"""Logs that are not nuScenes': the same frames through a manifest, and another vehicle's scene."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from nuscenes.nuscenes import NuScenes

from minkocc.apis.inference import init_model, predict
from minkocc.datasets.manifest import manifest
from minkocc.files.infos import read_infos
from minkocc.files.writing import write_json
from minkocc.structures.taxonomy import CAMERAS
from tests.e2e.job import DATA, REAL, ROOT, printed_by

RECIPE = ROOT / "configs" / "minkocc_plus_a10_mini.py"
SELF = ROOT / "configs" / "minkocc_self_a0_mini.py"
WEIGHTS = ROOT / "results" / "zoo" / "minkocc_plus_a10_mini.pth"


def real(test):
    """Mark a test that reads real files."""
    for mark in REAL:
        test = mark(test)
    return test


def manifest_of(root, version):
    """The manifests of all scenes of a nuScenes root, by name, from its tables alone."""
    nusc = NuScenes(version=version, dataroot=str(root), verbose=False)

    def pose(table, token):
        record = nusc.get(table, token)
        return {key: record[key] for key in ("rotation", "translation")}

    def file(record, mount):
        return {
            "file": record["filename"],
            "timestamp": record["timestamp"] / 1e6,
            "ego2global": pose("ego_pose", record["ego_pose_token"]),
            mount: pose("calibrated_sensor", record["calibrated_sensor_token"]),
        }

    def frame(sample):
        lidar = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        record, cameras, sweeps = file(lidar, "lidar2ego"), {}, []
        earlier = lidar
        while earlier["prev"] and len(sweeps) < 10:
            earlier = nusc.get("sample_data", earlier["prev"])
            sweeps.append(file(earlier, "lidar2ego"))
        for name in CAMERAS:
            view = nusc.get("sample_data", sample["data"][name])
            calibration = nusc.get("calibrated_sensor", view["calibrated_sensor_token"])
            cameras[name] = {
                **file(view, "cam2ego"),
                "cam2img": calibration["camera_intrinsic"],
                "width": view["width"],
                "height": view["height"],
            }
        return {
            "token": sample["token"],
            "timestamp": sample["timestamp"] / 1e6,
            "ego2global": record.pop("ego2global"),
            "lidar": record,
            "sweeps": sweeps,
            "cameras": cameras,
        }

    logs = {}
    for scene in nusc.scene:
        token, frames = scene["first_sample_token"], []
        while token:
            sample = nusc.get("sample", token)
            frames.append(frame(sample))
            token = sample["next"]
        logs[scene["name"]] = manifest(scene["name"], frames)
    return logs


def assert_same(one, other, place=""):
    """Bit for bit, whatever the containers."""
    if isinstance(one, dict):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for number, pair in enumerate(zip(one, other)):
            assert_same(*pair, f"{place}.{number}")
    elif isinstance(one, np.ndarray):
        assert np.array_equal(one, other), place
    else:
        assert one == other, place


def through_manifests(root, version):
    """The frames of a root by its tables and by manifests, from the tool."""
    logs = []
    for name, content in manifest_of(root, version).items():
        logs.append(root / f"{name}.json")
        write_json(logs[-1], content)
    by_tables = {
        frame["token"]: frame
        for path in sorted(root.glob("minkocc_infos_*.pkl"))
        for frame in read_infos(path)["data_list"]
    }
    printed_by("create_data.py", "--root", root, "--log", *logs)
    by_logs = read_infos(root / "minkocc_infos_train.pkl")["data_list"]
    assert len(by_logs) == len(by_tables)
    return [(by_tables[frame["token"]], frame) for frame in by_logs]


def test_a_synthetic_world_through_manifests_gives_the_same_frames(synthetic_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(synthetic_root, root, symlinks=True)
    for one, other in through_manifests(root, "v1.0-synthetic"):
        assert other.pop("ego_box").shape == (2, 3)
        assert one["lidar_sweeps"] or not one["prev"]
        assert_same({key: one[key] for key in other}, other)


@real
def test_a_real_keyframe_through_a_manifest_is_predicted_bit_for_bit(tmp_path):
    root = tmp_path / "nuscenes"
    shutil.copytree(DATA / "nuscenes_keyframe", root)
    printed_by(
        "create_data.py", "--root", root, "--version", "v1.0-mini", "--val-scenes", "scene-0061"
    )
    ((one, other),) = through_manifests(root, "v1.0-mini")
    model = init_model(RECIPE, WEIGHTS, "cpu", render=True)
    predictions = [predict(model, frame, root) for frame in (one, other)]
    assert (predictions[0].pred_semantics < 17).sum() > 5000
    for name in ("pred_semantics", "rendered_tied", "rendered_shader"):
        assert torch.equal(*(getattr(found, name) for found in predictions)), name


@pytest.fixture(scope="module")
def dgp(tmp_path_factory):
    """Another vehicle's scene as a data root."""
    root = tmp_path_factory.mktemp("dgp") / "scene"
    shutil.copytree(DATA / "dgp_scene", root)
    (scene,) = root.glob("scene_*.json")
    said = printed_by(
        "converters/dgp.py", scene, "--out", root / "log.json", "--lidar-origin", 0.7, 0, 1.9
    )
    assert "3 frames" in said
    said = printed_by("create_data.py", "--root", root, "--log", root / "log.json")
    assert "train: 1 scenes, 3 frames, 0 with labels" in said
    return root


@real
def test_a_scene_of_another_vehicle_is_drawn_and_learned_from(dgp, tmp_path):
    infos = dgp / "minkocc_infos_train.pkl"
    frames = read_infos(infos)["data_list"]
    assert [len(frame["images"]) for frame in frames] == [6, 6, 6]
    printed_by(
        "visualize.py", RECIPE, WEIGHTS, "--infos", infos, "--out", tmp_path, "--max-frames", 1
    )
    assert len(list(tmp_path.glob("*.png"))) == 1
    page = tmp_path / "page.html"
    printed_by("view.py", RECIPE, WEIGHTS, "--infos", infos, "--export", page, "--max-frames", 1)
    assert page.stat().st_size > 1e6
    small = ["model.genunet.max_voxels=20000", "image_size=[96,176]", "num_workers=0"]
    without = ["val_cfg=None", "val_dataloader=None", "val_evaluator=None", "weight_2d=0"]
    printed_by(
        "train.py", SELF, "--work-dir", tmp_path / "run",
        "--cfg-options", f"data_root={dgp}", *small, *without, "max_epochs=2",
        "default_hooks.logger.interval=1", "log_processor.window_size=1",
        "default_hooks.calibrate.frames=1",
    )  # fmt: skip
    (log,) = (tmp_path / "run").glob("*/*.log")
    costs = [float(cost) for cost in re.findall(r"loss_bce: ([\d.]+)", log.read_text())]
    assert len(costs) == 6
    assert costs[-1] < 0.5 * costs[0]


def annotated(root, entry, kind):
    """What DGP says of a datum's objects, by instance: the centre of each box."""
    path = root / next(iter(entry["datum"].values()))["annotations"][kind]
    return {
        each["instance_id"]: [each["box"]["pose"]["translation"][axis] for axis in "xyz"]
        for each in json.loads(path.read_text())["annotations"]
    }


@real
def test_what_the_lidar_of_another_vehicle_sees_is_where_its_cameras_see_it(dgp):
    """DGP gives an object's box in the frame of every sensor: ours must lead from one to others."""
    scene = json.loads(next(dgp.glob("scene_*.json")).read_text())
    data = {entry["key"]: entry for entry in scene["data"]}
    frames = read_infos(dgp / "minkocc_infos_train.pkl")["data_list"]
    errors = []
    for sample, frame in zip(scene["samples"], frames):
        entries = {data[key]["id"]["name"]: data[key] for key in sample["datum_keys"]}
        by_lidar = annotated(dgp, entries["LIDAR"], "1")
        for camera, view in frame["images"].items():
            for instance, centre in annotated(dgp, entries[camera], "1").items():
                if instance in by_lidar:
                    # DGP's points, and so its boxes, are in the vehicle's frame.
                    found = (view["ego2cam"] @ [*by_lidar[instance], 1.0])[:3]
                    errors.append(np.linalg.norm(found - centre))
    assert len(errors) > 30
    assert max(errors) < 1e-6  # DGP moves its own boxes from sensor to sensor by these poses
