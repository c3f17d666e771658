"""The order of work: what is run, what is not run again, and what is left when it ends.

Training and testing are small programs here that leave the files of the real ones, which
``tests/e2e/test_study.py`` runs.
"""

import json
import os
import time
from pathlib import Path

import pytest

from minkocc.study.definition import Arm, Run, Study
from minkocc.study.run_files import RunFiles
from minkocc.study.schedule import Schedule
from tests.forked import ROOT

TRAIN = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
work_dir = pathlib.Path(words[words.index("--work-dir") + 1])
name = work_dir.name
with open(os.environ["DIARY"], "a") as diary:
    diary.write(f"train {name} {os.environ['OMP_NUM_THREADS']} {os.environ['PYTHONPATH']}\\n")
if name.startswith("bad"):
    sys.exit("error: no such luck")
if name.startswith("slow"):
    time.sleep(600)
(work_dir / "label_audit.json").write_text(json.dumps({"labelled_frames": 2}))
(work_dir / "epoch_1.pth").touch()
"""
TEST = """
import json, os, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1])
root = next(word for word in words if word.startswith("data_root="))
with open(os.environ["DIARY"], "a") as diary:
    diary.write(f"test {out.parent.parent.name} {root}\\n")
out.parent.mkdir(parents=True, exist_ok=True)
about = "commit python torch alpha voxel_size train_mask outside unknown unknown_weight".split()
occ3d = {"protocol": "occ3d", "miou": 1.0}
out.write_text(json.dumps({**dict.fromkeys(about), "occ3d": occ3d}))
"""
STUDY = Study("s", "/data", (), splits={"far": "/far"})


@pytest.fixture
def diary(tmp_path, monkeypatch):
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    (tmp_path / "code" / "tools").mkdir(parents=True)
    (tmp_path / "code" / "tools" / "train.py").write_text(TRAIN)
    (tmp_path / "code" / "tools" / "test.py").write_text(TEST)
    (tmp_path / "code" / "configs").symlink_to(ROOT / "configs")
    return lambda: (tmp_path / "diary").read_text().splitlines()


def runs(folder, *names):
    config, options = "configs/minkocc_semi_a10_mini.py", {"max_epochs": 1, "data_root": "/data"}
    arms = [Arm(name, name, config, options, (0,)) for name in names]
    return [RunFiles(Run(arm, 0), folder, folder / "code") for arm in arms]


def test_a_run_is_trained_and_tested_on_every_split_and_never_again(tmp_path, diary):
    (files,) = runs(tmp_path, "a")
    assert Schedule(STUDY).work([files]) == []
    assert [line.split()[0] for line in diary()] == ["train", "test", "test"]
    assert [line.split()[-1] for line in diary()[1:]] == ["data_root=/data", "data_root=/far"]
    content = json.loads(files.figures.read_text())
    assert content["splits"]["far"]["occ3d"]["miou"] == 1.0
    assert set(content["steps"]) == {"train", "test val", "test far"}
    assert Schedule(STUDY).work([files]) == []
    assert len(diary()) == 3


def test_what_is_trained_elsewhere_is_tested_here(tmp_path, diary):
    (files,) = runs(tmp_path, "a")
    Schedule(STUDY, train_only=True).work([files])
    assert [line.split()[0] for line in diary()] == ["train"]
    assert not files.is_done()
    Schedule(STUDY).work([files])
    assert [line.split()[0] for line in diary()] == ["train", "test", "test"]
    assert files.is_done()


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, diary, capsys):
    files = runs(tmp_path, "bad", "a")
    assert Schedule(STUDY).work(files) == ["bad_s0"]
    assert [each.is_done() for each in files] == [False, True]
    told = capsys.readouterr().out
    assert "bad_s0 FAILED at train: error: no such luck" in told
    assert str(files[0].log) in told


def test_no_more_runs_are_begun_than_asked_for(tmp_path, diary):
    files = runs(tmp_path, "a", "b", "c")
    Schedule(STUDY, most=2).work(files)
    assert [each.is_done() for each in files] == [True, True, False]


def test_time_that_is_over_ends_what_runs(tmp_path, diary, capsys):
    files = runs(tmp_path, "slow_a", "slow_b")
    began = time.monotonic()
    assert Schedule(STUDY, jobs=2, seconds=2.0).work(files) == []
    assert time.monotonic() - began < 30
    assert "the same command goes on" in capsys.readouterr().out
    assert len(diary()) == 2  # both at once
    for each in files:
        assert each.steps()["train"]["seconds"] >= 1.0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in path.read_bytes()
        except OSError:
            continue  # it has just ended


def test_a_run_has_its_share_of_threads_and_the_users_packages(tmp_path, diary, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/packages")
    Schedule(STUDY, jobs=64).work(runs(tmp_path, "a"))
    _, _, threads, path = diary()[0].split()
    assert threads == "1"
    assert path == os.pathsep.join([str(tmp_path / "code"), "/packages"])
