"""Writing is deterministic, resumable and careful with what is there."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minkocc.runtime.tool import run_tool
from minkocc.synthetic.writing.writer import (
    WorldSettings,
    begun_settings,
    is_outdated,
    write_dataset,
)
from tests.forked import ROOT, ToolProcess


def tree(root: Path) -> dict[str, str]:
    """Digest of every file by its path."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def load_tool() -> ModuleType:
    path = ROOT / "tools" / "create_synthetic.py"
    spec = importlib.util.spec_from_file_location("create_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_same_bytes_for_any_number_of_workers(
    tiny: WorldSettings, tiny_root: Path, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "two", tiny, workers=2)
    assert tree(tmp_path / "two") == tree(tiny_root)


SMALL = WorldSettings(1, 0, 1, seed=5, image_size=(64, 36))


@pytest.fixture
def small_root(made_once: Any, tmp_path: Path) -> Path:
    """A data set of one keyframe, to be changed as a test likes."""

    def make(root: Path) -> None:
        assert write_dataset(root, SMALL) == {"written": 1, "skipped": 0}

    return Path(shutil.copytree(made_once("small_set", make), tmp_path / "set"))


def test_second_run_skips_and_a_lost_scene_is_written_again(small_root: Path) -> None:
    root, small = small_root, SMALL
    before = tree(root)
    (root / "pseudo_labels" / "meta.json").write_text("{}")  # of an earlier version
    assert write_dataset(root, small) == {"written": 0, "skipped": 1}
    assert tree(root) == before
    (root / ".scenes" / "scene-0001.json").unlink()
    next((root / "samples" / "CAM_BACK").iterdir()).unlink()
    assert write_dataset(root, small) == {"written": 1, "skipped": 0}
    assert tree(root) == before
    assert not list(root.rglob("*.part"))

    other = dataclasses.replace(small, seed=6)
    with pytest.raises(FileExistsError, match=r"seed 5 -> 6.*--overwrite"):
        write_dataset(root, other)
    write_dataset(root, other, overwrite=True)
    assert set(tree(root)).isdisjoint(k for k in before if k.startswith(("samples", "gts")))


def test_a_killed_overwrite_leaves_nothing_that_looks_finished(
    small_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, old = small_root, SMALL
    before = tree(root)
    for name in ("minkocc_infos_train.pkl", "label_budget/a.json", "weak_occupancy/b.npz"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("derived from the old set")
    remove = shutil.rmtree

    def killed_at_samples(path: Path) -> None:
        remove(path)
        if path.name == "samples":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed_at_samples)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(root, dataclasses.replace(old, image_size=(80, 45)), overwrite=True)
    assert write_dataset(root, old) == {"written": 1, "skipped": 0}
    derived = {name: digest for name, digest in tree(root).items() if name not in before}
    assert {name: tree(root)[name] for name in before} == before
    write_dataset(root, dataclasses.replace(old, image_size=(80, 45)), overwrite=True)
    assert derived
    assert not set(derived) & set(tree(root))


@pytest.mark.parametrize("finished", [False, True])
def test_half_written_files_of_a_killed_run_go(
    small_root: Path, tmp_path: Path, finished: bool
) -> None:
    """Also the very first one, which made the folder one that is not ours."""
    names = [".synthetic.json.ab12.part"]
    root = small_root if finished else tmp_path / "new"
    if finished:
        names += [".splits.json.ab12.part", "v1.0-synthetic/.scene.json.ab12.part"]
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).write_text("half")
    write_dataset(root, SMALL)
    assert not list(root.rglob("*.part"))


def test_a_damaged_record_is_a_scene_to_write_again(small_root: Path) -> None:
    before = tree(small_root)
    record = small_root / ".scenes" / "scene-0001.json"
    record.write_text(record.read_text()[:100])
    assert write_dataset(small_root, SMALL) == {"written": 1, "skipped": 0}
    assert tree(small_root) == before


def test_killed_and_resumed_gives_the_same_bytes(
    tiny: WorldSettings, tiny_root: Path, tmp_path: Path
) -> None:
    arguments = ["--train-scenes", tiny.train_scenes, "--val-scenes", tiny.val_scenes]
    arguments += ["--keyframes", tiny.keyframes, "--seed", tiny.seed, "--clean-pseudo-labels"]
    arguments += ["--image-size", "{}x{}".format(*tiny.image_size), "--out", tmp_path]
    process = ToolProcess("create_synthetic.py", *arguments)
    # In the midst of the second scene: pictures are written last.
    process.wait_for(lambda: len(list(tmp_path.glob("samples/CAM_FRONT/*.jpg"))) > 2)
    process.kill()
    assert not (tmp_path / "splits.json").exists()
    assert len(list(tmp_path.glob(".scenes/*.json"))) == 1
    leftover = tmp_path / "samples" / "CAM_BACK" / ".half.jpg.part"
    leftover.write_bytes(b"half")
    done = ToolProcess("create_synthetic.py", *arguments, "--workers", 2).wait()
    assert done.returncode == 0, done.stderr[-3000:]
    assert tree(tmp_path) == tree(tiny_root)


