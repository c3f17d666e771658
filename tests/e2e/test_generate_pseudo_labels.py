"""``tools/generate_pseudo_labels.py`` with tiny models of random weights."""

import hashlib
import json
import os
import resource
import shutil
import signal
from functools import partial

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.infos import sample_frame
from minkocc.datasets.nuscenes_tables import open_root
from minkocc.datasets.transforms.pseudo_labels import LoadPseudoLabels
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.structures.phase import Phase
from minkocc.structures.taxonomy import CAMERAS, NAMES_2D, PALETTE_2D
from tests.e2e.job import ROOT, expect_error, tool
from tests.forked import ToolProcess

DATA = ROOT.parent / "shared" / "data"
VERSION = "v1.0-synthetic"
SOURCES = {
    "sam": ("--detector", "detector", "--segmenter", "sam"),
    "sam2": ("--detector", "detector", "--segmenter", "sam2"),
    "segformer": ("--semantic", "segformer", "--class-map", "cityscapes"),
}


def arguments(root, models, source="segformer", version=VERSION):
    named = [models / word if (models / word).is_dir() else word for word in SOURCES[source]]
    return ["--root", root, "--version", version, *named, "--folder", "made", "--workers", 0]


def generate(*words, **process):
    return tool("generate_pseudo_labels.py", *words, **process)


@pytest.fixture
def root(tiny_root, tmp_path):
    """The tiny world without pseudo-labels, by links."""
    root = tmp_path / "root"
    root.mkdir()
    return linked(tiny_root, root)


def linked(world, root):
    for name in (VERSION, "samples", "lidarseg", "maps"):
        (root / name).symlink_to(world / name)
    return root


def results(root):
    """Digest of every label, confidence and of meta.json, by path."""
    folder = root / "made"
    files = [*folder.glob("*/CAM_*/*"), *folder.glob("*/CAM_*/.*"), folder / "meta.json"]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def labels(root):
    return sorted((root / "made" / "labels").glob("*/*.png"))


def check_files(root, images, size):
    """Every image has a label in our colours, and a confidence that is 0 where there is none."""
    assert len(labels(root)) == images
    seen = set()
    for path in labels(root):
        with Image.open(path) as file:
            assert file.mode == "P"
            assert file.size == size
            assert file.getpalette()[: PALETTE_2D.size] == PALETTE_2D.ravel().tolist()
            ids = np.asarray(file)
        with Image.open(root / "made" / "confidence" / path.parent.name / path.name) as file:
            assert file.mode == "L"
            confidence = np.asarray(file)
        assert confidence.shape == ids.shape
        assert np.array_equal(confidence == 0, ids == 0)
        seen |= set(np.unique(ids).tolist())
    assert len(seen - {0}) > 1
    assert max(seen) < len(NAMES_2D)


def check_loader(root, version):
    """The training loader takes them."""
    nusc = open_root(root, version)
    for sample in nusc.sample:
        info = sample_frame(nusc, sample, "scene", root)
        view = info["images"]["CAM_FRONT"]
        frame = {**info, "data_root": root, "phase": Phase.WEAK}
        frame["raw_size"] = view["height"], view["width"]
        loaded = LoadPseudoLabels("made")(frame)
        assert loaded["img_semantics"].shape == (6, view["height"], view["width"])


def check_report(root, images):
    folder = root / "made"
    found = json.loads((folder / "coverage.json").read_text())
    assert found["images"] == images
    assert sum(row["pixel_share"] for row in found["classes"].values()) == pytest.approx(1)
    for picture in [folder / "coverage.png", *(folder / "overlays").iterdir()]:
        with Image.open(picture) as file:
            assert np.asarray(file.convert("L")).std() > 20


@pytest.mark.parametrize("source", SOURCES)
def test_each_source(root, tiny_models, source):
    words = arguments(root, tiny_models, source)
    done = generate(*words, "--batch-size", 4)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "24 images labelled, 0 already there" in done.stdout
    assert "| driveable_surface" in done.stdout
    check_files(root, 24, (320, 180))
    check_loader(root, VERSION)
    check_report(root, 24)
    assert len(list((root / "made" / "overlays").iterdir())) == 3
    meta = read_meta(root / "made")
    assert meta["image_size"] == [320, 180]
    assert [model["revision"][:7] for model in meta["models"]] == ["sha256:"] * len(meta["models"])
    assert ("prompts" in meta) == (source != "segformer")
    if source == "sam":
        assert meta["thresholds"] == {"box": 0.25}
        assert meta["class_map"]["sedan"] == "car"
        before = {path: path.stat().st_mtime_ns for path in labels(root)}
        done = generate(*words, "--batch-size", 4)
        assert "0 images labelled, 24 already there" in done.stdout
        assert {path: path.stat().st_mtime_ns for path in labels(root)} == before


@pytest.fixture(scope="module")
def whole(tiny_root, tiny_models, tmp_path_factory):
    """What one run makes of the first scene with boxes and masks."""
    root = linked(tiny_root, tmp_path_factory.mktemp("whole"))
    done = generate(*one_scene(root, tiny_models))
    assert done.returncode == 0, done.stderr[-3000:]
    return results(root)


def one_scene(root, models):
    return [*arguments(root, models, "sam"), "--scenes", "scene-0001", "--batch-size", 2]


