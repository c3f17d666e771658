"""The whole path on a genuine nuScenes keyframe and a genuine Occ3D label."""

import shutil

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box
from PIL import Image
from pyquaternion import Quaternion

from minkocc.config import load_config
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import read_label
from minkocc.registry import DATASETS, MODELS
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.taxonomy import CAMERAS
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.e2e.job import DATA, REAL, ROOT, printed_by, tool

MINI = ROOT / "configs" / "minkocc_semi_a10_mini.py"
pytestmark = [*REAL]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "nuscenes"
    shutil.copytree(DATA / "nuscenes_keyframe", root)
    said = printed_by(
        "create_data.py", "--root", root, "--version", "v1.0-mini", "--val-scenes", "scene-0061"
    )
    assert "val: 1 scenes, 1 frames, 0 with labels" in said
    assert "train: 0 scenes, 0 frames" in said
    return root


@pytest.fixture(scope="module")
def frame(root):
    (frame,) = read_infos(root / "minkocc_infos_val.pkl")["data_list"]
    return frame


def test_infos_of_the_keyframe(frame):
    assert frame["token"].startswith("ca9a282c")
    assert frame["lidar_sweeps"] == []
    assert frame["occ_path"] is None
    for camera in CAMERAS:
        view = frame["images"][camera]
        assert (view["height"], view["width"]) == (900, 1600)
        assert abs(view["timestamp"] - frame["timestamp"]) < 0.05


def project(points, ego2cam, cam2img):
    local = points @ ego2cam[:3, :3].T + ego2cam[:3, 3]
    pixel = local @ cam2img.T
    return pixel[:, :2] / pixel[:, 2:], local[:, 2]


def test_points_in_a_box_project_into_its_outline(root, frame):
    nusc = NuScenes(version="v1.0-mini", dataroot=str(root), verbose=False)
    sample = nusc.get("sample", frame["token"])
    token = sample["data"]["LIDAR_TOP"]
    path, boxes, _ = nusc.get_sample_data(token)
    cloud = LidarPointCloud.from_file(path).points[:3]
    assert cloud.shape[1] == 34_688
    lidar2ego = frame["lidar_points"]["lidar2ego"]
    checked = used = 0
    for box in boxes:
        inside = cloud[:, points_in_box(box, cloud)]
        if not inside.shape[1]:
            continue
        points, corners = (
            a.T @ lidar2ego[:3, :3].T + lidar2ego[:3, 3] for a in (inside, box.corners())
        )
        for camera in CAMERAS:
            view = frame["images"][camera]
            outline, depth = project(corners, view["ego2cam"], view["cam2img"])
            if not ((depth > 0.5).all() and (outline >= 0).all() and (outline < (1600, 900)).all()):
                continue
            uv, _ = project(points, view["ego2cam"], view["cam2img"])
            low, high = outline.min(0) - 2, outline.max(0) + 2
            assert ((uv > low) & (uv < high)).all(), (box.name, camera)
            checked, used = checked + len(uv), used + 1
    assert used > 15
    assert checked > 200


def test_outline_in_the_camera_is_the_devkits(root, frame):
    # The devkit moves boxes to each camera through both ego poses.
    nusc = NuScenes(version="v1.0-mini", dataroot=str(root), verbose=False)
    sample = nusc.get("sample", frame["token"])
    ego = nusc.get(
        "ego_pose", nusc.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"]
    )
    rotation = Quaternion(ego["rotation"]).rotation_matrix
    for camera in CAMERAS:
        _, boxes, intrinsics = nusc.get_sample_data(sample["data"][camera])
        view = frame["images"][camera]
        np.testing.assert_allclose(view["cam2img"], intrinsics)
        for box in boxes:
            centre = nusc.get("sample_annotation", box.token)["translation"]
            in_ego = (np.array(centre) - ego["translation"]) @ rotation
            local = view["ego2cam"][:3, :3] @ in_ego + view["ego2cam"][:3, 3]
            np.testing.assert_allclose(local, box.center, atol=1e-3)


def mini(root, **more):
    small = {"model.genunet.max_voxels": 4000, "image_size": [96, 176], "num_workers": 0}
    return load_config(MINI, {"data_root": str(root), **small, **more})


def weak_batch(root, cfg, left_out):
    """The keyframe as a training sample of the weak phase."""
    settings = cfg.train_dataloader.dataset.to_dict()
    steps = [step for step in settings["pipeline"] if step["type"] not in left_out]
    settings.update(ann_file="minkocc_infos_val.pkl", pipeline=steps, alpha=0.0)
    init_default_scope("minkocc")
    dataset = DATASETS.build(settings)
    return pseudo_collate([dataset[TrainIndex(0, 0, Phase.WEAK)]])


