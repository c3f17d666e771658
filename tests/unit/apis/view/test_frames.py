"""What is read of a frame, held against the files and the recipe's own pipeline."""

import json

import numpy as np
import pytest
import torch

from minkocc.apis.inference import init_model
from minkocc.apis.view.boxes import edges
from minkocc.apis.view.choice import Offered
from minkocc.apis.view.frames import IMAGE, LABEL, PSEUDO_LABEL, VISIBLE, WEAK, ViewedFrames
from minkocc.apis.view.predictions import NetworkPredictor, SavedPredictor
from minkocc.datasets.manifest import LogError, manifest
from minkocc.datasets.transforms.loading import read_lidar
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import PredictionError, read_measured_label
from minkocc.registry import DATASETS
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.taxonomy import CAMERAS, FREE
from minkocc.visualization.errors import INVENTED, MISSED, RIGHT, WRONG_CLASS
from tests.unit.apis.test_inference import recipe


@pytest.fixture
def infos(synthetic_root):
    return synthetic_root / "minkocc_infos_val.pkl"


def save(folder, infos, change):
    """A folder of predictions made of the labels."""
    folder.mkdir()
    for frame in read_infos(infos)["data_list"]:
        label, _, _ = read_measured_label(infos.parent / frame["occ_path"])
        np.savez_compressed(folder / f"{frame['token']}.npz", pred=change(label))
    return SavedPredictor(folder)


def same(label):
    return label


AIR = (np.s_[100:104, 100:104, 14], np.s_[106:120, 95:105, 5:8])


def fewer_and_other(label):
    """No road, vegetation for what is man-made, and cars in the air."""
    out = label.copy()
    out[label == 11] = FREE
    out[label == 15] = 16
    for block in AIR:
        out[block][label[block] == FREE] = 4
    return out


def test_without_predictions_inputs_and_targets_are_shown(infos):
    frames = ViewedFrames(recipe(infos.parent), infos)
    assert len(frames) == 2
    assert list(frames.layers) == [LABEL, VISIBLE, WEAK]
    assert frames.pictures == [IMAGE, PSEUDO_LABEL]
    label, mask, _ = read_measured_label(infos.parent / frames.frames[1]["occ_path"])
    assert np.array_equal(frames.volume(1, LABEL).semantics, label)
    assert np.array_equal(frames.volume(1, VISIBLE).semantics, np.where(mask, label, FREE))
    assert frames.volume(1, LABEL) is frames.volume(1, LABEL)  # kept


def test_the_weak_target_is_the_one_that_is_trained_on(synthetic_root):
    infos = synthetic_root / "minkocc_infos_train.pkl"
    cfg = recipe(synthetic_root)
    weak = ViewedFrames(cfg, infos).volume(1, WEAK)
    settings = dict(cfg.train_dataloader.dataset)
    settings["pipeline"] = [
        {**step, "cache": False}
        for step in settings["pipeline"]
        if step.type == "LoadWeakOccupancy"
    ]
    target = DATASETS.build(settings).prepare_data(TrainIndex(1, 0, Phase.WEAK))["weak_occupancy"]
    assert np.array_equal(weak.semantics < FREE, target == 1)
    assert 1000 < (target == 1).sum() < target.size / 4


def test_errors_of_two_predictions(infos, tmp_path):
    right = save(tmp_path / "right", infos, same)
    other = save(tmp_path / "other", infos, fewer_and_other)
    frames = ViewedFrames(recipe(infos.parent), infos, [right, other])
    assert list(frames.layers) == [
        "prediction right", "prediction other", LABEL, VISIBLE, "errors right", "errors other", WEAK
    ]  # fmt: skip
    label, mask, _ = read_measured_label(infos.parent / frames.frames[0]["occ_path"])
    assert set(np.unique(frames.volume(0, "errors right").semantics)) == {RIGHT, FREE}
    kinds = frames.volume(0, "errors other").semantics
    assert np.array_equal(kinds == MISSED, (label == 11) & mask)
    assert np.array_equal(kinds == WRONG_CLASS, (label == 15) & mask)
    air = np.zeros_like(mask)
    for block in AIR:
        air[block] = True
    assert np.array_equal(kinds == INVENTED, air & mask & (label == FREE))
    assert (kinds == INVENTED).any()