def test_outdated_sets_are_known(tmp_path: Path) -> None:
    small = SMALL
    assert not is_outdated(tmp_path, small)
    note = tmp_path / "synthetic.json"
    note.write_text(json.dumps(small.parameters()))
    assert not is_outdated(tmp_path, small)
    note.write_text(json.dumps({**small.parameters(), "format": 1}))
    assert is_outdated(tmp_path, small)
    assert not is_outdated(tmp_path, dataclasses.replace(small, seed=6))
    with pytest.raises(FileExistsError, match="format 1 -> 2"):
        write_dataset(tmp_path, small)


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    assert begun_settings(tmp_path) is None
    (tmp_path / "synthetic.json").write_text('{"format": 2, "seed": ')
    with pytest.raises(ValueError, match=r"synthetic\.json is damaged"):
        begun_settings(tmp_path)


def test_foreign_directory_is_left_alone(tiny: WorldSettings, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        write_dataset(tmp_path, tiny, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_settings_refuse_nonsense(tiny: WorldSettings) -> None:
    with pytest.raises(ValueError, match="keyframes 0"):
        WorldSettings(1, 1, 0)
    with pytest.raises(ValueError, match="both 0"):
        WorldSettings(0, 0, 2)
    with pytest.raises(ValueError, match="image_size"):
        WorldSettings(1, 1, 2, image_size=(8, 8))
    with pytest.raises(ValueError, match="workers 0"):
        write_dataset(Path("nowhere"), tiny, workers=0)


def test_tool_reports_errors_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load_tool()

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["create_synthetic.py", *arguments])
        run_tool(tool.main)

    with pytest.raises(SystemExit, match="1"):
        call("--out", str(tmp_path), "--keyframes", "0")
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "keyframes 0" in message
    with pytest.raises(SystemExit, match="2"):
        call("--out", "x", "--image-size", "big")
    assert tool.image_size("320x180") == (320, 180)


def test_tool_verifies_what_is_there(
    tiny: WorldSettings,
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "set"
    shutil.copytree(tiny_root, root)
    tool = load_tool()
    arguments = ["--train-scenes", "1", "--val-scenes", "1", "--keyframes", "2", "--seed", "3"]
    arguments += ["--image-size", "320x180", "--clean-pseudo-labels", "--verify"]
    arguments += ["--report", str(tmp_path / "report.json")]
    monkeypatch.setattr(sys, "argv", ["create_synthetic.py", "--out", str(root), *arguments])
    run_tool(tool.main)
    said = capsys.readouterr().out
    assert "0 scenes written, 2 already there" in said
    assert "points_in_boxes" in said
    assert "problem" not in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seconds_a_keyframe"] is None  # nothing was written
    assert report["verify"]["figures"]["points_in_boxes"]["share"] > 0.99
    assert {"commit", "machine", "command", "seed", "keyframes"} <= report.keys()

    # Nothing but the root has to be named to look at what is there.
    report_file = ["--report", str(tmp_path / "report.json")]
    command = ["create_synthetic.py", "--out", str(root), "--verify", *report_file]
    monkeypatch.setattr(sys, "argv", command)

    picture = next((root / "samples" / "CAM_BACK").iterdir())
    picture.write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1"):
        run_tool(tool.main)
    streams = capsys.readouterr()
    assert f"problem: {picture} cannot be read" in streams.out
    errors = [line for line in streams.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(picture) in errors[0]
    assert json.loads((tmp_path / "report.json").read_text())["verify"]["num_problems"] > 0

    # The remedy of the message helps.
    for scene in (root / ".scenes").iterdir():
        if scene.stem in errors[0]:
            scene.unlink()
    run_tool(tool.main)
    assert tree(root) == tree(tiny_root)


def test_images_are_not_blank(tiny_root: Path) -> None:
    for path in (tiny_root / "samples" / "CAM_FRONT").iterdir():
        with Image.open(path) as image:
            assert np.asarray(image).std() > 20
