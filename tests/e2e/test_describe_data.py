"""``tools/describe_data.py`` on a synthetic root, on one that lacks parts, beside real files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.e2e.job import ROOT, expect_error, tool

DATA = ROOT.parent / "shared" / "data"
VERSION = "v1.0-synthetic"
absent = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")


@pytest.fixture
def describe(tmp_path):
    """Runs the tool; what it writes is in ``tmp_path / "out"``."""

    def run(root, version, *arguments):
        where = ("--root", root, "--version", version, "--out", tmp_path / "out")
        return tool("describe_data.py", *where, *arguments)

    return run


def statistics(tmp_path):
    return json.loads((tmp_path / "out" / "statistics.json").read_text())


def labels_of(root):
    for path in sorted((root / "gts").rglob("labels.npz")):
        with np.load(path) as archive:
            yield archive["semantics"], archive["mask_camera"].astype(bool)


def test_a_whole_root(describe, synthetic_root, tmp_path):
    done = describe(synthetic_root, VERSION, "--keyframes-on-sheet", 3)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 keyframes, 4 scenes" in done.stdout
    assert "Colour probe against labels by synthetic-degraded: accuracy" in done.stdout
    assert "| driveable_surface" in done.stdout
    assert "real" not in done.stdout

    found = statistics(tmp_path)
    assert {"commit", "machine", "command"} <= found.keys()
    semantics = np.stack([label for label, _ in labels_of(synthetic_root)])
    seen = np.stack([mask for _, mask in labels_of(synthetic_root)])
    road = found["labels"]["class_share"]
    assert road["all"]["driveable_surface"] == (semantics == 11).sum() / (semantics < 17).sum()
    assert (
        road["mask_camera"]["driveable_surface"]
        == ((semantics == 11) & seen).sum() / ((semantics < 17) & seen).sum()
    )
    assert found["labels"]["occupied_voxels"]["mean"] == (semantics < 17).sum() / 8
    points = [p.stat().st_size // 20 for p in (synthetic_root / "samples/LIDAR_TOP").iterdir()]
    assert found["sweep"]["points"]["mean"] == np.mean(points)
    assert found["cloud"]["clouds"] == 4  # the first keyframe of a scene has no sweep before it
    assert found["cloud"]["voxels"]["0.1"]["mean"] > found["sweep"]["voxels"]["0.1"]["mean"]
    unlabelled = [
        (np.asarray(Image.open(path)) == 0).mean()
        for path in (synthetic_root / "pseudo_labels" / "labels").rglob("*.png")
    ]
    share = found["pseudo_labels"]["unlabelled_share"]
    assert share["mean"] == pytest.approx(np.mean(unlabelled))
    probe = found["colour_probe"]
    assert not set(probe["train_scenes"]) & set(probe["test_scenes"])
    assert probe["with_sky"]["majority_share"] < probe["with_sky"]["accuracy"] < 1
    assert "sky" not in probe["without_sky"]["classes"]

    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width == 2400
        assert 3 * 400 < sheet.height < 3 * 600
        assert np.asarray(sheet.convert("L")).std() > 30


def test_workers_and_seed_change_nothing_else(describe, synthetic_root, tmp_path):
    few = ("--max-frames", 2, "--keyframes-on-sheet", 0)
    found = []
    for more in ((), ("--workers", 2), ("--seed", 1)):
        assert describe(synthetic_root, VERSION, *few, *more).returncode == 0
        found.append(statistics(tmp_path))
        del found[-1]["command"]
    alone, together, reseeded = found
    assert alone == together
    assert alone["frames"] == 2
    assert alone.pop("colour_probe") != reseeded.pop("colour_probe")
    assert alone == reseeded
    assert not (tmp_path / "out" / "contact_sheet.png").exists()


def test_absent_parts_are_left_out(describe, linked_root, tmp_path):
    for part in ("gts", "lidarseg", "pseudo_labels", "sweeps"):
        shutil.rmtree(linked_root / part)
    (linked_root / VERSION / "lidarseg.json").unlink()
    done = describe(linked_root, VERSION, "--keyframes-on-sheet", 2)
    assert done.returncode == 0, done.stderr
    found = statistics(tmp_path)
    assert [found[key] for key in ("labels", "cloud", "pseudo_labels", "colour_probe")] == [
        None
    ] * 4
    assert found["sweep"]["sweeps"] == 8
    assert "One sweep" in done.stdout
    assert "Classes" not in done.stdout
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 30


def test_wrong_places_are_told_in_a_line(describe, synthetic_root, tmp_path):
    expect_error(describe(tmp_path / "none", VERSION), "holds no nuScenes tables", "--root")
    expect_error(describe(synthetic_root, "v1.0-mini"), "v1.0-mini holds no", "--version")
    few = ("--max-frames", 1, "--keyframes-on-sheet", 0)
    for flag in ("gts", "sweep", "cloud"):
        missing = (f"--reference-{flag}", tmp_path / "nothing.bin")
        expect_error(describe(synthetic_root, VERSION, *few, *missing), "nothing.bin")
    (tmp_path / "empty").mkdir()
    empty = describe(synthetic_root, VERSION, *few, "--reference-gts", tmp_path / "empty")
    expect_error(empty, "holds no labels.npz")


def test_a_root_without_keyframes(describe, linked_root):
    scenes = linked_root / VERSION / "scene.json"
    scenes.unlink()
    scenes.write_text("[]")
    expect_error(describe(linked_root, VERSION), "holds no keyframe", "--version")


def test_impossible_numbers_are_refused(describe, synthetic_root):
    done = describe(synthetic_root, VERSION, "--max-frames", 0)
    assert done.returncode == 2
    assert "--max-frames 0 is too small: use 1 or more" in done.stderr


def test_damaged_lidarseg_is_told(describe, linked_root):
    path = sorted((linked_root / "lidarseg" / VERSION).iterdir())[0]
    content = path.read_bytes()
    few = ("--max-frames", 1, "--keyframes-on-sheet", 8)
    for damaged, word in ((content[:-1], "points: fetch both"), (b"\xff" * len(content), "255")):
        path.unlink()
        path.write_bytes(damaged)
        expect_error(describe(linked_root, VERSION, *few), path.name, word)


@pytest.fixture
def references():
    (sweep,) = (DATA / "nuscenes_keyframe" / "samples" / "LIDAR_TOP").iterdir()
    cloud = DATA / "nuscenes_10_sweeps" / "points_f16_xyzit.bin"
    return [
        "--reference-gts", DATA / "occ3d_label" / "gts", "--reference-sweep", sweep,
        "--reference-cloud", cloud,
    ]  # fmt: skip


@pytest.mark.data
@absent
def test_beside_real_files(describe, synthetic_root, references, tmp_path):
    few = ("--keyframes-on-sheet", 0)
    done = describe(synthetic_root, VERSION, *few, *references)
    assert done.returncode == 0, done.stderr
    found = statistics(tmp_path)["references"]
    label, sweep, cloud = (found[key] for key in ("labels", "sweep", "cloud"))
    assert label["occupied_voxels"]["mean"] == 39_092
    assert label["mask_lidar"]["all"]["mean"] == 56_601
    assert label["mask_lidar"]["occupied"]["mean"] == 39_092 - 2_982
    assert label["mask_camera"]["all"]["mean"] == 43_355
    assert sweep["points"]["mean"] == 34_688
    assert sweep["points_beyond_1_m"]["mean"] > sweep["points_beyond_2.5_m"]["mean"] > 26_000
    assert cloud["points_beyond_2.5_m"]["mean"] == 256_648
    assert cloud["voxels"]["0.4"]["mean"] > 2 * sweep["voxels"]["0.4"]["mean"]
    for figure in ("39,092", "56,601", "43,355", "34,688", "256,648"):
        assert figure in done.stdout


@pytest.mark.data
@absent
def test_a_real_root_without_labels(describe, tmp_path):
    done = describe(DATA / "nuscenes_keyframe", "v1.0-mini")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 keyframes, 1 scenes" in done.stdout
    assert statistics(tmp_path)["labels"] is None
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 30
