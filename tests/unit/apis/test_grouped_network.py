"""A network of groups of classes through the tools: every figure and file is of its classes."""

import numpy as np
import pytest
import torch

from minkocc.apis import visualize
from minkocc.apis.baselines import measure_height_baseline
from minkocc.apis.compare_predictions import draw_comparison, frames_to_draw
from minkocc.apis.inference import init_model
from minkocc.apis.test import measure_checkpoint
from minkocc.config import load_config
from minkocc.files.infos import read_infos
from minkocc.files.npz import npz_bytes
from minkocc.files.occupancy import PredictionError, read_class_groups, read_measured_label
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.taxonomy import PALETTE
from tests.e2e.job import CONFIG
from tests.unit.apis.test_inference import recipe

SPEC = {"vehicle": ["truck", "car", "bus"], "built": ["manmade", "barrier"]}
GROUPS = ClassGroups.of(SPEC)


@pytest.fixture
def cfg(synthetic_root, tmp_path):
    found = recipe(synthetic_root, class_groups=SPEC)
    found.work_dir = str(tmp_path / "work")
    return found


@pytest.fixture
def weights(cfg, tmp_path):
    """Of an untrained network that keeps every candidate."""
    torch.manual_seed(3)
    model = init_model(cfg, device="cpu")
    model.genunet.set_thresholds([0.04] * 4)
    run = {"class_groups": SPEC, "voxel_size": 0.4}
    state = {"state_dict": model.state_dict(), "meta": {"run": run}}
    torch.save(state, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


def test_figures_files_and_pictures_are_of_the_groups(cfg, weights, synthetic_root, tmp_path):
    out, dump = tmp_path / "test.json", tmp_path / "pred"
    summaries = measure_checkpoint(cfg, weights, out, dump, render=True)
    by_name = {summary["protocol"]: summary for summary in summaries}
    for name, key in (("occ3d", "iou"), ("rayiou", "iou@1"), ("rendered2d", "iou_tied")):
        assert tuple(by_name[name][key]) == GROUPS.names
    frames = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    for frame in frames:
        path = dump / f"{frame['token']}.npz"
        assert read_class_groups(path) == GROUPS
        assert set(np.unique(np.load(path)["pred"])) <= {*GROUPS.ids, 17}


def test_labels_of_a_sheet_are_grouped(cfg, weights, synthetic_root, tmp_path, monkeypatch):
    shown = {}

    def note(path, rows, title, **how):
        shown.update({name: picture for row in rows for name, picture in row}, how=how)

    monkeypatch.setattr(visualize, "write_sheet", note)
    infos = synthetic_root / "minkocc_infos_val.pkl"
    visualize.draw_frames(cfg, weights, infos, tmp_path, 1)
    assert shown["how"] == {"groups": GROUPS}
    gone = [PALETTE[i] for i in range(17) if GROUPS.table[i] != i]
    for name in ("dense label", "dense label, visible", "prediction"):
        picture = shown[f"{name}, from above (forward is up)"]
        assert not any((picture == colour).all(-1).any() for colour in gone), name


def test_the_height_baseline_is_of_the_groups(synthetic_root):
    options = {"data_root": str(synthetic_root), "alpha": 0.4}
    occ3d, _ = measure_height_baseline(load_config(CONFIG, {**options, "class_groups": SPEC}))
    plain, _ = measure_height_baseline(load_config(CONFIG, options))
    assert tuple(occ3d["iou"]) == GROUPS.names
    assert occ3d["iou"]["built"] >= plain["iou"]["manmade"]
    assert occ3d["geometric_iou"] == plain["geometric_iou"]


def test_predictions_of_other_classes_are_not_drawn_side_by_side(synthetic_root, tmp_path):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    frames = frames_to_draw(infos, 1)
    token = frames[0]["token"]
    label, _, _ = read_measured_label(synthetic_root / frames[0]["occ_path"])
    stamp = {"class_ids": GROUPS.table, "class_names": np.array(GROUPS.names)}
    for name, more in (("grouped", stamp), ("plain", {})):
        (tmp_path / name).mkdir()
        values = GROUPS.grouped(label) if more else label
        (tmp_path / name / f"{token}.npz").write_bytes(npz_bytes(pred=values, **more))
    out, preds = tmp_path / "out.png", {name: tmp_path / name for name in ("grouped", "plain")}
    with pytest.raises(PredictionError, match=r"--pred grouped, plain: .* other classes"):
        draw_comparison(frames, synthetic_root, preds, out)
    draw_comparison(frames, synthetic_root, {"grouped": preds["grouped"]}, out)
    assert out.is_file()