def test_a_network_predicts_when_it_is_asked_and_tells_its_probabilities(infos, tmp_path):
    cfg = recipe(infos.parent)
    torch.manual_seed(3)
    model = init_model(cfg, device="cpu")
    model.genunet.set_thresholds([0.04] * 4)  # an untrained network says 0.047
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    predictor = NetworkPredictor(cfg, str(tmp_path / "weights.pth"), infos.parent)
    frames = ViewedFrames(cfg, infos, [predictor])
    assert frames.pictures[2:] == ["rendered, shader", "rendered, tied"]
    volume = frames.volume(0, "prediction")
    index = np.argwhere(volume.semantics < FREE)
    assert len(index) > 100
    for voxel in map(tuple, index[:: len(index) // 50]):
        chances = volume.predicted.probabilities_at(voxel).astype(float)
        assert chances.argmax() == volume.semantics[voxel]
        assert np.isclose(chances.sum(), 1, atol=0.01)
    free = tuple(np.argwhere(volume.semantics == FREE)[0])
    assert volume.predicted.probabilities_at(free) is None
    images = frames.images(0, "rendered, shader")
    assert set(images) == set(CAMERAS)
    assert images["CAM_FRONT"].shape == (108, 192, 3)


def test_what_has_no_data_is_absent(linked_root):
    infos = linked_root / "minkocc_infos_val.pkl"
    frame = read_infos(infos)["data_list"][0]
    for path in (
        linked_root / frame["lidar_points"]["lidar_path"],
        linked_root / frame["occ_path"],
        linked_root / frame["images"]["CAM_BACK"]["img_path"],
        linked_root / "v1.0-synthetic" / "sample_annotation.json",
        *linked_root.glob("pseudo_labels/labels/CAM_*/*"),
    ):
        path.unlink()
    frames = ViewedFrames(recipe(linked_root), infos)
    assert list(frames.layers) == [LABEL, VISIBLE]  # of the other frame
    assert frames.volume(0, LABEL) is None
    assert frames.volume(1, LABEL) is not None
    assert frames.sweep(0) is None
    assert frames.pictures == [IMAGE]
    assert set(frames.images(0, IMAGE)) == set(CAMERAS) - {"CAM_BACK"}
    assert not frames.has_boxes


def test_points_and_boxes_lie_where_the_label_says(infos):
    frames = ViewedFrames(recipe(infos.parent), infos)
    sweep = frames.sweep(0)
    raw = read_lidar(infos.parent / frames.frames[0]["lidar_points"]["lidar_path"])
    assert 0.5 * len(raw) < len(sweep) <= len(raw)
    assert frames.has_boxes
    label = frames.volume(0, LABEL).semantics
    inside = 0
    for box in frames.boxes(0):
        ego = np.linalg.inv(frames.frames[0]["ego2global"]) @ [*box.box2world[:3, 3], 1]
        lines = edges(box, frames.frames[0]["ego2global"])[:12]
        assert np.allclose(lines.reshape(-1, 3).mean(0), ego[:3])
        x, y, z = np.floor((ego[:3] - [-40, -40, -1]) / 0.4).astype(int)
        if 3 <= x < 197 and 3 <= y < 197 and 1 <= z < 15:
            near = label[x - 2 : x + 3, y - 2 : y + 3, z - 1 : z + 2]
            inside += (near == box.class_id).any()
    assert inside >= 2


def test_boxes_of_a_log_are_those_of_its_manifest(infos, tmp_path):
    frame = read_infos(infos)["data_list"][0]
    box = {"track": "a", "class": "car", "box2ego": np.eye(4).tolist(), "size": [4.0, 2.0, 1.5]}
    pose = frame["ego2global"].tolist()
    said = {"token": frame["token"], "ego2global": pose, "boxes": [box]}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(manifest("drive", [said])))
    frames = ViewedFrames(recipe(infos.parent), infos, logs=[path])
    assert frames.has_boxes
    (found,) = frames.boxes(0)
    lines = edges(found, frame["ego2global"])
    assert np.allclose(lines[:12].reshape(-1, 3).max(0), [2.0, 1.0, 0.75])
    assert frames.boxes(1) == []
    assert Offered.of(frames, "x", points=True, boxes=True).start.boxes

    path.write_text(json.dumps(manifest("drive", [{"ego2global": pose, "boxes": [box]}])))
    with pytest.raises(LogError, match=r"--log .*log\.json has no frame of .*infos_val"):
        ViewedFrames(recipe(infos.parent), infos, logs=[path])
    path.write_text(json.dumps(manifest("drive", [{**said, "boxes": []}])))
    frames = ViewedFrames(recipe(infos.parent), infos, logs=[path])
    assert not frames.has_boxes
    with pytest.raises(UserError, match="--boxes: there are none"):
        Offered.of(frames, "x", boxes=True)


def test_predictions_of_other_classes_are_refused(infos, tmp_path):
    groups = ClassGroups.of({"vehicle": ["car", "truck", "bus"]})
    plain = save(tmp_path / "plain", infos, same)
    grouped = save(tmp_path / "grouped", infos, groups.grouped)
    grouped.groups = groups
    with pytest.raises(PredictionError, match="plain and grouped are of networks with other"):
        ViewedFrames(recipe(infos.parent), infos, [plain, grouped])
    frames = ViewedFrames(recipe(infos.parent), infos, [grouped])
    assert set(np.unique(frames.volume(0, "errors").semantics)) == {RIGHT, FREE}
