"""A study's whole thread with the real tools, killed in the middle of it."""

import json
import signal

import pytest

from tests.e2e.job import expect_error, tool
from tests.forked import ROOT, ToolProcess

STUDY = """
data_root = {root!r}
splits = {{"again": {root!r}}}
options = {{
    "max_epochs": 2, "image_size": [64, 112], "model.genunet.max_voxels": 4000,
    "default_hooks.calibrate.frames": 2, "train_cfg.val_interval": 1,
    "default_hooks.checkpoint.max_keep_ckpts": 1, "alpha": 0.4,
}}
_recipe = "configs/minkocc_semi_a10_mini.py"
_arms = [
    dict(name="labels", config=_recipe, options=dict(warm_share=1.0)),
    dict(name="semi", label="the semi one", config=_recipe, options=dict(replay=0.5)),
]
blocks = [dict(seeds=[0], arms=_arms)]
series = {{"shares": ("alpha", ["labels", "semi"])}}
"""


def test_what_there_is_to_do_is_listed_and_what_there_is_not_is_told(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(STUDY.format(root=str(tmp_path)))
    out = ("--out", tmp_path / "out")
    listed = tool("study.py", path, *out, "--list")
    assert listed.returncode == 0, listed.stderr[-3000:]
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["labels_s0", "semi_s0"]
    assert listed.stdout.count("to do") == 2
    expect_error(tool("study.py", path, *out, "--arms", "strong"), "--arms strong", "labels, semi")
    expect_error(tool("study.py", path, *out, "--seeds", 7), "no run", "--seeds")
    assert "no run is done yet" in tool("study.py", path, *out, "--report").stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_study_goes_on_after_a_kill(synthetic_root, tmp_path):
    path = tmp_path / "small.py"
    path.write_text(STUDY.format(root=str(synthetic_root)))
    out = tmp_path / "out"
    process = ToolProcess("study.py", path, "--out", out)
    process.wait_for((out / "runs" / "labels_s0" / "epoch_1.pth").is_file)
    process.kill(signal.SIGINT)
    assert process.wait().returncode == 130
    done = tool("study.py", path, "--out", out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the semi one" in (out / "table.md").read_text()
    content = json.loads((out / "study.json").read_text())
    labels, semi = content["runs"]
    assert [point["iteration"] for point in labels["curve"]] == [6, 12]
    assert "resume" in (out / "runs" / "labels_s0" / "study.log").read_text().lower()
    for run in (labels, semi):
        assert run["final"]["occ3d"]["miou"] == run["splits"]["again"]["occ3d"]["miou"]
        assert run["final"]["rayiou"]["rayiou"] is not None
    assert len(content["commits"]) == 1
    pictures = {picture.stem for picture in (out / "charts").iterdir()}
    assert {"classes", "learning_curves", "prompts", "reliability", "shares"} == pictures
    listed = tool("study.py", ROOT / path, "--out", out, "--list").stdout
    assert listed.count(" done ") == 2
