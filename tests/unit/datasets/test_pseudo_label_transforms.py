import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.transforms.loading import InputError, LoadImages, LoadPoints
from minkocc.datasets.transforms.pseudo_labels import (
    LiftPseudoLabels,
    LoadPseudoLabels,
    SampleLattice,
    lift_labels,
    read_label_image,
)
from minkocc.files.pseudo_label_meta import PseudoLabelMetaError
from minkocc.structures.phase import Phase
from tests.unit.datasets.linked_files import replace

# What is read


def pseudo_path(frame, kind, camera="CAM_FRONT_LEFT"):
    stem = Path(frame["images"][camera]["img_path"]).stem
    return Path(frame["data_root"]) / "pseudo_labels" / kind / camera / f"{stem}.png"


def load_pseudo(frame, phase=Phase.WEAK):
    return LoadPseudoLabels()({**frame, "phase": phase, "raw_size": (108, 192)})


def test_pseudo_labels_are_read_as_they_are_on_disk(frame):
    results = load_pseudo(frame)
    assert results["img_semantics"].shape == results["img_confidence"].shape == (6, 108, 192)
    with Image.open(pseudo_path(frame, "labels")) as file:  # the third camera
        assert np.array_equal(results["img_semantics"][2], np.asarray(file))
    with Image.open(pseudo_path(frame, "confidence")) as file:
        assert np.array_equal(results["img_confidence"][2], np.asarray(file))


@pytest.mark.parametrize(
    ("kind", "array", "words"),
    [
        ("labels", np.zeros((54, 96), np.uint8), "is 96x54 of mode L, expected 192x108"),
        ("confidence", np.zeros((54, 96), np.uint8), "is 96x54 of mode L, expected 192x108"),
        ("labels", np.full((108, 192), 19, np.uint8), r"id 19, expected 0\.\.18"),
        (
            "labels",
            np.zeros((108, 192, 3), np.uint8),
            "of mode RGB, expected 192x108 of mode L or P",
        ),
    ],
)
def test_wrong_pseudo_label_is_named(frame, kind, array, words):
    path = pseudo_path(frame, kind)
    path.unlink()
    Image.fromarray(array).save(path)
    with pytest.raises(InputError, match=f"{path}.*{words}"):
        load_pseudo(frame)


@pytest.mark.parametrize(
    ("kind", "image", "words"),
    [
        ("confidence", Image.new("P", (192, 108)), "of mode P, expected 192x108 of mode L like"),
        ("labels", Image.new("I;16", (192, 108)), "of mode I;16"),
        ("labels", Image.new("1", (192, 108)), "of mode 1"),
        ("labels", Image.new("1", (9000, 9000)), "is 9000x9000 of mode 1"),
    ],
)
def test_a_pseudo_label_that_is_not_a_byte_a_pixel_is_refused(
    frame, kind, image, words, monkeypatch
):
    path = pseudo_path(frame, kind)
    path.unlink()
    image.save(path)
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is unpacked
    with pytest.raises(InputError, match=f"{path} .*{words}"):
        read_label_image(path, kind, (108, 192))


def test_a_pseudo_label_that_exif_turns_is_refused(frame):
    path, exif = pseudo_path(frame, "labels"), Image.Exif()
    exif[0x0112] = 6
    path.unlink()
    Image.new("L", (192, 108)).save(path, exif=exif)
    with pytest.raises(InputError, match=rf"{path} is to be turned .*EXIF orientation 6"):
        read_label_image(path, "labels", (108, 192))


def test_missing_pseudo_label_is_an_error_in_training_only(frame):
    shutil.rmtree(Path(frame["data_root"]) / "pseudo_labels")
    assert "img_semantics" not in load_pseudo(frame, phase=None)
    with pytest.raises(PseudoLabelMetaError, match=r"does not exist.*generate_pseudo_labels"):
        load_pseudo(frame)


OFF = {"shader_weight": 0.0, "tied_weight": 0.0}


@pytest.mark.parametrize(
    ("weights", "read_in"),
    [
        ({}, "warm weak strong"),
        ({"warm_shader": False}, "weak strong"),
        ({"shader_weight": 0.0}, "weak strong"),
        ({"tied_weight": 0.0}, "warm weak strong"),
        (OFF, ""),
        ({"weight_2d": 0.0}, ""),
        ({"weight_2d": 0.0, "lift_weight": 0.5}, "weak"),
        ({**OFF, "lift_weight": 0.5}, "weak"),
    ],
)
def test_without_a_loss_that_reads_them_pseudo_labels_need_not_be_there(frame, weights, read_in):
    shutil.rmtree(Path(frame["data_root"]) / "pseudo_labels")
    step = LoadPseudoLabels(**weights)
    for phase in Phase:
        results = {**frame, "phase": phase, "raw_size": (108, 192)}
        if phase.value in read_in.split():
            with pytest.raises(PseudoLabelMetaError, match="does not exist"):
                step(results)
        else:
            assert "img_semantics" not in step(results)


def test_missing_file_is_named(frame):
    path = pseudo_path(frame, "confidence")
    path.unlink()
    with pytest.raises(InputError, match=rf"{path} does not exist.*generate_pseudo_labels"):
        load_pseudo(frame)


@pytest.mark.parametrize("phase", [Phase.WEAK, None])
def test_labels_of_another_format_are_refused(frame, phase):
    path = Path(frame["data_root"]) / "pseudo_labels" / "meta.json"
    before = json.loads(path.read_text())
    replace(path).write_text(json.dumps({**before, "format": 2}))
    with pytest.raises(PseudoLabelMetaError, match=r"has format 2, expected 1.*create_synthetic"):
        load_pseudo(frame, phase)


