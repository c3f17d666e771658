"""The cost of the finer recipes, measured through the tool on the tiny world."""

import json
import subprocess

import pytest
import torch
from mmengine.registry import init_default_scope

from minkocc.config import load_config
from minkocc.registry import MODELS
from tests.e2e.job import CONFIG, ROOT, expect_error, options, tool

FINER = [CONFIG.with_name(f"minkocc_semi_a10_{name}_mini.py") for name in ("vox02", "vox01")]


@pytest.mark.parametrize(
    "recipes", [FINER[:1], pytest.param(FINER, marks=pytest.mark.slow)], ids=["0.2 m", "0.1 m too"]
)
def test_finer_voxels_train_and_validate_in_bounded_memory(recipes, synthetic_root, tmp_path):
    out = tmp_path / "cost.json"
    knobs = options(synthetic_root, **{"model.genunet.max_voxels": 1000})
    knobs = [pair for pair in knobs if not pair.startswith("max_epochs")]
    done = tool("benchmark.py", *recipes, "--epochs", 1, "--frames", 2, "--out", out, *knobs)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert report.keys() >= {"commit", "machine", "command", "epochs", "recipes"}
    assert list(report["recipes"]) == [path.stem for path in recipes]
    for name, cost in report["recipes"].items():
        assert name in done.stdout
        assert cost["iterations"] == 2
        assert set(cost["seconds_per_iteration"]) == {"warm", "weak"}
        assert all(seconds > 0 for seconds in cost["seconds_per_iteration"].values())
        assert cost["seconds_per_frame"] > 0
        first, third = cost["latency"]["quartiles"]
        assert 0 < first <= cost["latency"]["median"] <= third
        # torch alone takes more than a fifth of a GiB.
        assert 0.2 < cost["peak_memory_gib"] < 8
        # Measured at 0.4 m, whatever the model's voxels.
        assert {"occ3d/miou", "occ3d/geometric_iou"} <= cost["metrics"].keys()


