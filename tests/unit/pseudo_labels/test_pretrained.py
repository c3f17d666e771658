"""Models that cannot be used are told in a line that names the option."""

import json
import shutil
import sys

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from minkocc.pseudo_labels.pretrained import ModelError, find, fingerprint, finite, library

CPU = torch.device("cpu")
COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def model(tiny_models, tmp_path):
    return shutil.copytree(tiny_models / "sam", tmp_path / "sam")


def look_up(name, kinds=("sam",)):
    return find("--segmenter", str(name), kinds, "a SAM")


@pytest.mark.parametrize("name", ["somebody/nothing", "/no/such/folder"])
def test_a_model_that_is_nowhere(name):
    with pytest.raises(ModelError, match=rf"--segmenter {name}: no such folder or hub name"):
        look_up(name)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="this folder holds no model"):
        look_up(tmp_path)


def test_a_model_of_another_kind(model):
    with pytest.raises(ModelError, match=r"of type 'sam', expected a SAM \(x, y\)"):
        look_up(model, ("y", "x"))


def test_weights_that_are_missing_damaged_or_not_all_there(model):
    path = model / "model.safetensors"
    weights = load_file(path)
    name = next(key for key in weights if key.startswith("mask_decoder"))
    save_file({key: value for key, value in weights.items() if key != name}, path)
    with pytest.raises(ModelError, match=f"lacks 1 of its weights \\({name}, ...\\)"):
        look_up(model).load("SamModel", CPU)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="its weights cannot be read"):
        look_up(model).load("SamModel", CPU)
    path.unlink()
    with pytest.raises(ModelError, match="its weights cannot be read"):
        look_up(model).load("SamModel", CPU)


def test_an_image_processor_or_a_tokenizer_that_is_missing(model):
    for path in model.glob("*processor_config.json"):
        path.unlink()
    with pytest.raises(ModelError, match="its image processor cannot be read"):
        look_up(model).image_processor("SamImageProcessorPil")
    with pytest.raises(ModelError, match="its tokenizer cannot be read"):
        look_up(model).tokenizer()


def test_code_of_a_model_is_not_run(model, tmp_path):
    (model / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    path = model / "config.json"
    content = {**json.loads(path.read_text()), "model_type": "mine"}
    path.write_text(json.dumps({**content, "auto_map": {"AutoConfig": "code.C"}}))
    with pytest.raises(ModelError, match="this folder holds no model"):
        look_up(model)
    assert not (tmp_path / "ran").exists()


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"--detector needs transformers.*pip install -r req"):
        library("--detector")


def test_a_folder_is_known_by_its_content(model, tmp_path):
    before = fingerprint(model)
    assert before.startswith("sha256:")
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    assert fingerprint(copy) == before
    (copy / "README.md").write_text("words")
    (copy / "pytorch_model.bin").write_bytes(b"the same weights once more")
    assert fingerprint(copy) == before
    (copy / "config.json").write_text("{}")
    assert fingerprint(copy) != before
    assert look_up(model).describe() == {
        "role": "segmenter", "name": "sam", "type": "sam", "revision": before,
    }  # fmt: skip


def test_a_name_on_the_hub_is_taken_at_one_commit(tiny_models, tmp_path, monkeypatch):
    """From the cache, as after a download."""
    cached = tmp_path / "models--some--detector"
    shutil.copytree(tiny_models / "detector", cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = look_up("some/detector", ["grounding-dino"])
    # The hub moves on.
    (cached / "refs" / "main").write_text("b" * 40)
    assert found.describe()["revision"] == COMMIT
    assert found.describe()["name"] == "some/detector"
    assert found.image_processor().size["shortest_edge"] == 64
    assert found.tokenizer()("car.")["input_ids"][0] == 101
    assert not found.load("AutoModelForZeroShotObjectDetection", CPU).training


def test_values_that_are_not_finite_become_no_label():
    values = torch.tensor([1.0, 2.0])
    assert finite(values, "--detector") is values
    for bad in (float("nan"), float("inf")):
        with pytest.raises(
            ModelError, match="--detector gave values that are not finite, in float32"
        ):
            finite(torch.tensor([1.0, bad]), "--detector")
