import json
import subprocess

from minkocc.runtime.provenance import FROZEN, commit_of
from minkocc.study.frozen_code import code_digest, frozen_code


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
    root, out = checkout(tmp_path / "root"), tmp_path / "study"
    copy = frozen_code(root, out)
    assert copy.name == f"code_{code_digest(root)[:8]}"
    (root / "minkocc" / "a.py").write_text("x = 2\n")
    assert frozen_code(root, out) == copy
    assert (copy / "minkocc" / "a.py").read_text() == "x = 1\n"
    other = frozen_code(root, out, refresh=True)
    assert other != copy
    assert frozen_code(root, out) == other
    assert copy.is_dir()  # for the runs that began with it
    assert {path.name for path in out.iterdir()} == {"code", copy.name, other.name}


def test_the_copy_names_its_own_commit_wherever_it_lies(tmp_path):
    root = checkout(tmp_path / "root")
    commit, digest = commit_of(root / "minkocc"), code_digest(root)
    assert len(commit) == 40
    copy = frozen_code(root, root / "work_dirs" / "study")  # within a checkout
    (root / "tools" / "a.py").write_text("x = 2\n")
    assert commit_of(root / "minkocc") == f"{commit}-dirty"
    assert commit_of(copy / "minkocc") == commit
    assert json.loads((copy / FROZEN).read_text()) == {"commit": commit, "digest": digest}


def test_what_is_being_compiled_meanwhile_is_left_out(tmp_path):
    root = checkout(tmp_path / "root")
    (root / "minkocc" / "__pycache__").mkdir()
    for name in ("a.cpython-311.pyc", "a.cpython-311.pyc.140"):
        (root / "minkocc" / "__pycache__" / name).touch()
    copy = frozen_code(root, tmp_path / "study")
    assert [p.name for p in (copy / "minkocc" / "__pycache__").iterdir()] == ["a.cpython-311.pyc"]
