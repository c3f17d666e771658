"""``tools/create_data.py``: the infos, what is missing, and the weak occupancy beforehand."""

import shutil

from minkocc.apis.prepare_weak_occupancy import prepare_weak_occupancy
from minkocc.config import load_config
from tests.e2e.job import CONFIG, expect_error, tool


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.npz")}


VERSION = ("--version", "v1.0-synthetic")


def test_weak_occupancy_is_prepared_once(linked_root, tmp_path):
    cache = tmp_path / "cache"
    arguments = ("--root", linked_root, *VERSION, "--skip-infos", "--weak-occupancy", CONFIG)
    for computed, workers in ((6, 2), (0, 1)):
        more = ("--workers", workers, "--cfg-options", f"cache_root={cache}")
        done = tool("create_data.py", *arguments, *more)
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"weak occupancy: 6 frames, {computed} computed now -> {cache}/root-" in done.stdout
        assert "train:" not in done.stdout
    # Two processes wrote what one writes.
    other = {"data_root": str(linked_root), "cache_root": str(tmp_path / "other")}
    assert prepare_weak_occupancy(load_config(CONFIG, other))[:2] == (6, 6)
    assert files(cache) == files(tmp_path / "other")
    assert not list((linked_root / "weak_occupancy").rglob("*.npz"))


def test_missing_sweeps_are_counted_and_the_headline_is_the_default(linked_root):
    (sweep, *_) = sorted((linked_root / "sweeps" / "LIDAR_TOP").iterdir())
    sweep.unlink()
    for name in ("train", "val"):
        (linked_root / f"minkocc_infos_{name}.pkl").unlink()
    done = tool("create_data.py", "--root", linked_root, *VERSION, "--weak-occupancy")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "train: 3 scenes, 6 frames, 6 with labels" in done.stdout
    assert "warning: 1 LiDAR sweeps that the tables name are not in" in done.stdout
    assert sweep.name in done.stdout
    assert "6 frames, 6 computed now" in done.stdout


def test_what_cannot_be_done_is_said_before_anything_is(linked_root, tmp_path):
    where = ("--root", linked_root, *VERSION)
    done = tool("create_data.py", *where, "--skip-infos")
    assert done.returncode == 2
    assert "--skip-infos leaves nothing to do: add --weak-occupancy" in done.stderr
    done = tool("create_data.py", *where, "--weak-occupancy", "--workers", 0)
    assert "--workers 0 is too small: use 1 or more" in done.stderr
    done = tool("create_data.py", *where, "--cfg-options", "voxel_size=0.2")
    assert "--cfg-options are for --weak-occupancy" in done.stderr
    done = tool("create_data.py", *where, "--weak-occupancy", tmp_path / "none.py")
    expect_error(done, "none.py is not a file")
    (tmp_path / "cache").write_text("a file where the folder should be")
    done = tool(
        "create_data.py", *where, "--skip-infos", "--weak-occupancy", CONFIG,
        "--cfg-options", f"cache_root={tmp_path / 'cache'}",
    )  # fmt: skip
    expect_error(done, "cannot be kept in", "set cache_root to a folder that can be written to")
    shutil.rmtree(linked_root / "sweeps")
    done = tool("create_data.py", *where, "--skip-infos", "--weak-occupancy", CONFIG)
    expect_error(done, "cannot be read")
