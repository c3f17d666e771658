"""What ``meta.json`` has to say before its labels are trained on."""

import json
import shutil
from pathlib import Path

import pytest

from minkocc.files.pseudo_label_meta import (
    PseudoLabelMetaError,
    make_meta,
    meta_path,
    model_names,
    read_meta,
    write_meta,
)
from minkocc.structures.taxonomy import CAMERAS, Taxonomy
from tests.other_taxonomy import DRIVING8

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def meta():
    return make_meta("semantic", [{"name": "a/b", "revision": "1"}], {"road": "sky"}, (8, 4))


def test_what_is_written_is_read(tmp_path, meta):
    write_meta(tmp_path, meta)
    assert read_meta(tmp_path) == meta
    assert meta["ids"]["0"] == "unlabelled"
    assert meta["ids"]["18"] == "sky"
    assert meta["cameras"] == list(CAMERAS)
    assert model_names(meta) == ["a/b"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": None}, "has format None, expected 1: generate the pseudo-labels again"),
        ({"format": 2}, "has format 2, expected 1"),
        ({"class_map": None}, "has NoneType as class_map"),
        ({"class_map": {"road": "street"}}, "maps 'road' to 'street', expected null or one of"),
        ({"class_map": {"road": ["sky"]}}, r"maps 'road' to \['sky'\]"),
        ({"ids": {"0": "unlabelled", "1": "car"}}, "calls id 1 'car', expected 'others'"),
        ({"ids": []}, "calls id 0 None, expected 'unlabelled'"),
        ({"models": ["synthetic-clean"], "format": None}, "run tools/create_synthetic.py again"),
    ],
)
def test_another_meaning_is_refused(tmp_path, meta, change, words):
    write_meta(tmp_path, {**meta, **change})
    with pytest.raises(PseudoLabelMetaError, match=words):
        read_meta(tmp_path)


def test_ids_that_say_more_are_refused(tmp_path, meta):
    write_meta(tmp_path, {**meta, "ids": {**meta["ids"], "19": "water"}})
    with pytest.raises(PseudoLabelMetaError, match="id more"):
        read_meta(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "has format None"),
        ('{"format": ', "cannot be read"),
        pytest.param("[" * 100_000, "cannot be read", id="deep"),
    ],
)
def test_damaged_files_are_named(tmp_path, text, words):
    meta_path(tmp_path).write_text(text)
    with pytest.raises(PseudoLabelMetaError, match=f"{tmp_path}/meta.json {words}"):
        read_meta(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PseudoLabelMetaError, match=r"does not exist.*generate_pseudo_labels"):
        read_meta(tmp_path)


def test_who_made_the_labels():
    assert model_names({"models": ["x", {"name": "y"}]}) == ["x", "y"]
    assert model_names({"detector": None, "segmenter": "ESPNet"}) == ["ESPNet"]
    assert model_names({}) == []


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
def test_labels_made_elsewhere_are_accepted(tmp_path):
    shutil.copy(DATA / "nuscenes_keyframe_pseudo_labels" / "meta.json", tmp_path)
    meta = read_meta(tmp_path)
    assert meta == json.loads(meta_path(tmp_path).read_text())
    assert model_names(meta)[0].startswith("ESPNet")


def test_ids_are_those_of_the_taxonomy(tmp_path):
    other = Taxonomy.of(DRIVING8)
    meta = make_meta("semantic", [], {"bus": "vehicle"}, None, taxonomy=other)
    assert meta["ids"] == {
        "0": "unlabelled",
        **{str(i): n for i, n in enumerate(other.classes, 1)},
        "18": "sky",
    }
    write_meta(tmp_path, meta)
    assert read_meta(tmp_path, other) == meta
    with pytest.raises(PseudoLabelMetaError, match="maps 'bus' to 'vehicle', expected null or one"):
        read_meta(tmp_path)
    write_meta(tmp_path, make_meta("semantic", [], {}, None))
    with pytest.raises(PseudoLabelMetaError, match="calls id 1 'others', expected 'road'"):
        read_meta(tmp_path, other)
    write_meta(tmp_path, {key: value for key, value in meta.items() if key != "ids"})
    with pytest.raises(PseudoLabelMetaError, match="does not say what its ids mean"):
        read_meta(tmp_path, other)
