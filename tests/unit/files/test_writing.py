import os
import pickle

import numpy as np
import pytest

from minkocc.files.reading import UnsafeFileError, read_json, read_plain_pickle
from minkocc.files.writing import atomic_write, write_pickle
from minkocc.structures.errors import short


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_plain_pickle_round_trip(tmp_path):
    content = {"a": [1, 2.5, None, "x"], "m": np.arange(6.0).reshape(2, 3), "s": np.float64(2)}
    write_pickle(tmp_path / "x.pkl", content)
    back = read_plain_pickle(tmp_path / "x.pkl")
    assert back["a"] == content["a"]
    assert np.array_equal(back["m"], content["m"])


def test_pickle_with_code_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"data_list": [Payload(marker)]}))
    with pytest.raises(UnsafeFileError, match=r"x\.pkl refers to .*system"):
        read_plain_pickle(tmp_path / "x.pkl")
    assert not marker.exists()


def test_corrupt_pickle_is_named(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04K")
    with pytest.raises(ValueError, match=r"x\.pkl is not a readable pickle"):
        read_plain_pickle(tmp_path / "x.pkl")


def test_a_file_is_on_disk_before_its_name_and_its_name_before_it_is_relied_on(
    tmp_path, monkeypatch
):
    steps = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        steps.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def renamed(source, target):
        steps.append((str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    with atomic_write(tmp_path / "x.bin") as sink:
        sink.write(b"new")
    part = steps[0]
    assert steps == [part, (part, str(tmp_path / "x.bin")), str(tmp_path)]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def write():
        with atomic_write(path) as sink:
            sink.write(b"new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, b"\xff\xfe"])
def test_what_is_no_json_is_a_value_error(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"nests|line|digit|codec"):
        read_json(path)


def test_json_from_a_pipe_is_not_waited_for(tmp_path, soon):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_json(tmp_path / "pipe")


def test_any_value_is_told_in_a_few_words():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert short("a") == "'a'"
    assert short(10**5000) == "a int"
    for value in (deep, ["x" * 1000] * 1000, "x" * 10**6, {"x": deep}):
        assert len(short(value)) < 500