def learn(cfg, batch, iterations):
    """A fresh network after so many iterations, and its losses in each of them."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    history = []
    for _ in range(iterations):
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
        terms = {name: term for name, term in losses.items() if "loss" in name}
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    return model, history


def test_weak_occupancy_of_its_own_lidar_is_learned_without_pseudo_labels(root):
    cfg = mini(root, shader_weight=0.0, tied_weight=0.0)
    batch = weak_batch(root, cfg, ["DropVoxels"])
    weak = batch["data_samples"][0].weak_occupancy
    assert 3000 < (weak == 1).sum() < 20_000
    assert (weak == 0).sum() > 50_000
    _, history = learn(cfg, batch, 6)
    assert all(set(losses) == {"loss_bce"} for losses in history)
    costs = [losses["loss_bce"] for losses in history]
    assert np.isfinite(costs).all()
    assert costs[-1] < 0.8 * costs[0]


@pytest.fixture(scope="module")
def root_with_labels(root, tmp_path_factory):
    """The keyframe with pseudo-labels that a real network made of its images."""
    labelled = tmp_path_factory.mktemp("labelled") / "nuscenes"
    shutil.copytree(root, labelled, ignore=shutil.ignore_patterns("weak_occupancy"))
    shutil.copytree(DATA / "nuscenes_keyframe_pseudo_labels", labelled / "pseudo_labels")
    return labelled


def test_the_weak_phase_learns_from_real_pseudo_labels_and_its_own_lidar(
    root_with_labels, tmp_path
):
    cfg = mini(root_with_labels, **{"model.genunet.max_voxels": 20_000})
    batch = weak_batch(root_with_labels, cfg, ["DropVoxels", "AugmentScene"])
    labels = batch["data_samples"][0].img_semantics
    assert labels.shape[2] == 200  # of 1600 pixels, one in eight
    assert len(labels.unique()) > 8
    model, history = learn(cfg, batch, 10)
    for name in ("loss_bce", "loss_2d_ce_shader", "loss_2d_ce_tied"):
        costs = [losses[name] for losses in history]
        assert np.isfinite(costs).all()
        assert costs[-1] < 0.8 * costs[0], (name, costs)
    weights, infos = tmp_path / "weak.pth", root_with_labels / "minkocc_infos_val.pkl"
    torch.save({"state_dict": model.state_dict()}, weights)
    options = ["model.genunet.max_voxels=20000", "image_size=[96,176]"]
    printed_by(
        "visualize.py", MINI, weights, "--infos", infos, "--out", tmp_path, "--cfg-options",
        f"data_root={root_with_labels}", *options,
    )  # fmt: skip
    (sheet,) = tmp_path.glob("*.png")
    with Image.open(sheet) as image:
        assert np.asarray(image.convert("L")).std() > 10


@pytest.fixture(scope="module")
def untrained(root, tmp_path_factory):
    """A freshly initialised mini model as a checkpoint."""
    init_default_scope("minkocc")
    torch.manual_seed(0)
    model = MODELS.build(mini(root).model)
    model.init_weights()
    path = tmp_path_factory.mktemp("weights") / "fresh.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


def test_prediction_runs_without_any_label(root, untrained):
    # At the images' own size.
    cfg = mini(root, image_size=[900, 1600])
    init_default_scope("minkocc")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    item = dataset[0]
    assert item["inputs"]["imgs"].shape == (6, 3, 900, 1600)
    assert not {"voxel_semantics", "img_semantics", "weak_occupancy"} & set(
        item["data_samples"].keys()
    )
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(torch.load(untrained, weights_only=True)["state_dict"])
    data = model.data_preprocessor(pseudo_collate([item]))
    pred = model(**data, mode="predict")[0].pred_semantics
    assert (pred.dtype, pred.shape) == (torch.uint8, (200, 200, 16))
    assert pred.max() <= 17
    assert (pred < 17).any()


def test_picture_of_the_keyframe(root, frame, untrained, tmp_path):
    infos = root / "minkocc_infos_val.pkl"
    options = ["model.genunet.max_voxels=4000", "image_size=[96,176]", f"data_root={root}"]
    printed_by(
        "visualize.py", MINI, untrained, "--infos", infos, "--out", tmp_path,
        "--cfg-options", *options,
    )  # fmt: skip
    with Image.open(tmp_path / f"{frame['token']}.png") as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 10


def test_genuine_occ3d_label():
    (path,) = (DATA / "occ3d_label").rglob("labels.npz")
    label = read_label(path)
    semantics, lidar, camera = (
        label[key] for key in ("voxel_semantics", "mask_lidar", "mask_camera")
    )
    assert semantics.shape == OCC3D_GRID.shape
    occupied = semantics < 17
    assert occupied.sum() == 39_092
    assert lidar.sum() == 56_601
    assert camera.sum() == 43_355
    assert not (camera & ~lidar).any()
    assert (occupied & ~lidar).sum() == 2_982
    assert np.unique(semantics[occupied]).tolist() == [0, 1, 3, 4, 6, 11, 13, 14, 15, 16]


def test_prediction_without_labels_through_the_tool(root, tmp_path):
    options = [f"data_root={root}", "num_workers=0", "image_size=[64,128]"]
    common = ["test.py", MINI, "--work-dir", tmp_path, "--cfg-options", *options]
    said = printed_by(*common, "--dump", tmp_path / "pred")
    assert "1 of 1 frames have no dense label" in said
    (path,) = (tmp_path / "pred").iterdir()
    with np.load(path) as archive:
        assert archive["pred"].shape == OCC3D_GRID.shape
        assert archive["pred"].dtype == np.uint8

    done = tool(*common)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: no frame of the test set has a dense label" in done.stderr