def test_a_png_with_a_broken_chunk_is_named(frame):
    path = replace(pseudo_path(frame, "labels"))
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") + 40
    content[place:] = bytes(len(content) - place)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} cannot be read"):
        load_pseudo(frame)


@pytest.mark.parametrize("kind", ["labels", "confidence"])
def test_a_flipped_bit_of_the_pixels_is_found(frame, kind):
    """What is unpacked of it may well be pixels, and Pillow compares no checksum of these."""
    path = replace(pseudo_path(frame, kind))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"IEND") - 6] ^= 1  # of the checksum itself, which tells as much
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} cannot be read .*broken PNG"):
        read_label_image(path, kind, (108, 192))


def test_a_pseudo_label_that_was_packed_with_a_loss_is_refused(frame):
    path = replace(pseudo_path(frame, "labels"))
    Image.new("L", (192, 108)).save(path, "JPEG")
    with pytest.raises(InputError, match=rf"{path} is a JPEG, expected a PNG"):
        read_label_image(path, "labels", (108, 192))


def test_the_meta_file_is_read_once(frame):
    step = LoadPseudoLabels()
    results = {**frame, "phase": Phase.WEAK, "raw_size": (108, 192)}
    step(dict(results))
    (Path(frame["data_root"]) / "pseudo_labels" / "meta.json").unlink()
    assert "img_semantics" in step(dict(results))


def test_truncated_pseudo_label_is_named(frame):
    path = replace(pseudo_path(frame, "labels"))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=rf"{path} cannot be read"):
        load_pseudo(frame)


# What is rendered


def maps(seed=0, size=(20, 33)):
    rng = np.random.default_rng(seed)
    return {
        key: rng.integers(0, 19, (6, *size)).astype(np.uint8)
        for key in ("img_semantics", "img_confidence")
    }


def test_the_lattice_keeps_the_middle_of_every_block_at_test_time():
    whole = maps()
    kept = SampleLattice(8)({**whole, "phase": None})
    assert kept["lattice"].shift == (4, 4)
    for key, array in whole.items():
        assert kept[key].dtype == np.uint8
        assert kept[key].flags.c_contiguous
        assert np.array_equal(kept[key], array[:, [4, 12]][:, :, [4, 12, 20, 28]])


def test_the_lattice_of_training_gives_every_pixel_its_turn():
    whole, rng = maps(), np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        kept = SampleLattice(4)({**whole, "phase": Phase.WEAK, "rng": rng})
        x, y = kept["lattice"].shift
        assert np.array_equal(kept["img_semantics"], whole["img_semantics"][:, y::4, x::4][..., :8])
        assert kept["img_semantics"].shape == (6, 5, 8)
        seen.add((x, y))
    assert seen == {(x, y) for x in range(4) for y in range(4)}


def test_a_lattice_without_maps_is_fine():
    assert set(SampleLattice(8)({"phase": None})) == {"phase", "lattice"}


# Labels of returns


def test_returns_take_the_label_of_their_pixel_in_every_view_that_sees_them():
    # Looking along +x from the origin: u = 8 - 10 y / x, v = 8 - 10 z / x; the other looks back.
    ahead = np.zeros((4, 4))
    ahead[0], ahead[1], ahead[2, 0], ahead[3, 3] = (8, -10, 0, 0), (8, 0, -10, 0), 1, 1
    back = ahead * [-1, -1, 1, 1]
    labels, confidence = np.zeros((2, 16, 16), np.uint8), np.full((2, 16, 16), 9, np.uint8)
    labels[0, 8, 7], labels[0, 8, 3], labels[0, 4, 7], labels[1, 8, 7] = 5, 17, 18, 1
    confidence[0, 8, 7] = 128
    points = np.array(
        [
            [5.0, 0.25, -0.25],  # pixel (7.5, 8.5): car
            [5.0, 2.25, -0.25],  # pixel (3.5, 8.5): vegetation
            [5.0, 0.25, 1.75],  # pixel (7.5, 4.5): sky teaches nothing
            [5.0, -3.0, -0.25],  # pixel (14, 8.5): unlabelled
            [-5.0, -0.25, -0.25],  # the view behind: others
        ],
        np.float32,
    )
    point, label, weight = lift_labels(points, np.stack([ahead, back]), labels, confidence)
    assert point.tolist() == [0, 1, 4]
    assert label.tolist() == [4, 16, 0]
    assert label.dtype == weight.dtype == np.uint8
    assert weight.tolist() == [128, 9, 9]


def lifted(frame, weight, phase):
    results = LoadImages()(LoadPoints(sweeps=1)({**frame, "phase": phase}))
    return LiftPseudoLabels(weight)(LoadPseudoLabels()(results))


def test_only_returns_of_the_current_sweep_are_labelled(frame):
    results = lifted(frame, 0.5, Phase.WEAK)
    current = results["points"][:, 4] == 0
    assert 0 < current.sum() < len(current)
    assert len(results["lift_point"]) > 100
    assert current[results["lift_point"]].all()
    assert (results["lift_label"] < 17).all()
    assert (results["lift_confidence"] > 0).all()


@pytest.mark.parametrize(
    ("weight", "phase"),
    [(0.0, Phase.WEAK), (1.0, Phase.WARM), (1.0, Phase.STRONG), (1.0, None)],
)
def test_nothing_is_lifted_that_no_loss_reads(frame, weight, phase):
    assert not any(key.startswith("lift") for key in lifted(frame, weight, phase))
