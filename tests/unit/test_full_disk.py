"""A disk that is full or can only be read: the error names the file and where it was named."""

import ast
import errno
import re
import resource
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minkocc.datasets.infos import create_infos
from minkocc.evaluation.metrics import DumpPredictions
from minkocc.evaluation.report import write_report
from minkocc.files.npz import npz_bytes
from minkocc.files.writing import atomic_write, write_json, write_pickle
from minkocc.runtime.tool import run_tool

NOISE = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)


@pytest.fixture
def full_disk():
    """No file can grow beyond 4 kB, which the kernel refuses in the middle of a write."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


def save_archive(path):
    with atomic_write(path) as sink:
        sink.write(npz_bytes(pred=NOISE))


def save_picture(path):
    with atomic_write(path) as sink:
        Image.fromarray(NOISE).save(sink, format="PNG")


def save_tensor(path):
    with atomic_write(path) as sink:
        torch.save({"noise": torch.from_numpy(NOISE)}, sink)


def dump(path):
    sample = {"token": path.stem, "pred_semantics": NOISE}
    DumpPredictions(path.parent).count(sample)


WRITERS = {
    "a.npz": save_archive,
    "a.png": save_picture,
    "a.pth": save_tensor,
    "a.json": lambda path: write_json(path, NOISE.tolist()),
    "a.pkl": lambda path: write_pickle(path, NOISE),
    "token.npz": dump,
    "report.json": lambda path: write_report(path, [], {"noise": NOISE.ravel().tolist()}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, name, full_disk):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / name))) as found:
        WRITERS[name](tmp_path / name)
    assert found.value.errno == errno.EFBIG
    assert found.value.filename == str(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_info_file(linked_root, full_disk):
    with pytest.raises(OSError, match="File too large") as found:
        create_infos(linked_root, "v1.0-synthetic")
    assert found.value.filename == str(linked_root / "minkocc_infos_train.pkl")
    assert not list(linked_root.glob(".*.part"))


def test_errors_of_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as found, atomic_write(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    assert found.value.filename == str(tmp_path / "other")


COMMANDS = {
    "an option": (["--out", "{}/out", "--dump", "{}/out/dump"], "out/dump/a.npz", "(--dump)"),
    "an option with =": (["--dump={}/out"], "out/a.npz", "(--dump)"),
    "the file itself": (["config.py", "--out", "{}/a.json"], "a.json", "(--out)"),
    "a knob": (
        ["--cfg-options", "alpha=0.2", "cache_root={}/cache"],
        "cache/weak_occupancy/x.npz",
        "(cache_root)",
    ),
    "nothing": (["--out", "{}/elsewhere"], "work_dirs/x", "written to\n"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_line_names_the_option_that_was_given(tmp_path, monkeypatch, capsys, case):
    words, path, told = COMMANDS[case]
    monkeypatch.setattr(sys, "argv", ["tool.py", *(word.format(tmp_path) for word in words)])

    def main():
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / path))

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines(keepends=True)
    assert str(tmp_path / path) in line
    assert line.rstrip().endswith(told.rstrip())


ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("tools/**/*.py"), *ROOT.glob("minkocc/**/*.py"), *ROOT.glob("installer/*.py")]


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text())))


def messages(path):
    """What the text of errors is made of."""
    for node in nodes(path):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def declared():
    """Options that some parser takes."""
    options = set()
    for path in SOURCES:
        for node in nodes(path):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                options |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return options


def test_messages_name_options_that_exist():
    known, unknown = declared(), []
    for path in SOURCES:
        for text in messages(path):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", text):
                if option.rstrip("-") not in known:
                    unknown.append((path.name, option))
    assert unknown == []
