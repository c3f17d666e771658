import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minkocc.datasets.label_audit import watch_truth
from minkocc.datasets.label_budget import LabelBudget, LabelReader, class_counts
from minkocc.files.fingerprint import _digest
from minkocc.files.occupancy import LabelBudgetError, LabelError, read_label

SHAPE = (200, 200, 16)


def write_label(root, scene, token, semantics=None, **overrides):
    arrays = {
        "semantics": np.full(SHAPE, 17, np.uint8) if semantics is None else semantics,
        "mask_lidar": np.ones(SHAPE, np.uint8),
        "mask_camera": np.ones(SHAPE, np.uint8),
        **overrides,
    }
    path = root / "gts" / scene / token / "labels.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return {"token": token, "scene_name": scene, "occ_path": str(path.relative_to(root))}


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_budgets_are_nested_and_have_the_ceiling_of_scenes(scenes, a, b, seed):
    names = [f"scene-{i}" for i in range(scenes)]
    small, large = (LabelBudget.of(names, alpha, seed) for alpha in sorted((a, b)))
    assert small.scenes <= large.scenes
    assert len(large.scenes) >= large.alpha * scenes - 1e-6
    assert len(large.scenes) < large.alpha * scenes + 1
    assert (len(small.scenes) == 0) == (small.alpha * scenes < 1e-9)


def test_one_of_ten():
    budget = LabelBudget.of([f"scene-{i}" for i in range(10)], 0.1, 0)
    assert len(budget.scenes) == 1


def test_label_outside_the_budget_is_refused_before_the_file_is_opened(tmp_path):
    reader = LabelReader(tmp_path, LabelBudget(0.1, 0, frozenset({"in"})))
    frame = {"token": "abc", "scene_name": "out", "occ_path": "does/not/exist.npz"}
    with pytest.raises(LabelBudgetError, match=r"abc .*alpha_0\.1_seed_0"):
        reader.read(frame)


def test_reads_are_audited_once_per_process(tmp_path):
    frame = write_label(tmp_path, "in", "abc")
    reader = LabelReader(tmp_path, LabelBudget(0.1, 0, frozenset({"in"})))
    watch_truth(tmp_path / "audit", 2)
    try:
        reader.read(frame)
        reader.read(frame)
    finally:
        watch_truth(None)
    (log,) = (tmp_path / "audit").iterdir()
    assert log.name == f"2-{os.getpid()}.txt"
    assert log.read_text() == "dense abc\n"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"semantics": np.zeros((200, 200, 8), np.uint8)}, r"semantics is uint8 \(200, 200, 8\)"),
        ({"mask_camera": np.zeros(SHAPE, np.float32)}, "mask_camera is float32"),
        ({"semantics": np.full(SHAPE, 18, np.uint8)}, "class 18"),
        ({"semantics": np.ones(SHAPE, bool)}, "semantics is bool"),
        ({"semantics": np.ones(SHAPE, np.int8)}, "semantics is int8"),
        ({"mask_camera": np.full(SHAPE, 2, np.uint8)}, r"value 2 in mask_camera, expected 0\.\.1"),
        ({"mask_lidar": np.full(SHAPE, 255, np.uint8)}, r"value 255 in mask_lidar"),
    ],
)
def test_wrong_label_is_named(tmp_path, overrides, words):
    frame = write_label(tmp_path, "s", "t", **overrides)
    with pytest.raises(LabelError, match=words):
        read_label(tmp_path / frame["occ_path"])


def test_truncated_label_is_named(tmp_path):
    frame = write_label(tmp_path, "s", "t")
    path = tmp_path / frame["occ_path"]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(LabelError, match="cannot be read"):
        read_label(path)


def test_class_counts_are_means_over_budgeted_frames_and_cached(tmp_path):
    first, second = np.full(SHAPE, 17, np.uint8), np.full(SHAPE, 17, np.uint8)
    first[:3, 0, 0], second[:1, 0, 0] = 4, 4
    mask = np.zeros(SHAPE, np.uint8)
    mask[0] = 1
    frames = [
        write_label(tmp_path, "in", "a", first, mask_camera=mask),
        write_label(tmp_path, "in", "b", second, mask_camera=mask),
        {"token": "c", "scene_name": "out", "occ_path": "never.npz"},
    ]
    reader = LabelReader(tmp_path, LabelBudget(0.5, 3, frozenset({"in"})))
    assert class_counts(reader, frames, "camera", tmp_path)[4] == 1.0
    assert class_counts(reader, frames, None, tmp_path)[4] == 2.0
    stored = json.loads((tmp_path / "label_budget/alpha_0.5_seed_3.json").read_text())
    assert stored["tokens"] == ["a", "b"]