def test_two_shards_make_what_one_run_makes(root, tiny_models, whole):
    words = one_scene(root, tiny_models)
    done = generate(*words, "--shard", "1/2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "shard 1/2: 6 images labelled" in done.stdout
    assert "6 images of other shards are missing" in done.stdout
    assert not (root / "made" / "coverage.json").exists()
    torchrun = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    done = generate(*words, env=torchrun)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "shard 0/2: 6 images labelled" in done.stdout
    assert results(root) == whole
    check_report(root, 12)


def test_killed_and_resumed_gives_the_same_bytes(root, tiny_models, whole):
    words = one_scene(root, tiny_models)
    process = ToolProcess("generate_pseudo_labels.py", *words)
    process.wait_for(lambda: len(labels(root)) > 4)
    process.kill()
    before = {path: path.stat().st_mtime_ns for path in labels(root)}
    assert 4 < len(before) < 12
    leftover = labels(root)[0].with_name(f".{labels(root)[0].name}.abc.part")
    leftover.write_bytes(b"half")
    done = generate(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{12 - len(before)} images labelled, {len(before)} already there" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results(root) == whole


def test_interrupted_and_resumed_gives_the_same_bytes(root, tiny_models, whole):
    words = one_scene(root, tiny_models)
    process = ToolProcess("generate_pseudo_labels.py", *words)
    process.wait_for(lambda: len(labels(root)) > 2)
    process.kill(signal.SIGINT)
    done = process.wait()
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1] == "interrupted"
    assert generate(*words).returncode == 0
    assert results(root) == whole


def test_a_full_disk_ends_in_one_line_and_is_made_up_for(root, tiny_models, whole):
    words = one_scene(root, tiny_models)
    # meta.json fits, a label does not.
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (8000, 8000))
    done = generate(*words, prepare=limit)
    expect_error(done, "File too large", "make room and run the same command again")
    assert not list((root / "made").glob("*/*/.*"))
    assert generate(*words).returncode == 0
    assert results(root) == whole


def test_other_settings_are_refused_unless_they_replace(root, tiny_models):
    words = one_scene(root, tiny_models)
    one = ("--cameras", "CAM_FRONT")
    assert generate(*words, *one).returncode == 0
    before = results(root)
    done = generate(*words, *one, "--threshold", 0.9)
    expect_error(done, "made otherwise (thresholds.box 0.25 -> 0.9)", "--overwrite")
    assert results(root) == before
    prompts = root / "prompts.json"
    prompts.write_text('[{"car": ["car"]}, {"sky": ["sky"]}]')
    done = generate(*words, *one, "--prompts", prompts, "--overwrite")
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_meta(root / "made")["prompts"] == [{"car": ["car"]}, {"sky": ["sky"]}]
    check_report(root, 2)
    after = results(root)
    assert set(after) == set(before)
    assert after != before


def offline():
    """As HF_HUB_OFFLINE would, which was read before the tool was forked."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--detector", "a/b", "--segmenter", "{sam}"), ["--detector a/b", "hf download"]),
        (("--detector", "{sam}", "--segmenter", "{sam}"), ["of type 'sam'", "Grounding-DINO"]),
        (("--detector", "{detector}", "--segmenter", "{detector}"), ["a SAM or SAM 2"]),
        (("--semantic", "{sam}", "--class-map", "cityscapes"), ["a semantic segmentation model"]),
        (("--semantic", "{segformer}", "--class-map", "x"), ["--class-map x cannot be read"]),
        (("--semantic", "{segformer}", "--class-map", "cityscapes", "--shard", "2/2"), ["--shard"]),
        (("--semantic", "{segformer}", "--class-map", "cityscapes", "--device", "x"), ["--device"]),
        (("--semantic", "{segformer}", "--class-map", "cityscapes", "--device", "cuda:99"), ["99"]),
    ],
)
def test_what_cannot_be_is_told_in_a_line(root, tiny_models, words, told):
    named = [word.format(**{p.name: p for p in tiny_models.iterdir()}) for word in words]
    expect_error(generate("--root", root, "--version", VERSION, *named, prepare=offline), *told)
    assert not (root / "pseudo_labels").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_no_image_is_named(root, tiny_root, tiny_models, workers):
    (root / "samples").unlink()
    shutil.copytree(tiny_root / "samples", root / "samples")
    path = sorted((root / "samples" / "CAM_BACK").iterdir())[0]
    path.write_bytes(b"no picture")
    done = generate(*arguments(root, tiny_models), "--workers", workers)
    expect_error(done, str(path), "cannot be read", "fetch it again")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name --detector and --segmenter, or --semantic"),
        (("--detector", "x"), "name --detector and --segmenter"),
        (("--semantic", "x"), "--semantic needs --class-map: cityscapes"),
        (("--semantic", "x", "--detector", "y"), "--semantic stands alone"),
        (("--detector", "x", "--segmenter", "y", "--class-map", "z"), "belongs to --semantic"),
        (("--detector", "x", "--segmenter", "y", "--threshold", 1), "--threshold 1.0"),
        (("--detector", "x", "--segmenter", "y", "--batch-size", 0), "--batch-size 0 is too small"),
    ],
)
def test_wrong_options_are_refused(root, words, told):
    done = generate("--root", root, "--version", VERSION, *words)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize("source", ["sam2", "segformer"])
def test_a_real_keyframe(tmp_path, tiny_models, source):
    root = shutil.copytree(DATA / "nuscenes_keyframe", tmp_path / "nuscenes")
    done = generate(*arguments(root, tiny_models, source, "v1.0-mini"), "--threshold", 0.9)
    assert done.returncode == 0, done.stderr[-3000:]
    check_files(root, len(CAMERAS), (1600, 900))
    check_loader(root, "v1.0-mini")
    check_report(root, len(CAMERAS))
    assert read_meta(root / "made")["image_size"] == [1600, 900]
