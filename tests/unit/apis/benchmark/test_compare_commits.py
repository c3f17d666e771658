"""Which tree is measured when and with what; the measurement itself is a small program here.

The real one runs in ``tests/e2e/test_benchmark.py``.
"""

import json
import subprocess
from pathlib import Path

import pytest

from minkocc.apis.benchmark import compare_commits
from minkocc.apis.benchmark.compare_commits import measure_in_turn
from minkocc.structures.errors import UserError

BENCHMARK = """
import json, os, pathlib, sys
tree = pathlib.Path(__file__).parents[1]
words = sys.argv[1:]
with open(os.environ["DIARY"], "a") as diary:
    laps = {here} * (1 + sum(1 for line in open(os.environ["DIARY"])))
    diary.write(json.dumps([os.environ["PYTHONPATH"] == str(tree), {here}, words]) + "\\n")
assert pathlib.Path(words[0]).is_file()
cost = dict(
    seconds_per_iteration=dict(warm=laps, {extra}), seconds_per_frame=None, peak_memory_gib={here}
)
report = dict(recipes=dict(small=cost))
pathlib.Path(words[words.index("--out") + 1]).write_text(json.dumps(report))
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Two commits: the former one needs 2 units a lap and knows no phase ``weak``, this one 1."""
    root, diary = tmp_path / "root", tmp_path / "diary"
    diary.touch()
    (root / "tools").mkdir(parents=True)
    (root / "small.py").touch()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "init", "-q"], cwd=root, check=True)
    for number, extra in ((2.0, ""), (1.0, "weak=1.0")):
        text = BENCHMARK.replace("{here}", str(number)).replace("{extra}", extra)
        (root / "tools" / "benchmark.py").write_text(text)
        subprocess.run([*git, "add", "."], cwd=root, check=True)
        subprocess.run([*git, "commit", "-qm", "m"], cwd=root, check=True)
    monkeypatch.setattr(compare_commits, "ROOT", root)
    monkeypatch.setenv("DIARY", str(diary))
    return root, lambda: [json.loads(line) for line in diary.read_text().splitlines()]


def compare(root, against, rounds=2):
    kept = []
    pairs = {"against": ["load_from=before.pth"], "now": ["load_from=now.pth"]}
    config = str(root / "small.py")
    measured = measure_in_turn(
        against, [config], ["--epochs", "1"], pairs, rounds, lambda r: kept.append(json.dumps(r))
    )
    return measured, kept


def test_both_trees_are_measured_in_turn_after_a_round_that_does_not_count(checkout):
    root, diary = checkout
    report, kept = compare(root, "HEAD~1")
    assert [unit for _, unit, _ in diary()] == [2.0, 1.0, 2.0, 1.0, 1.0, 2.0]
    assert all(own for own, _, _ in diary())  # each imports its own package
    for _, unit, words in diary():
        name = "before.pth" if unit == 2.0 else "now.pth"
        assert words[-2:] == ["--cfg-options", f"load_from={name}"]
        assert words[3:5] == ["--epochs", "1"]
    # Laps grow with every call: 3rd and 4th, then 5th and 6th. Ratios 6/4 and 12/5, median of both.
    assert report["ratios"] == {"small": {"warm": round((6 / 4 + 12 / 5) / 2, 2)}}
    assert report["memory_ratio"] == {"small": 2.0}
    assert len(kept) == 4
    trees = subprocess.run(["git", "worktree", "list"], cwd=root, capture_output=True, text=True)
    assert "minkocc-against-" not in trees.stdout


def test_a_measurement_that_fails_ends_the_comparison(checkout):
    root, _ = checkout
    (root / "tools" / "benchmark.py").write_text("raise SystemExit('no')\n")
    with pytest.raises(UserError, match=r"the benchmark of .*root failed"):
        compare(root, "HEAD")


def test_what_both_commits_do_not_have_is_refused(checkout, tmp_path):
    root, _ = checkout
    with pytest.raises(UserError, match="is not in "):
        measure_in_turn("HEAD", [str(tmp_path / "else.py")], [], {}, 1, lambda _: None)
    with pytest.raises(UserError, match="--against nothing: "):
        compare(root, "nothing")
    assert not Path(root, "cost.json").exists()
