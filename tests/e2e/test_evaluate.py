"""``tools/evaluate.py`` as a stranger would use it, and that it agrees with ``tools/test.py``."""

import json
from functools import partial

import numpy as np
import pytest

from tests.e2e.job import CONFIG, ROOT, expect_error, options, tool, tool_from_shell
from tests.unit.evaluation.prediction_folders import TOKENS

FOREIGN = ("mmengine", "mmcv", "mmdet", "mmdet3d", "MinkowskiEngine", "nuscenes", "embreex")


@pytest.fixture
def evaluate(folders):
    """Runs the tool over ``folders``."""
    where = ("--pred", folders / "pred", "--gt", folders / "gts", "--workers", 1)
    return partial(tool, "evaluate.py", *where)


def test_all_protocols_from_a_plain_folder(folders):
    """In an interpreter that cannot import the training framework at all."""
    blocker = folders / "sitecustomize.py"
    blocker.write_text(
        "import sys\n"
        f"for name in {FOREIGN!r}:\n"
        "    sys.modules[name] = None\n"
    )  # fmt: skip
    out = folders / "results" / "r.json"
    done = tool_from_shell(
        "evaluate.py", "--pred", folders / "pred", "--gt", folders / "gts", "--workers", 2,
        "--origins", folders / "origins.json", "--out", out,
        "--protocol", "occ3d", "rayiou", "raypq", "paper-repo", "selfsup15",
        env={"PYTHONPATH": f"{folders}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads(out.read_text())
    for name in ("occ3d", "rayiou", "raypq", "paper-repo", "selfsup15"):
        assert f"protocol {name}, 3 frames" in done.stdout
        assert content[name]["num_frames"] == 3
    assert content["occ3d"]["iou"]["car"] == 0.0  # all called trucks
    assert (content["missing"], content["extra"]) == ([], [])
    assert "measuring: 100%" in done.stderr
    assert {path.name for path in out.parent.iterdir()} >= {"r.md", "r_classes.png"}


def test_missing_and_extra(folders, evaluate):
    (folders / "pred" / "bb.npz").rename(folders / "pred" / "zz.npz")
    out = folders / "r.json"
    done = evaluate("--out", out)
    expect_error(done, "frames without a prediction: 1 of 3 (bb)", "--allow-missing")
    assert "predictions that belong to no frame that is measured: 1 (zz)" in done.stderr
    assert not out.exists()
    done = evaluate("--out", out, "--allow-missing")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "frames without a prediction: 1 of 3, counted as free (bb)" in done.stderr
    content = json.loads(out.read_text())
    assert (content["missing"], content["extra"]) == (["bb"], ["zz"])
    assert content["missing_counted_as"] == "free"
    assert content["occ3d"]["num_frames"] == len(TOKENS)
    assert "- missing: bb" in (folders / "r.md").read_text()


def test_rays_need_origins(evaluate):
    expect_error(evaluate("--protocol", "rayiou"), "rayiou casts rays", "--origins")
    done = evaluate("--protocol", "paper-repo")
    assert done.returncode == 0
    assert "paper-repo: voxels alone" in done.stderr


def test_a_place_that_cannot_be_written_is_told_before_the_work(folders, evaluate):
    (folders / "r.json").mkdir()
    for out in (folders / "r.json", "/proc/none/r.json"):
        done = evaluate("--out", out)
        expect_error(done, f"--out {out}", "name a file that can be written")
        assert "measuring" not in done.stderr


def test_a_wrong_prediction_is_refused_by_name(folders, evaluate):
    bad = np.zeros((200, 200, 16), np.int32)
    np.savez_compressed(folders / "pred" / "cc.npz", pred=bad)
    expect_error(evaluate(), "cc.npz, key pred is int32", "uint8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", 0), "--workers 0 is too small"),
        (("--out", "r.txt"), "expected a name that ends with .json"),
        (("--protocol", "miou"), "invalid choice: 'miou'"),
    ],
)
def test_wrong_arguments(evaluate, arguments, words):
    done = evaluate(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_dumped_predictions_give_the_figures_of_the_test_tool(run, synthetic_root, tmp_path):
    """The model's test, with renders, and the stand-alone tool over what it dumped."""
    work_dir, _ = run
    dump, out = tmp_path / "dump", tmp_path / "test.json"
    done = tool(
        "test.py", CONFIG, work_dir / "epoch_2.pth", "--work-dir", tmp_path / "work",
        "--dump", dump, "--render", "--out", out, *options(synthetic_root), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    tested = json.loads(out.read_text())
    assert {"occ3d", "rayiou", "rendered2d"} <= tested.keys()
    assert tested["rendered2d"]["num_pixels"] > 0
    assert not (tmp_path / ".dist_test").exists()
    infos = synthetic_root / "minkocc_infos_val.pkl"
    done = tool(
        "evaluate.py", "--pred", dump, "--gt", synthetic_root / "gts", "--infos", infos,
        "--out", tmp_path / "folder.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    measured = json.loads((tmp_path / "folder.json").read_text())
    for protocol in ("occ3d", "rayiou"):
        del tested[protocol]["training"]
        assert measured[protocol] == tested[protocol]


def test_render_needs_pseudo_labels(run, linked_root, tmp_path):
    work_dir, _ = run
    for path in (linked_root / "pseudo_labels" / "labels").rglob("*.png"):
        path.unlink()
    done = tool(
        "test.py", CONFIG, work_dir / "epoch_2.pth", "--work-dir", tmp_path / "work", "--render",
        *options(linked_root),
    )  # fmt: skip
    expect_error(done, "--render", "no frame of the test set has a pseudo-label")