def test_class_counts_that_cannot_be_kept_name_the_knob(tmp_path):
    frames = [write_label(tmp_path, "in", "a")]
    reader = LabelReader(tmp_path, LabelBudget(0.5, 3, frozenset({"in"})))
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(LabelError, match=r"cannot be kept in .*set cache_root to a folder"):
        class_counts(reader, frames, "camera", tmp_path / "cache")


@pytest.mark.parametrize(("keep_time", "by_content"), [(False, False), (False, True), (True, True)])
def test_counts_belong_to_the_content_of_the_labels(tmp_path, keep_time, by_content):
    label = np.full(SHAPE, 17, np.uint8)
    frames = [write_label(tmp_path, "in", "a", label)]
    path = tmp_path / frames[0]["occ_path"]
    np.savez(path, semantics=label, mask_camera=label == 17)
    status = path.stat()
    reader = LabelReader(tmp_path, LabelBudget(0.5, 3, frozenset({"in"})))
    assert class_counts(reader, frames, None, tmp_path, by_content)[4] == 0
    label[0, 0, 0] = 4
    np.savez(path, semantics=label, mask_camera=label == 17)
    os.utime(path, ns=(0, status.st_mtime_ns + (0 if keep_time else 1_000_000)))
    assert path.stat().st_size == status.st_size
    if keep_time:
        _digest.cache_clear()  # of another process
    assert class_counts(reader, frames, None, tmp_path, by_content)[4] == 1


def test_counts_of_other_labels_are_made_anew(tmp_path, caplog):
    frames = [write_label(tmp_path, "in", "a", np.full(SHAPE, 17, np.uint8))]
    reader = LabelReader(tmp_path, LabelBudget(0.5, 3, frozenset({"in"})))
    assert class_counts(reader, frames, None, tmp_path)[4] == 0
    write_label(tmp_path, "in", "a", np.full(SHAPE, 4, np.uint8))
    assert class_counts(reader, frames, None, tmp_path)[4] == np.prod(SHAPE)


def with_row(row):
    return lambda whole: json.dumps(
        {**whole, "class_counts": {**whole["class_counts"], "all": row}}
    )


DAMAGE = {
    "empty": lambda whole: "",
    "a list": lambda whole: "[]",
    "a number": lambda whole: "3",
    "cut": lambda whole: json.dumps(whole)[:-20],
    "no text": lambda whole: b"\xff\xfe\x00",
    "deep": lambda whole: "[" * 100_000,
    "no counts": lambda whole: json.dumps({k: v for k, v in whole.items() if k != "class_counts"}),
    "counts are a list": lambda whole: json.dumps({**whole, "class_counts": [1.0] * 17}),
    "no tokens": lambda whole: json.dumps({k: v for k, v in whole.items() if k != "tokens"}),
    "too few": with_row([1.0] * 16),
    "edited": with_row([1.0] * 17),
    "nan": with_row([1.0] * 16 + [float("nan")]),
    "infinite": with_row([1.0] * 16 + [float("inf")]),
    "negative": with_row([1.0] * 16 + [-1.0]),
    "more than there are": with_row([1.0] * 16 + [1e6]),
    "huge": with_row([1.0] * 16 + [10**400]),
    "words": with_row(["many"] * 17),
    "null": with_row(None),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_counts_of_a_damaged_file_are_made_anew_and_it_is_said(tmp_path, monkeypatch, case):
    said = []
    monkeypatch.setattr(
        "minkocc.datasets.label_budget.print_log", lambda text, **_: said.append(text)
    )
    frames = [write_label(tmp_path, "in", "a", np.full(SHAPE, 4, np.uint8))]
    reader = LabelReader(tmp_path, LabelBudget(0.5, 3, frozenset({"in"})))
    expected = class_counts(reader, frames, None, tmp_path)
    assert said == []
    (path,) = (tmp_path / "label_budget").iterdir()
    whole = json.loads(path.read_text())
    damaged = DAMAGE[case](whole)
    path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    assert class_counts(reader, frames, None, tmp_path).tolist() == expected.tolist()
    assert json.loads(path.read_text()) == whole
    (line,) = said
    assert str(path) in line
    assert "damaged" in line
    assert "counted anew" in line
