"""The order of work: what is run, what is not run again, and what is left when it ends.

Training and testing are small programs here that leave the files of the real ones, which
``tests/e2e/test_study.py`` runs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minkocc.study.definition import Arm, Run, Study
from minkocc.study.run_files import RunFiles
from minkocc.study.schedule import Schedule
from tests.forked import ROOT

pytestmark = pytest.mark.processes

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
about = {"commit": "c", "python": "3", "torch": "2", "command": " ".join(words)}
out.write_text(json.dumps({**about, "occ3d": {"protocol": "occ3d", "miou": 1.0}}))
"""
STUDY = Study("s", "/data", (), splits={"far": "/far"})


@pytest.fixture
def diary(tmp_path, monkeypatch):
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    code = tmp_path / "code_x"
    (code / "tools").mkdir(parents=True)
    (code / "tools" / "train.py").write_text(TRAIN)
    (code / "tools" / "test.py").write_text(TEST)
    (code / "configs").symlink_to(ROOT / "configs")
    return lambda: (tmp_path / "diary").read_text().splitlines()


def runs(folder, *names):
    config, options = "configs/minkocc_semi_a10_mini.py", {"max_epochs": 1}
    arms = [Arm(name, name, config, options, (0,)) for name in names]
    return [RunFiles(Run(arm, 0), STUDY, folder, folder / "code_x") for arm in arms]


def test_a_run_is_trained_and_tested_on_every_split_and_never_again(tmp_path, diary):
    (files,) = runs(tmp_path, "a")
    assert Schedule().work([files]) == []
    assert [line.split()[0] for line in diary()] == ["train", "test", "test"]
    assert [line.split()[-1] for line in diary()[1:]] == ["data_root=/data", "data_root=/far"]
    content = json.loads(files.figures.read_text())
    assert content["splits"]["far"]["occ3d"]["miou"] == 1.0
    assert set(content["steps"]) == {"train", "test val", "test far"}
    assert Schedule().work([files]) == []
    assert len(diary()) == 3


def test_what_is_trained_elsewhere_is_tested_here(tmp_path, diary):
    (files,) = runs(tmp_path, "a")
    Schedule(train_only=True).work([files])
    assert [line.split()[0] for line in diary()] == ["train"]
    assert not files.is_done()
    Schedule().work([files])
    assert [line.split()[0] for line in diary()] == ["train", "test", "test"]
    assert files.is_done()


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, diary, capsys):
    files = runs(tmp_path, "bad", "a")
    assert Schedule().work(files) == ["bad_s0"]
    assert [each.is_done() for each in files] == [False, True]
    told = capsys.readouterr().out
    assert "bad_s0 FAILED: at train: error: no such luck" in told
    assert str(files[0].log) in told


def test_no_more_runs_are_begun_than_asked_for(tmp_path, diary):
    files = runs(tmp_path, "a", "b", "c")
    Schedule(most=2).work(files)
    assert [each.is_done() for each in files] == [True, True, False]


def test_time_that_is_over_ends_what_runs(tmp_path, diary, capsys):
    files = runs(tmp_path, "slow_a", "slow_b")
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    try:
        assert Schedule(jobs=2, seconds=4.0).work(files) == []
    finally:
        signal.signal(signal.SIGINT, former)
    for each in files:  # interrupted, not killed after a while
        assert "KeyboardInterrupt" in each.log.read_text()
    assert "the same command goes on" in capsys.readouterr().out
    assert len(diary()) == 2  # both at once
    for each in files:
        assert each.steps()["train"]["seconds"] >= 1.0
    assert not at_work(tmp_path)


def at_work(folder):
    """Processes that have the folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found += [path] * (str(folder).encode() in path.read_bytes())
    return found


STUDY_PROCESS = """
import sys
from pathlib import Path
from tests.unit.study.test_schedule import runs
from minkocc.study.schedule import Schedule
Schedule(jobs=2).work(runs(Path(sys.argv[1]), "slow_a", "slow_b"))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        signal.SIGTERM,
        *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGHUP, signal.SIGINT)),
    ],
)
def test_however_a_study_ends_nothing_goes_on_without_it(tmp_path, diary, number):
    process = subprocess.Popen([sys.executable, "-c", STUDY_PROCESS, str(tmp_path)], cwd=ROOT)
    wait_until(lambda: (tmp_path / "diary").is_file() and len(diary()) == 2)
    process.send_signal(number)
    assert process.wait(40) != 0
    wait_until(lambda: not at_work(tmp_path))
    noted = (tmp_path / "runs" / "slow_a_s0" / "steps.json").is_file()
    assert noted == (number != signal.SIGKILL)


def wait_until(condition):
    limit = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_training_alone_goes_on_to_further_runs(tmp_path, diary):
    for _ in range(2):
        Schedule(most=1, train_only=True).work(runs(tmp_path, "a", "b"))
    assert [line.split()[1] for line in diary()] == ["a_s0", "b_s0"]


def test_a_result_that_cannot_be_written_holds_up_no_other(tmp_path, diary, capsys):
    files = runs(tmp_path, "a", "b")
    (tmp_path / "figures" / "a_s0.json").mkdir(parents=True)
    assert Schedule().work(files) == ["a_s0"]
    assert [each.figures.is_file() for each in files] == [False, True]
    assert "a_s0 FAILED: " in capsys.readouterr().out


def test_a_run_has_its_share_of_threads_and_the_users_packages(tmp_path, diary, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/packages")
    Schedule(jobs=64).work(runs(tmp_path, "a"))
    _, _, threads, path = diary()[0].split()
    assert threads == "1"
    assert path == os.pathsep.join([str(tmp_path / "code_x"), "/packages"])
