"""Train, resume, test and draw the mini recipe through the tools, as a user does."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minkocc.datasets.infos import read_infos

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "minkocc_semi_a10_mini.py"
ALPHA, EPOCHS, FRAMES = 0.4, 2, 6
SWITCH = math.ceil(ALPHA * EPOCHS * FRAMES)


def options(root, **more):
    values = {
        "data_root": root,
        "alpha": ALPHA,
        "max_epochs": EPOCHS,
        "batch_size": 1,
        "image_size": "[64,112]",
        "model.genunet.max_voxels": 4000,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.logger.interval": 1,
        **more,
    }
    return ["--cfg-options", *[f"{key}={value}" for key, value in values.items()]]


def tool(script, *arguments):
    command = [sys.executable, "-W", "ignore", str(ROOT / "tools" / script), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def train(root, work_dir, *arguments, **more):
    return tool("train.py", CONFIG, "--work-dir", work_dir, *arguments, *options(root, **more))


LINE = re.compile(r"Epoch\(train\) +\[(\d+)\]\[(\d+)/(\d+)\] +phase: (\w+)  (.*)")


def training_lines(output):
    """(iteration from 0, phase, the losses' names) of every training line."""
    out = []
    for line in output.splitlines():
        if "Epoch(train)" in line:
            found = LINE.search(line)
            assert found, f"no phase in: {line}"
            epoch, place, length = (int(found[i]) for i in (1, 2, 3))
            names = set(re.findall(r"(loss_\w+):", found[5]))
            out.append(((epoch - 1) * length + place - 1, found[4], names))
    return out


@pytest.fixture(scope="module")
def run(synthetic_root, tmp_path_factory):
    """A finished training run: (work dir, what it printed)."""
    work_dir = tmp_path_factory.mktemp("run")
    done = train(synthetic_root, work_dir)
    assert done.returncode == 0, done.stderr[-3000:]
    return work_dir, done.stdout + done.stderr


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


def test_loss_is_finite_and_checkpoints_are_plain(run):
    work_dir, output = run
    losses = [float(value) for value in re.findall(r"  loss: ([\d.naninf]+)", output)]
    assert len(losses) == EPOCHS * FRAMES
    assert np.isfinite(losses).all()
    for epoch in (1, 2):
        content = torch.load(work_dir / f"epoch_{epoch}.pth", weights_only=True)
        assert content["meta"]["iter"] == epoch * FRAMES
        assert all(value.isfinite().all() for value in content["state_dict"].values())


@pytest.fixture(scope="module")
def tested(run, synthetic_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("tested")
    done = tool(
        "test.py", CONFIG, run[0] / "epoch_2.pth", "--work-dir", out, "--out", out / "figures.json",
        "--dump", out / "dump", *options(synthetic_root),
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
    figures = content["occ3d"]
    assert figures["num_frames"] == 2
    assert {"miou", "geometric_iou", "iou"} <= figures.keys()
    assert 0 <= figures["miou"] <= 100


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
    done = tool(
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


def test_resume_goes_on_as_if_never_stopped(run, synthetic_root, tmp_path):
    work_dir, _ = run
    # Audit of the killed run: it must be kept, and merged.
    (tmp_path / "label_audit").mkdir()
    budgeted = json.loads((work_dir / "label_audit.json").read_text())["read"]
    (tmp_path / "label_audit" / "0-1.txt").write_text(budgeted[0] + "\n")
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


# Errors end in one line.


def expect_error(done, *words):
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last


def test_misspelt_key(synthetic_root, tmp_path):
    expect_error(train(synthetic_root, tmp_path, alhpa=0.2), "'alhpa'", "'alpha'")


def test_impossible_alpha(synthetic_root, tmp_path):
    expect_error(train(synthetic_root, tmp_path, alpha=1.7), "alpha 1.7")


def test_missing_infos(tmp_path):
    expect_error(train(tmp_path, tmp_path), "minkocc_infos_train.pkl", "tools/create_data.py")


def test_missing_checkpoint(synthetic_root, tmp_path):
    none = tmp_path / "none.pth"
    done = tool("test.py", CONFIG, none, "--work-dir", tmp_path, *options(synthetic_root))
    expect_error(done, str(none), "does not exist")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("script", ["test.py", "train.py"])
def test_checkpoint_with_code_is_refused_and_not_run(run, synthetic_root, tmp_path, script):
    content = torch.load(run[0] / "epoch_1.pth", weights_only=True)
    content["meta"]["note"] = Bomb(tmp_path / "ran")
    torch.save(content, tmp_path / "bad.pth")
    flag = ["--resume"] if script == "train.py" else []
    more = ["--work-dir", tmp_path / "work", *options(synthetic_root)]
    done = tool(script, CONFIG, *flag, tmp_path / "bad.pth", *more)
    expect_error(done, "could run code: refused")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_another_model(run, synthetic_root, tmp_path):
    wider = options(synthetic_root, **{"model.semantic_head.beta": 0.5})
    wider.append("model.genunet.channels=[16,24,32,48,80]")
    done = tool("test.py", CONFIG, run[0] / "epoch_2.pth", "--work-dir", tmp_path, *wider)
    expect_error(done, "is of another model", "differs in", "genunet")


def test_corrupt_image_in_a_worker_is_one_line(linked_root, tmp_path):
    for path in (linked_root / "samples" / "CAM_FRONT").iterdir():
        path.unlink()
        path.write_bytes(b"\xff\xd8 cut")
    expect_error(train(linked_root, tmp_path), "CAM_FRONT", "cannot be read")
