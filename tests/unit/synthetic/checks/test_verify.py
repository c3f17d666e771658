"""A check of a data set is silent about a sound one and names what is broken in any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from PIL import Image

from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES
from minkocc.synthetic.checks import verify
from minkocc.synthetic.checks.agreement import read_keyframe
from minkocc.synthetic.checks.table_checks import table_faults
from minkocc.synthetic.checks.verify import LIMITS, MAX_LISTED, format_report, verify_dataset
from minkocc.synthetic.writing.tables import TABLE_NAMES, VERSION, Tables


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    copy = tmp_path / "set"
    shutil.copytree(tiny_root, copy)
    return copy


def one(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def edit_table(root: Path, name: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = root / VERSION / f"{name}.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def edit_label(path: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> None:
    with np.load(path) as arrays:
        held = dict(arrays)
    for name, change in changes.items():
        held[name] = change(held[name])
    np.savez_compressed(path, **held)


def problem(root: Path, *texts: object) -> str:
    """The one problem of ``root``, which has to hold the texts."""
    report = verify_dataset(root)
    assert report["num_problems"] == len(report["problems"]) == 1, report["problems"]
    (found,) = report["problems"]
    for text in texts:
        assert str(text) in found
    return str(found)


@pytest.fixture(scope="module")
def report(tiny_root: Path) -> dict[str, Any]:
    return verify_dataset(tiny_root)


def test_a_sound_root_has_no_problems(report: dict[str, Any]) -> None:
    assert report["problems"] == []
    assert report["num_problems"] == 0
    assert report["scenes"] == 2
    assert report["keyframes"] == 4
    assert set(report["class_voxels"]) == set(CLASSES)
    for name, limit in LIMITS.items():
        figure = report["figures"][name]
        assert figure["limit"] == limit < figure["share"] == figure["right"] / figure["total"]
        assert np.sum(list(figure["by_class"].values()), 0).tolist() == [
            figure["right"],
            figure["total"],
        ]
    json.dumps(report)


@pytest.mark.processes
def test_the_number_of_workers_changes_nothing(tiny_root: Path, report: dict[str, Any]) -> None:
    assert verify_dataset(tiny_root, workers=2) == report
    with pytest.raises(ValueError, match="workers 0"):
        verify_dataset(tiny_root, workers=0)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("lost", [1, 5000])
def test_a_truncated_picture(root: Path, lost: int) -> None:
    path = one(root, "samples/CAM_FRONT/*.jpg")
    cut(path, -lost)
    scene = "scene-0001"
    problem(root, path, "delete", root / ".scenes" / f"{scene}.json", "run the same command again")


def test_a_picture_of_another_size(root: Path) -> None:
    path = one(root, "samples/CAM_BACK/*.jpg")
    Image.new("RGB", (320, 90)).save(path)
    problem(root, path, "is 320x90, expected 320x180")
    Image.new("L", (320, 180)).save(path, "PNG")
    problem(root, path, "is PNG of mode L")


def test_a_cut_sweep(root: Path) -> None:
    path = one(root, "sweeps/LIDAR_TOP/*")
    cut(path, -3)
    problem(root, path, "bytes, expected a positive multiple of 20")


def test_a_point_that_is_not_finite(root: Path) -> None:
    path = one(root, "samples/LIDAR_TOP/*")
    points = np.fromfile(path, np.float32).reshape(-1, 5)
    points[7, 1] = np.nan
    points.tofile(path)
    problem(root, path, "1 points that are not finite, the first of them number 7")


@pytest.mark.parametrize(("column", "value"), [(3, -1), (3, 256), (4, 32), (4, 0.5)])
def test_intensity_or_ring_out_of_range(root: Path, column: int, value: float) -> None:
    path = one(root, "sweeps/LIDAR_TOP/*")
    points = np.fromfile(path, np.float32).reshape(-1, 5)
    points[0, column] = value
    points.tofile(path)
    problem(root, path, ("intensity", "ring")[column - 3])


def test_missing_files(root: Path) -> None:
    label = one(root, "gts/scene-0002/*/labels.npz")
    label.unlink()
    problem(root, label, "is missing", "scene-0002.json")
    picture = one(root, "samples/CAM_BACK/*")
    picture.unlink()
    report = verify_dataset(root)
    assert report["num_problems"] == 2
    assert f"{picture} is missing" in " ".join(report["problems"])
    assert report["keyframes"] == 2


def test_a_missing_file_without_which_the_devkit_does_not_load(root: Path) -> None:
    path = one(root, "lidarseg/*/*")
    path.unlink()
    report = verify_dataset(root)
    missing, refused = report["problems"]
    assert f"{path} is missing: delete {root / '.scenes'}/scene-000" in missing
    assert "not loaded by nuscenes-devkit (AssertionError" in refused
    assert report["scenes"] == 0


def test_point_labels_of_another_length(root: Path) -> None:
    path = one(root, "lidarseg/*/*")
    labels = np.fromfile(path, np.uint8)
    labels[:-5].tofile(path)
    problem(root, path, f"{len(labels) - 5} labels for the {len(labels)} points")
    nusc = NuScenes(VERSION, str(root), verbose=False)
    sample = nusc.get("sample_data", path.name.removesuffix("_lidarseg.bin"))["sample_token"]
    with pytest.raises(ValueError, match=r"labels for \d+ points"):
        read_keyframe(nusc, sample, with_views=False)
    labels[0] = 32
    labels.tofile(path)
    problem(root, path, "category 32")


def test_camera_mask_outside_the_lidar_mask(root: Path) -> None:
    path = one(root, "gts/*/*/labels.npz")
    edit_label(path, mask_camera=lambda mask: np.ones_like(mask))
    problem(root, path, "voxels of mask_camera outside mask_lidar")


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("semantics", lambda a: a[:100], "semantics uint8 (100, 200, 16)"),
        ("semantics", lambda a: a.astype(np.int64), "semantics int64"),
        ("semantics", lambda a: a + 1, "semantics 18"),
        ("mask_lidar", lambda a: a * 255, "mask_lidar 255"),
        ("mask_camera", lambda a: a.astype(np.bool_), "mask_camera bool"),
    ],
)
def test_a_label_of_another_shape(
    root: Path, name: str, change: Callable[[np.ndarray], np.ndarray], text: str
) -> None:
    path = one(root, "gts/*/*/labels.npz")
    edit_label(path, **{name: change})
    problem(root, path, text)


def test_a_label_without_its_masks(root: Path) -> None:
    path = one(root, "gts/*/*/labels.npz")
    with np.load(path) as arrays:
        semantics = arrays["semantics"]
    np.savez_compressed(path, semantics=semantics)
    problem(root, path, "lacks mask_camera, mask_lidar")
    cut(path, 1000)
    problem(root, path, "cannot be read")


def test_occupied_voxels_that_nobody_observed(root: Path) -> None:
    path = one(root, "gts/*/*/labels.npz")
    edit_label(path, mask_lidar=np.zeros_like, mask_camera=np.zeros_like)
    problem(root, path, "occupied voxels outside mask_lidar")


def test_pseudo_labels(root: Path) -> None:
    path = one(root, "pseudo_labels/labels/CAM_FRONT/*.png")
    whole = path.read_bytes()
    with Image.open(path) as image:
        ids, palette = np.array(image), image.getpalette()
    assert palette is not None
    Image.fromarray(ids).save(path)
    problem(root, path, "not a palette PNG")

    def save(array: np.ndarray) -> None:
        image = Image.fromarray(array)
        image.putpalette(palette)
        image.save(path)

    save(ids[:90])
    problem(root, path, "is 320x90, expected 320x180")
    spoilt = ids.copy()
    spoilt[0, 0] = 19
    save(spoilt)
    problem(root, path, "2D id 19")
    path.write_bytes(whole[:500])
    problem(root, path, "cannot be read")


def test_confidence(root: Path) -> None:
    path = one(root, "pseudo_labels/confidence/CAM_FRONT/*.png")
    scores = np.full((180, 320), 255, np.uint8)
    scores[0, :3] = 0
    Image.fromarray(scores).save(path)
    problem(root, path, "is wrong in 3 pixels")
    Image.fromarray(np.full_like(scores, 255)).save(path)
    assert verify_dataset(root)["num_problems"] == 0
    labels = root / "pseudo_labels" / "labels" / "CAM_FRONT" / path.name
    with Image.open(labels) as image:
        ids, palette = np.array(image), image.getpalette()
    assert palette is not None
    ids[5, :2] = 0
    unlabelled = Image.fromarray(ids)
    unlabelled.putpalette(palette)
    unlabelled.save(labels)
    problem(root, path, "is wrong in 2 pixels", f"expected 0 exactly where {labels} is unlabelled")
    Image.fromarray(scores[:90]).save(path)
    problem(root, path, "is (320, 90), expected (320, 180)")
    Image.fromarray(scores).convert("RGB").save(path)
    problem(root, path, "mode RGB")


def test_a_map_that_does_not_load(root: Path) -> None:
    path = one(root, "maps/*.png")
    cut(path, 200)
    problem(root, path, "cannot be read")
    Image.new("L", (500, 500)).save(path)
    problem(root, path, "shows nothing to drive on")


def test_leftovers_of_a_killed_writer(root: Path) -> None:
    path = root / "samples" / "CAM_FRONT" / "x.jpg.tmp"
    path.write_text("half")
    problem(root, path, "interrupted write: delete it")
    path = path.rename(path.with_name(".x.jpg.abc.part"))
    problem(root, path, "interrupted write: delete it")


def test_splits_and_description(root: Path) -> None:
    splits = root / "splits.json"
    splits.write_text('{"train": ["scene-0001"], "val": ["scene-0001"]}')
    problem(root, splits, "names scene-0001, scene-0001", "expected each of scene-0001, scene-0002")
    splits.write_text('{"train": []}')
    problem(root, splits, "does not hold the splits")
    splits.write_text('{"train": ["scene-0001"], "val": ["scene-0002"]}')
    meta = root / "pseudo_labels" / "meta.json"
    meta.write_text("{}")
    assert "labels_in_images" not in verify_dataset(root)["figures"]
    problem(root, meta, "which models")
    meta.write_text('{"models": ["synthetic-clean"]}')
    problem(root, meta, "has format None, expected 1", "run the same command again")
    meta.unlink()
    problem(root, meta, "is missing", "run the same command again")


def test_images_are_compared_with_true_labels_only(root: Path) -> None:
    meta = root / "pseudo_labels" / "meta.json"
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "models": ["synthetic-degraded"]}))
    report = verify_dataset(root)
    assert report["num_problems"] == 0
    assert not any(name.startswith("labels_in_images") for name in report["figures"])


def test_a_broken_link(root: Path) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[0]["next"] = "nowhere"

    edit_table(root, "sample", change)
    problem(root, root / VERSION, "sample ", "next 'nowhere' is in no sample", "tables anew")


def test_tables_that_cannot_be_read(root: Path) -> None:
    path = root / VERSION / "ego_pose.json"
    path.write_text("[{")
    report = verify_dataset(root)
    assert report["scenes"] == 0
    assert f"{path} cannot be read" in report["problems"][0]
    path.write_text("{}")
    assert "is not a list of records" in verify_dataset(root)["problems"][0]
    shutil.rmtree(root / VERSION)
    with pytest.raises(UserError, match=f"holds no {VERSION}"):
        verify_dataset(root)


def test_a_reference_that_only_the_scene_needs(root: Path) -> None:
    edit_table(root, "sample_annotation", lambda r: r[0].update(attribute_tokens=["nowhere"]))
    report = verify_dataset(root)
    assert report["num_problems"] == 2
    assert "attribute_tokens 'nowhere' is in no attribute" in report["problems"][0]
    assert "scene-0001 cannot be followed through the tables" in report["problems"][1]


def test_a_figure_below_its_limit(root: Path) -> None:
    def shift(array: np.ndarray) -> np.ndarray:
        return np.roll(array, 2, 1)

    for path in root.glob("gts/*/*/labels.npz"):
        edit_label(path, semantics=shift, mask_lidar=shift, mask_camera=shift)
    report = verify_dataset(root)
    below = ["static_in_voxels", "moving_in_voxels", "labels_in_images"]
    assert report["num_problems"] == len(below)
    for name, text in zip(below, report["problems"]):
        assert f"{name} is {report['figures'][name]['share']:.3%}, expected more than 98%" in text


def test_many_problems_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in root.glob("sweeps/LIDAR_TOP/*"):
        path.unlink()
    shown = verify_dataset(root)["problems"]
    assert len(shown) == 18
    monkeypatch.setattr(verify, "MAX_LISTED", 5)
    report = verify_dataset(root)
    assert report["problems"] == shown[:5]
    assert report["num_problems"] == 18
    assert format_report(report).endswith("... and 13 problems more")
    assert MAX_LISTED == 20


def test_the_table_is_aligned(tiny_root: Path) -> None:
    lines = format_report(verify_dataset(tiny_root)).splitlines()
    rows = [line for line in lines if "%" in line]
    assert len({line.index("%") for line in rows}) == 1
    assert lines[0].split() == ["figure", "right", "of", "share", "limit"]
    assert lines[-1].startswith("2 scenes, 4 keyframes, ")


# Tables: one change at a time to sound ones.


@pytest.fixture
def tables(tiny_root: Path) -> Tables:
    return {
        name: json.loads((tiny_root / VERSION / f"{name}.json").read_text()) for name in TABLE_NAMES
    }


def test_sound_tables(tables: Tables) -> None:
    assert table_faults(tables) == []


def later(tables: Tables, channel: str, seconds: float) -> None:
    """Move one keyframe measurement and its pose in time."""
    data = next(r for r in tables["sample_data"] if f"samples/{channel}/" in r["filename"])
    pose = next(r for r in tables["ego_pose"] if r["token"] == data["ego_pose_token"])
    data["timestamp"] = pose["timestamp"] = data["timestamp"] + round(1e6 * seconds)


def relink(tables: Tables, table: str, **values: object) -> None:
    tables[table][0].update(values)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda t: t["sample"].append(t["sample"][0]), "sample has 2 records with token"),
        (lambda t: relink(t, "sample_data", next=""), "next is '', expected its neighbour"),
        (lambda t: relink(t, "sample", prev=t["sample"][1]["token"]), "prev is"),
        (lambda t: t["sample"][1].update(prev=""), "prev is '', expected its neighbour"),
        (lambda t: relink(t, "sample_annotation", next=""), "sample_annotation"),
        (lambda t: relink(t, "scene", nbr_samples=3), "nbr_samples is 3, found 2"),
        (
            lambda t: relink(t, "scene", last_sample_token=t["sample"][0]["token"]),
            "last_sample_token is not the chain's last",
        ),
        (lambda t: relink(t, "instance", nbr_annotations=9), "nbr_annotations is 9"),
        (lambda t: relink(t, "map", log_tokens=["nowhere"]), "log_tokens 'nowhere' is in no log"),
        (lambda t: relink(t, "ego_pose", timestamp=5), "its ego pose is of another time"),
        (lambda t: later(t, "CAM_FRONT", -0.1), "CAM_FRONT is 13"),
        (lambda t: later(t, "LIDAR_TOP", 0.004), "sweeps of LIDAR_TOP: 0.046 s"),
        (lambda t: later(t, "LIDAR_TOP", 0.004), "LIDAR_TOP is 4.0 ms from its keyframe"),
        (lambda t: relink(t, "sample", timestamp=1_600_000_000_100_000), "keyframes: 0.400 s"),
        (lambda t: t["lidarseg"].pop(), "a keyframe of LIDAR_TOP without lidarseg"),
        (lambda t: relink(t, "sample_data", is_key_frame=False), "no keyframe of LIDAR_TOP"),
        (lambda t: t["sensor"][0].pop("channel"), "a record lacks a field"),
    ],
)
def test_a_fault_in_the_tables(tables: Tables, spoil: Callable[[Tables], Any], text: str) -> None:
    spoil(tables)
    faults = table_faults(tables)
    assert any(text in found for found in faults), faults
