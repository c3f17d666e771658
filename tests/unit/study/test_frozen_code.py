import json
import subprocess

from minkocc.provenance import FROZEN, commit_of
from minkocc.study.frozen_code import differs, freeze


def checkout(folder):
    """A repository of one commit with a package in it."""
    for name in ("minkocc", "configs", "tools"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.py").write_text("x = 1\n")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "m"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return folder


def test_the_copy_stays_while_the_checkout_moves_on(tmp_path):
    root = checkout(tmp_path / "root")
    copy = freeze(root, tmp_path / "study" / "code")
    assert not differs(root, copy)
    (root / "minkocc" / "a.py").write_text("x = 2\n")
    assert differs(root, copy)
    assert freeze(root, copy) == copy
    assert (copy / "minkocc" / "a.py").read_text() == "x = 1\n"
    assert [path.name for path in copy.parent.iterdir()] == ["code"]


def test_the_copy_names_its_own_commit_wherever_it_lies(tmp_path):
    root = checkout(tmp_path / "root")
    commit = commit_of(root / "minkocc")
    assert len(commit) == 40
    copy = freeze(root, root / "work_dirs" / "study" / "code")  # within a checkout
    (root / "tools" / "a.py").write_text("x = 2\n")
    assert commit_of(root / "minkocc") == f"{commit}-dirty"
    assert commit_of(copy / "minkocc") == commit
    assert json.loads((copy / FROZEN).read_text()) == {"commit": commit}
