"""Train, resume, test and draw the mini recipe through the tools, as a user does."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from minkocc.config import load_config
from minkocc.files.infos import read_infos
from tests.e2e.job import (
    ALPHA,
    CONFIG,
    EPOCHS,
    FRAMES,
    SWITCH,
    expect_error,
    options,
    tool,
    tool_from_shell,
    train,
    training_lines,
)


def expect_lines(lines, iterations):
    assert [number for number, _, _ in lines] == list(iterations)
    for number, phase, names in lines:
        assert phase == ("warm" if number < SWITCH else "weak")
        assert "loss_bce" in names
        if phase == "warm":
            assert "loss_3d_ce" in names
            assert not any(name.startswith("loss_2d") for name in names)
        else:
            assert {"loss_2d_ce_shader", "loss_2d_ce_tied"} <= names
            assert "loss_3d_ce" not in names


def test_every_line_names_its_phase_and_the_switch_is_where_alpha_says(run):
    _, output = run
    assert SWITCH == 5
    expect_lines(training_lines(output), range(EPOCHS * FRAMES))
    assert f"phase switch at iteration {SWITCH}" in output
    assert f"the switch is at iteration {SWITCH} of {EPOCHS * FRAMES}" in output
    assert "Failed to search registry" not in output


def test_audit_proves_that_only_budgeted_labels_were_read(run, synthetic_root):
    work_dir, _ = run
    audit = json.loads((work_dir / "label_audit.json").read_text())
    frames = read_infos(synthetic_root / "minkocc_infos_train.pkl")["data_list"]
    assert len(audit["scenes"]) == 2  # ceil(0.4 * 3)
    budgeted = {frame["token"] for frame in frames if frame["scene_name"] in audit["scenes"]}
    assert len(budgeted) == audit["labelled_frames"] == 4
    assert audit["all_frames"] == 6
    # Five warm iterations pass over the four labelled frames.
    assert set(audit["read"]) == budgeted
    assert audit["read_outside_budget"] == []
    assert audit["boxes"] == audit["lidarseg"] == []
    val = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    assert set(audit["evaluation_labels"]) <= {frame["token"] for frame in val}


def test_the_same_run_without_any_other_truth_gives_the_same_weights(run, linked_root, tmp_path):
    """All labels, boxes and lidarseg outside the budget are gone; the root is only read."""
    work_dir, _ = run
    budgeted = set(json.loads((work_dir / "label_audit.json").read_text())["scenes"])
    assert len(budgeted) == 2
    for scene in (linked_root / "gts").iterdir():
        if scene.name not in budgeted:
            shutil.rmtree(scene)
    shutil.rmtree(linked_root / "lidarseg")
    for name in ("sample_annotation", "instance", "lidarseg"):
        (linked_root / "v1.0-synthetic" / f"{name}.json").unlink()
    before = listing(linked_root)
    for folder in [linked_root, *(path for path in linked_root.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    try:
        more = {"cache_root": tmp_path / "cache", "val_cfg": None}
        done = train(linked_root, tmp_path / "work", **more)
        assert done.returncode == 0, done.stderr[-3000:]
        assert listing(linked_root) == before  # root itself may write where nobody else may
    finally:
        for folder in [linked_root, *(path for path in linked_root.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
    assert {path.name for path in (tmp_path / "cache").glob("*/*")} == {
        "label_budget", "weak_occupancy",
    }  # fmt: skip
    first, second = (
        torch.load(folder / "epoch_2.pth", weights_only=True)["state_dict"]
        for folder in (work_dir, tmp_path / "work")
    )
    for name, value in first.items():
        assert torch.equal(second[name], value), name


def listing(folder):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_work_dir_keeps_the_recipe_with_references_beside_the_resolved_one(run, synthetic_root):
    work_dir, _ = run
    resolved, recipe = work_dir / CONFIG.name, work_dir / "recipe.py"
    assert "${alpha}" not in resolved.read_text()
    assert "${alpha}" in recipe.read_text()
    again = load_config(recipe)
    assert (again.alpha, again.data_root) == (ALPHA, str(synthetic_root))
    assert load_config(recipe, {"alpha": 0.2}).train_dataloader.sampler.alpha == 0.2
    assert Config.fromfile(str(resolved)).train_dataloader.sampler.alpha == ALPHA


def test_loss_is_finite_and_checkpoints_are_plain(run):
    work_dir, output = run
    losses = [float(value) for value in re.findall(r"  loss: ([\d.naninf]+)", output)]
    assert len(losses) == EPOCHS * FRAMES
    assert np.isfinite(losses).all()
    for epoch in (1, 2):
        content = torch.load(work_dir / f"epoch_{epoch}.pth", weights_only=True)
        assert content["meta"]["iter"] == epoch * FRAMES
        assert all(value.isfinite().all() for value in content["state_dict"].values())


def thresholds_of(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    return content["state_dict"]["genunet.thresholds"]


def test_thresholds_are_calibrated_once_and_kept_in_the_last_checkpoint(run):
    work_dir, output = run
    (told,) = re.findall(r"thresholds of the decoder levels, coarse to fine: (.*)", output)
    last = thresholds_of(work_dir / "epoch_2.pth")
    assert told == ", ".join(f"{value:.3f}" for value in last.tolist())
    before = thresholds_of(work_dir / "epoch_1.pth")
    assert not torch.equal(last, before)
    assert (last[:-1] >= before[:-1]).all()  # no coarse one below that of training


OTHER_RECIPE = {"alpha": 0.9, "seed": 5, "outside": "free"}
"""Of testing: what the checkpoint was trained under is reported all the same."""


@pytest.fixture(scope="module")
def tested(run, synthetic_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("tested")
    done = tool_from_shell(
        "test.py", CONFIG, run[0] / "epoch_2.pth", "--work-dir", out, "--out", out / "figures.json",
        "--dump", out / "dump", *options(synthetic_root, **OTHER_RECIPE),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


def test_figures_name_protocol_mask_and_pretraining(tested):
    content = json.loads((tested[0] / "figures.json").read_text())
    assert (content["alpha"], content["train_mask"], content["image_pretrained"]) == (
        ALPHA,
        "camera",
        None,
    )
    assert content["seed"] == 0
    assert content["recipe_differs"] == {
        "alpha": {"checkpoint": ALPHA, "recipe": 0.9},
        "seed": {"checkpoint": 0, "recipe": 5},
        "outside": {"checkpoint": "label", "recipe": "free"},
    }
    figures = content["occ3d"]
    assert figures["num_frames"] == 2
    assert {"miou", "geometric_iou", "iou"} <= figures.keys()
    assert 0 <= figures["miou"] <= 100
    assert figures["training"] == {
        "train_mask": "camera",
        "outside": "label",
        "unknown": "free",
        "unknown_weight": 0.1,
        "image_pretrained": None,
    }


def test_figures_say_what_each_level_keeps_and_above_what(run, tested):
    content = json.loads((tested[0] / "figures.json").read_text())
    levels = content["pruning"]["levels"]
    assert [level["stride"] for level in levels] == [8, 4, 2, 1]
    used = thresholds_of(run[0] / "epoch_2.pth").tolist()
    for level, threshold in zip(levels, used):
        assert level["threshold"] == pytest.approx(threshold, abs=1e-4)
    occ3d = content["occ3d"]
    assert levels[-1]["visible_kept"] == pytest.approx(occ3d["geometric_recall"], abs=1e-3)


def test_dump_holds_every_frame_and_gives_the_same_figures(tested, synthetic_root):
    frames = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    files = {path.stem: path for path in (tested[0] / "dump").iterdir()}
    assert files.keys() == {frame["token"] for frame in frames}
    joint = union = 0
    for frame in frames:
        pred = np.load(files[frame["token"]])["pred"]
        assert (pred.dtype, pred.shape) == (np.uint8, (200, 200, 16))
        assert pred.max() <= 17
        with np.load(synthetic_root / frame["occ_path"]) as label:
            seen = label["mask_camera"] > 0
            wanted, got = label["semantics"][seen] < 17, pred[seen] < 17
        joint, union = joint + (wanted & got).sum(), union + (wanted | got).sum()
    figures = json.loads((tested[0] / "figures.json").read_text())["occ3d"]
    assert figures["geometric_iou"] == pytest.approx(100 * joint / union, abs=1e-4)


def test_pictures(run, synthetic_root, tmp_path):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    done = tool_from_shell(
        "visualize.py", CONFIG, run[0] / "epoch_2.pth", "--infos", infos, "--out", tmp_path,
        "--max-frames", 1, *options(synthetic_root),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (picture,) = tmp_path.iterdir()
    assert picture.stem in {frame["token"] for frame in read_infos(infos)["data_list"]}
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert np.asarray(image.convert("L")).std() > 10


def test_what_the_2d_labels_meet(run, synthetic_root, tmp_path):
    work_dir, _ = run
    out = tmp_path / "pixels.json"
    checkpoint = work_dir / f"epoch_{EPOCHS}.pth"
    words = (CONFIG, checkpoint, "--out", out, "--frames", 2, *options(synthetic_root))
    done = tool("analyze_rendering.py", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert {"commit", "command", "checkpoint"} <= found.keys()
    assert found["frames"] == 2
    whole = {name: row["all"] for name, row in found["variants"].items()}
    assert whole["exact"]["free in truth"] == 0
    assert whole["carved"]["free in truth"] <= whole["trained"]["free in truth"]
    assert whole["trained"]["its class"] < whole["exact"]["its class"]
    assert "| what the network predicts" in done.stdout
    blind = tool("analyze_rendering.py", *words, "weight_2d=0")
    expect_error(blind, "renders nothing in the weak phase", "weight_2d")


def test_resume_goes_on_as_if_never_stopped(run, synthetic_root, tmp_path):
    work_dir, _ = run
    # Audit of the killed run: it must be kept, and merged.
    (tmp_path / "label_audit").mkdir()
    budgeted = json.loads((work_dir / "label_audit.json").read_text())["read"]
    (tmp_path / "label_audit" / "0-1.txt").write_text(f"dense {budgeted[0]}\n")
    done = train(synthetic_root, tmp_path, "--resume", work_dir / "epoch_1.pth")
    assert done.returncode == 0, done.stderr[-3000:]
    expect_lines(training_lines(done.stdout + done.stderr), range(FRAMES, EPOCHS * FRAMES))
    audit = json.loads((tmp_path / "label_audit.json").read_text())
    assert budgeted[0] in audit["read"]
    assert audit["read_outside_budget"] == []
    first, second = (
        torch.load(path / "epoch_2.pth", weights_only=True)["state_dict"]
        for path in (work_dir, tmp_path)
    )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, msg=name)
