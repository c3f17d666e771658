import json
import os
from types import SimpleNamespace

import pytest

from minkocc.datasets.label_budget import LabelBudget
from minkocc.engine.warm_start import WarmStartHook
from minkocc.files.occupancy import LabelError

SCENE_OF = {f"t{i}": f"s{i // 2}" for i in range(6)}


@pytest.fixture
def runner(tmp_path):
    budget = LabelBudget(0.3, 0, frozenset({"s0"}))
    dataset = SimpleNamespace(label_budget=budget, scene_of=SCENE_OF)
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(work_dir=str(tmp_path), train_dataloader=loader)


def audit(runner, tmp_path):
    WarmStartHook(0.3)._merge_audit(runner)
    return json.loads((tmp_path / "label_audit.json").read_text())


def test_reads_of_all_processes_are_merged(runner, tmp_path):
    logs = tmp_path / "label_audit"
    logs.mkdir()
    (logs / "0-11.txt").write_text("dense t0\ndense t1\n")
    (logs / "1-12.txt").write_text("dense t0\n")
    report = audit(runner, tmp_path)
    assert report["read"] == ["t0", "t1"]
    assert report["read_outside_budget"] == []
    assert (report["labelled_frames"], report["all_frames"]) == (2, 6)

    assert report["boxes"] == report["lidarseg"] == report["evaluation_labels"] == []

    # A resumed run adds to it.
    (logs / "0-13.txt").write_text("dense t4\ndense of-validation\nboxes b.json\nlidarseg l.bin\n")
    for _ in range(2):
        report = audit(runner, tmp_path)
        assert report["read"] == ["t0", "t1", "t4"]
        assert report["read_outside_budget"] == ["t4"]
        assert report["evaluation_labels"] == ["of-validation"]
        assert (report["boxes"], report["lidarseg"]) == (["b.json"], ["l.bin"])
        for log in logs.iterdir():
            log.unlink()


def test_a_new_run_does_not_inherit_the_reads_of_the_folders_former_one(runner, tmp_path):
    logs = tmp_path / "label_audit"
    logs.mkdir()
    (logs / "0-11.txt").write_text("dense t5\n")
    audit(runner, tmp_path)
    WarmStartHook(0.3)._forget_former_run(runner)
    assert audit(runner, tmp_path)["read"] == []


@pytest.mark.parametrize("line", ["t0", "dense", "dense ", "something t0"])
def test_a_damaged_log_is_named(runner, tmp_path, line):
    logs = tmp_path / "label_audit"
    logs.mkdir()
    (logs / "0-11.txt").write_text(f"dense t1\n{line}\n")
    with pytest.raises(LabelError, match=r"0-11\.txt holds the line .* expected one of dense"):
        audit(runner, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"read": 3}', '{"read": [3]}', "[" * 100_000, b"\xff\xfe"],
    ids=["empty", "cut", "list", "number", "no list", "no names", "deep", "no text"],
)  # fmt: skip
def test_a_damaged_audit_is_named(runner, tmp_path, text):
    path = tmp_path / "label_audit.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(LabelError, match=r"label_audit\.json is damaged .*Put a copy back"):
        audit(runner, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_audit_is_no_new_run(runner, tmp_path, make, soon):
    make(tmp_path / "label_audit.json")
    with pytest.raises(LabelError, match=r"label_audit\.json is damaged"):
        audit(runner, tmp_path)
