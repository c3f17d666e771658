"""Whose batches are whose, and when a folder of pseudo-labels may be written into."""

import json
import shutil

import numpy as np
import pytest
import torch

from minkocc.apis.pseudo_labels.folder import PseudoLabelFolder
from minkocc.apis.pseudo_labels.generate import Job, Shard, generate_pseudo_labels
from minkocc.apis.pseudo_labels.images import (
    KeyframeImage,
    KeyframeImages,
    Selection,
    select_images,
    select_info_images,
)
from minkocc.datasets.infos import create_infos
from minkocc.datasets.transforms.loading import InputError
from minkocc.files.infos import InfoError
from minkocc.files.pseudo_label_meta import PseudoLabelMetaError, make_meta
from minkocc.pseudo_labels.sources import Source
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CAMERAS


def image(stem, camera="CAM_FRONT"):
    return KeyframeImage(camera, {"filename": f"samples/{stem}.jpg", "width": 3, "height": 2})


def meta(**more):
    return make_meta("detection", [{"name": "a"}], {"car": "car"}, None, ("CAM_FRONT",), **more)


@pytest.fixture
def folder(tmp_path):
    return PseudoLabelFolder(tmp_path / "labels")


def write(folder, stem, value=5):
    ids = np.full((2, 3), value, np.uint8)
    folder.write(image(stem), ids, ids)


# Batches


def test_batches_do_not_span_scenes_and_shards_take_all_of_them():
    keyframes = [
        KeyframeImages(scene, str(n), [image(f"{scene}{n}{c}") for c in "ab"])
        for scene in ("s1", "s2")
        for n in range(3)
    ]
    whole = Selection(keyframes, None).batches(4)
    assert [len(batch) for batch in whole] == [4, 2, 4, 2]
    assert Selection(keyframes[3:], None).batches(4) == whole[2:]
    shards = [whole[Shard(i, 3).index :: 3] for i in range(3)]
    assert sorted(str(b) for shard in shards for b in shard) == sorted(map(str, whole))


