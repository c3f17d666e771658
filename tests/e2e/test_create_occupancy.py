"""``tools/create_occupancy.py`` on a small world whose exact labels are known."""

import json
import shutil

import numpy as np
import pytest

from minkocc.apis.create_occupancy import create_occupancy
from minkocc.evaluation.prediction_folder import find_labels
from minkocc.files.occupancy import read_label
from minkocc.structures.taxonomy import FREE
from tests.e2e.job import expect_error, tool

pytestmark = pytest.mark.processes
VERSION = "v1.0-synthetic"


@pytest.fixture
def create(tmp_path):
    """Runs the tool; what it writes is in ``tmp_path / "labels"``."""

    def run(root, *arguments, out=tmp_path / "labels"):
        where = ("--root", root, "--version", VERSION, "--out", out)
        return tool("create_occupancy.py", *where, *arguments)

    return run


def test_labels_agree_with_the_exact_ones(create, tiny_root, tmp_path):
    done = create(tiny_root, "--compare", tmp_path / "agreement.json")
    assert done.returncode == 0, done.stderr
    assert "4 keyframes, 4 made now" in done.stdout
    assert "| mask_camera, all" in done.stdout
    found = json.loads((tmp_path / "agreement.json").read_text())
    assert {"commit", "machine", "command", "made"} <= found.keys()
    assert found["num_frames"] == 4
    assert len(found["seconds_a_scene"]) == 2
    # Two keyframes a scene see a part of what the exact labels know from lines of sight.
    assert found["geometric_precision"] > 95
    assert found["geometric_recall"] > 50
    assert found["miou"] > 40
    assert found["masks"]["mask_camera"]["all"]["iou"] > 50
    assert find_labels(tmp_path / "labels").keys() == find_labels(tiny_root / "gts").keys()
    for path in find_labels(tmp_path / "labels").values():
        label = read_label(path)
        assert not (label["mask_camera"] & ~label["mask_lidar"]).any()
        assert label["mask_lidar"][label["voxel_semantics"] != FREE].all()


def test_what_is_there_stays_and_nothing_is_mixed(create, linked_root, tmp_path):
    scenes = ("--scenes", "scene-0001")
    done = create(linked_root, *scenes)
    assert done.returncode == 0, done.stderr
    first, second = sorted((tmp_path / "labels").glob("*/*/labels.npz"))
    kept = first.stat().st_mtime_ns
    content = second.read_bytes()
    second.unlink()
    done = create(linked_root, *scenes)
    assert "2 keyframes, 1 made now" in done.stdout
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == content

    expect_error(create(linked_root, *scenes, "--gap", 0), "other settings", "--overwrite")
    exact = linked_root / "gts"
    done = create(linked_root, *scenes, out=exact)
    expect_error(done, "not made by this tool", "--overwrite")
    expect_error(create(linked_root, "--scenes", "scene-1"), "scene-1", "scene-0001")
    done = create(linked_root, *scenes, "--overwrite", "--boxes-only")
    assert done.returncode == 0, done.stderr
    assert np.any(read_label(second)["voxel_semantics"] == 0)
    note = json.loads((tmp_path / "labels" / "occupancy_labels.json").read_text())
    assert note["made"]["lidarseg"] is False
    assert "overwriting" not in note


def test_broken_sweeps_end_in_a_line(create, linked_root):
    (path, *_) = sorted((linked_root / "samples" / "LIDAR_TOP").iterdir())
    path.unlink()
    path.write_bytes(b"123")
    expect_error(create(linked_root, "--scenes", "scene-0001"), path.name, "truncated")
    shutil.rmtree(linked_root / VERSION)
    expect_error(create(linked_root), "no nuScenes tables")


def test_labels_can_be_trained_on(linked_root, tmp_path):
    """They take the place of the exact ones, and infos made after that know them."""
    from minkocc.apis.create_occupancy import LabelSource
    from minkocc.datasets.infos import create_infos
    from minkocc.files.infos import read_infos

    shutil.rmtree(linked_root / "gts")
    for path in linked_root.glob("minkocc_infos_*.pkl"):
        path.unlink()
    done = create_occupancy(LabelSource(linked_root, VERSION), linked_root / "gts", ["scene-0001"])
    assert (done.keyframes, done.created) == (2, 2)
    paths = create_infos(linked_root, VERSION).paths
    frames = [f for path in paths.values() for f in read_infos(path)["data_list"]]
    labelled = [frame for frame in frames if frame["occ_path"]]
    assert {frame["scene_name"] for frame in labelled} == {"scene-0001"}
    assert len(labelled) == 2
    for frame in labelled:
        read_label(linked_root / frame["occ_path"])
