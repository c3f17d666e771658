"""The cost of a recipe, measured through the tool on the tiny world."""

import json

from tests.e2e.job import CONFIG, FRAMES, expect_error, options, tool


def test_costs_are_written_for_every_recipe(synthetic_root, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(f"_base_ = [{str(CONFIG)!r}]\nseed = 1\n")
    knobs = [pair for pair in options(synthetic_root) if not pair.startswith("max_epochs")]
    out = tmp_path / "cost.json"
    done = tool("benchmark.py", CONFIG, other, "--epochs", 1, "--out", out, *knobs)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(out.read_text())
    assert report.keys() >= {"commit", "machine", "command", "epochs", "recipes"}
    assert set(report["recipes"]) == {CONFIG.stem, "other"}
    for name, cost in report["recipes"].items():
        assert name in done.stdout
        assert cost["iterations"] == FRAMES
        assert set(cost["seconds_per_iteration"]) == {"warm", "weak"}
        assert all(0 < s < 100 for s in cost["seconds_per_iteration"].values())
        assert 0 < cost["seconds_per_frame"] < 100
        # torch alone takes more than a fifth of a GiB, and nothing here takes eight.
        assert 0.2 < cost["peak_memory_gib"] < 8
        assert {"occ/miou", "occ/geometric_iou"} <= cost["metrics"].keys()


def test_a_mistake_in_the_last_recipe_is_told_at_once(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(f"_base_ = [{str(CONFIG)!r}]\nalpha = 3\n")
    done = tool("benchmark.py", CONFIG, bad, "--out", tmp_path / "cost.json")
    expect_error(done, "alpha 3")
    assert not (tmp_path / "cost.json").exists()