def test_shards_are_read_from_the_option_and_from_torchrun():
    assert Shard.parsed("2/8") == Shard(2, 8)
    assert Shard.of_torchrun({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Shard(3, 4)
    assert Shard.of_torchrun({"WORLD_SIZE": "4"}) == Shard()
    for text in ("8/8", "1/0"):
        with pytest.raises(UserError, match=rf"--shard {text}: the first number counts from 0"):
            Shard.parsed(text)
    for text in ("1", "-1/2", "a/b", ""):
        with pytest.raises(UserError, match="expected i/n"):
            Shard.parsed(text)


def test_images_of_a_root(tiny_root):
    cameras = ["CAM_FRONT", "CAM_BACK"]
    selection = select_images(tiny_root, "v1.0-synthetic", cameras, None)
    assert selection.image_size == (320, 180)
    assert [i.camera for i in selection.images()] == cameras * 4
    one = select_images(tiny_root, "v1.0-synthetic", cameras, ["scene-0002"])
    assert one.images() == selection.images()[4:]
    with pytest.raises(InfoError, match=r"--scenes scene-002.*did you mean scene-0002"):
        select_images(tiny_root, "v1.0-synthetic", cameras, ["scene-002"])
    with pytest.raises(InfoError, match="lacks CAM_TOP: leave the camera out"):
        select_images(tiny_root, "v1.0-synthetic", ["CAM_TOP"], None)


# The folder


def test_a_folder_is_claimed_once_and_kept(folder):
    folder.check(meta())
    folder.claim(meta(), overwrite=False)
    write(folder, "x")
    folder.claim(meta(), overwrite=False)
    folder.claim(meta(), overwrite=True)
    assert folder.finished(["CAM_FRONT", "CAM_BACK"]) == {("CAM_FRONT", "x")}
    assert np.array_equal(folder.read(image("x"))[0], np.full((2, 3), 5))


def test_a_folder_made_otherwise_is_refused_or_replaced(folder):
    folder.claim(meta(thresholds={"box": 0.25}), overwrite=False)
    write(folder, "x")
    other = meta(thresholds={"box": 0.3})
    for refused in (folder.check, lambda found: folder.claim(found, overwrite=False)):
        with pytest.raises(PseudoLabelMetaError, match=r"thresholds\.box 0\.25 -> 0\.3\).*--over"):
            refused(other)
    assert folder.finished(["CAM_FRONT"])
    (folder.path / "coverage.json").write_text("{}")
    folder.claim(other, overwrite=True)
    assert not folder.finished(["CAM_FRONT"])
    assert not (folder.path / "coverage.json").exists()
    assert json.loads((folder.path / "meta.json").read_text())["thresholds"] == {"box": 0.3}


def test_a_difference_is_told_to_the_leaf(folder):
    folder.claim(meta(), overwrite=False)
    changes = folder.changes(
        {**meta(), "models": [{"name": "b"}], "cameras": ["CAM_BACK", "CAM_FRONT"], "image_size": 3}
    )
    assert changes == [
        'models.0.name "a" -> "b"',
        'cameras ["CAM_FRONT"] -> ["CAM_BACK", "CAM_FRONT"]',
        "image_size null -> 3",
    ]
    assert folder.changes(meta(prompts=["long" * 30]))[0].endswith("...")
    (folder.path / "meta.json").write_text("{")
    assert "cannot be read" in folder.changes(meta())[0]


def test_labels_of_unknown_origin_are_refused(folder):
    write(folder, "x")
    with pytest.raises(PseudoLabelMetaError, match=r"there is no meta\.json"):
        folder.claim(meta(), overwrite=False)
    folder.claim(meta(), overwrite=True)
    assert not folder.finished(["CAM_FRONT"])


def test_a_label_without_its_confidence_is_not_finished(folder):
    write(folder, "x")
    folder.file("confidence", image("x")).unlink()
    assert folder.finished(["CAM_FRONT"]) == set()


def test_only_own_leftovers_are_removed(folder):
    write(folder, "x")
    for kind in ("labels", "confidence"):
        place = folder.file(kind, image("x")).parent
        for name in (".x.png.abc.part", ".y.png.abc.part", ".xx.png.abc.part"):
            (place / name).write_bytes(b"half")
    folder.remove_leftovers(image(stem) for stem in "xz")
    left = {path.name for path in folder.path.glob("*/*/*")} | {
        path.name for path in folder.path.glob("*/*/.*")
    }
    assert left == {".xx.png.abc.part", ".y.png.abc.part", "x.png"}
    assert len(list(folder.path.glob("*/*/.*"))) == 4


def test_a_damaged_label_is_named(folder):
    write(folder, "x")
    path = folder.file("labels", image("x"))
    folder.write(image("z"), np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint8))
    path.write_bytes(folder.file("labels", image("z")).read_bytes())
    with pytest.raises(InputError, match=rf"{path} is 5x5 of mode P, expected 3x2 of mode"):
        folder.read(image("x"))
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"cannot be read.*delete it"):
        folder.read(image("x"))


def test_images_of_info_files_are_those_of_their_tables(tiny_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(tiny_root, root, symlinks=True)
    infos = list(create_infos(root, "v1.0-synthetic").paths.values())
    by_tables = select_images(root, "v1.0-synthetic", CAMERAS, None)
    by_infos = select_info_images(infos, None, None)
    assert by_infos.image_size == by_tables.image_size
    assert by_infos.cameras == by_tables.cameras == list(CAMERAS)
    assert sorted(i.key for i in by_infos.images()) == sorted(i.key for i in by_tables.images())
    for image in by_infos.images():
        assert (root / image.record["filename"]).is_file()
    one = select_info_images(infos, ["CAM_BACK"], ["scene-0002"])
    assert {image.camera for image in one.images()} == {"CAM_BACK"}
    assert {keyframe.scene for keyframe in one.keyframes} == {"scene-0002"}
    with pytest.raises(InfoError, match=r"--scenes scene-002: .*did you mean scene-0002"):
        select_info_images(infos, None, ["scene-002"])
    with pytest.raises(InfoError, match="has no camera front: it has CAM_FRONT"):
        select_info_images(infos, ["front"], None)


# The job


class OutOfMemory:
    def label(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")


@pytest.mark.parametrize(("size", "remedy"), [(3, "a smaller --batch-size"), (1, "smaller models")])
def test_too_little_memory_is_one_line(tiny_root, tmp_path, size, remedy):
    job = Job(tiny_root, "v1.0-synthetic", tmp_path / "out", batch_size=size, show_progress=False)
    source = Source("semantic", [], {"car": "car"}, lambda device: OutOfMemory())
    with pytest.raises(
        UserError, match=f"too small for --batch-size {size}: use {remedy}. .*--overwrite"
    ):
        generate_pseudo_labels(job, source)