def test_a_mistake_in_the_last_recipe_is_told_at_once(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(f"_base_ = [{str(CONFIG)!r}]\nalpha = 3\n")
    done = tool("benchmark.py", CONFIG, bad, "--out", tmp_path / "cost.json")
    expect_error(done, "alpha 3")
    assert not (tmp_path / "cost.json").exists()


def test_the_metrics_are_timed_and_tell_known_changes(synthetic_root, tmp_path):
    out = tmp_path / "metrics.json"
    small = ("--max-frames", 2, "--repeat", 2, "--folder", 3)
    done = tool("benchmark_metrics.py", "--gt", synthetic_root / "gts", *small, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert report.keys() >= {"commit", "machine", "command", "frames"}
    assert all(laps["median"] > 0 for laps in report["milliseconds_a_frame"].values())
    assert report["folder"]["predictions"] == 3
    changes = report["changes"]
    for protocol in ("occ3d miou", "rayiou rayiou", "raypq raypq", "selfsup15 miou"):
        assert changes["unchanged"][protocol] == 100.0
        assert 0.0 < changes["shifted"][protocol] < 100.0
        assert changes["empty"][protocol] == 0.0
    assert (
        changes["seen only"]["paper-repo miou"] == 100.0 > changes["unchanged"]["paper-repo miou"]
    )


def test_every_stage_of_every_phase_is_timed_as_chosen(synthetic_root, tmp_path):
    out = tmp_path / "stages.json"
    knobs = [k for k in options(synthetic_root) if not k.startswith("max_epochs")]
    choice = ("--backend", "torch", "--amp", "--device", "cpu")
    done = tool("benchmark.py", CONFIG, "--stages", *choice, "--out", out, *knobs)
    assert done.returncode == 0, done.stderr[-3000:]
    told = done.stdout + done.stderr
    assert "CpuAmpOptimWrapper" in told
    assert "backend='torch'" in told
    (cost,) = json.loads(out.read_text())["recipes"].values()
    by_phase = cost["seconds_per_stage"]
    assert set(by_phase) == {"warm", "weak", "prediction"}
    modules = {"image encoder", "voxel encoder", "fusion", "GenUNet: stride 1, out"}
    for phase, stages in by_phase.items():
        steps = {"backward", "optimiser", "rendering", "shader"} if phase != "prediction" else set()
        assert all(stages[name] > 0 for name in modules | steps | {"loading", "rest"}), phase
        assert all(f"{1000 * seconds:.1f}" in done.stdout for seconds in stages.values())


@pytest.mark.slow  # four trainings and a compilation: tests/unit/engine/test_compare_commits.py
def test_another_commit_is_measured_in_turn(synthetic_root, tmp_path):
    out = tmp_path / "against.json"
    knobs = [k for k in options(synthetic_root) if not k.startswith("max_epochs")]
    few = ("--rounds", 1, "--frames", 2)
    weights = tmp_path / "weights.pth"
    init_default_scope("minkocc")
    torch.save({"state_dict": MODELS.build(load_config(CONFIG).model).state_dict()}, weights)
    few += ("--weights", weights, "--against-weights", weights)
    done = tool("benchmark.py", CONFIG, "--against", "HEAD", *few, "--out", out, *knobs)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    (before,), (now,) = report["against"], report["now"]
    costs = [side["recipes"][CONFIG.stem] for side in (before, now)]
    ratios = report["ratios"][CONFIG.stem]
    assert set(ratios) == {*costs[1]["seconds_per_iteration"], "frame"}
    assert ratios["frame"] == round(
        costs[0]["seconds_per_frame"] / costs[1]["seconds_per_frame"], 2
    )
    assert f"frame {ratios['frame']:.2f}" in done.stdout
    assert "minkocc-against-" in before["command"]
    assert "minkocc-against-" not in now["command"]
    for side in (before, now):
        assert side["command"].endswith(f"load_from={weights}")
    trees = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, cwd=ROOT)
    assert "minkocc-against-" not in trees.stdout


def test_what_cannot_be_compared_is_said(tmp_path):
    out = ("--out", tmp_path / "cost.json")
    expect_error(
        tool("benchmark.py", CONFIG, "--against", "no-such-commit", *out), "no-such-commit"
    )
    for wrong in (
        ("--rounds", 2),
        ("--against", "HEAD", "--rounds", 0),
        ("--stages", "--against", 1),
        ("--weights", "x.pth", "--against", "HEAD"),
        ("--against-weights", "x.pth"),
        ("--amp", "--against", "HEAD"),
        ("--weights", "x.pth", CONFIG),
        *([] if torch.cuda.is_available() else [("--device", "cuda")]),
    ):
        done = tool("benchmark.py", CONFIG, *out, *wrong)
        assert done.returncode == 2, done.stderr
        assert wrong[0] in done.stderr.splitlines()[-1]
    mine = tmp_path / "mine.py"
    mine.write_text(f"_base_ = [{str(CONFIG)!r}]\n")
    expect_error(tool("benchmark.py", mine, "--against", "HEAD", *out), "both commits have")


def test_renderers_are_timed(synthetic_root, tmp_path):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    few = ["--voxels", 50, "--channels", 2, "--widths", 64]
    command = ["--infos", infos, "--frames", 0, "--repeat", 1, *few, "--out", tmp_path / "t.json"]
    done = tool("benchmark_rendering.py", *command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| 6 x 64x36 |     50 |        2 |" in done.stdout
    report = json.loads((tmp_path / "t.json").read_text())
    assert {row["renderer"] for row in report["times"]} >= {"spheres", "voxels"}
    assert "variants" not in report
    done = tool("benchmark_rendering.py", *command, "--repeat", 0)
    assert done.returncode == 2
    assert "--frames 0 --repeat 0: nothing is left to measure" in done.stderr
