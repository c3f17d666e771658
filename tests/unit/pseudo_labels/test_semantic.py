"""Probabilities of ids against loops over classes, and class maps against the model's labels."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from minkocc.config.classes import read_taxonomy
from minkocc.pseudo_labels.class_maps import (
    ClassMapError,
    full_class_map,
    read_class_map,
    source_ids,
)
from minkocc.pseudo_labels.prompts import PromptError
from minkocc.pseudo_labels.sources import semantic_source
from minkocc.structures.taxonomy import NAMES_2D, OCC3D, Taxonomy
from tests.other_taxonomy import DRIVING8, DRIVING8_FILE
from tests.unit.pseudo_labels.tiny_models import LABELS

CPU = torch.device("cpu")
SIZES = [(160, 90), (60, 60)]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (9, 16, 3), dtype=np.uint8) for _ in range(2)]
    # Of two sizes: the smaller one is padded where a model wants a batch of one size.
    return [Image.fromarray(image).resize(size) for image, size in zip(small, SIZES)]


@pytest.fixture
def some_classes(tmp_path):
    """A map that leaves out three labels, and says of a fourth that it is nothing."""
    left_out = {"building", "traffic light", "motorcycle"}
    full = {**OCC3D.class_maps["cityscapes"], **dict.fromkeys([*left_out, "terrain"])}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({k: v for k, v in full.items() if k not in left_out}))
    return str(path), full


def summed(of_classes, chosen):
    """Probabilities of the model's 19 classes ``(19, H, W)``, added up one by one."""
    out = np.zeros((19, *of_classes.shape[1:]))
    for probability, label in zip(of_classes, LABELS):
        out[NAMES_2D.index(chosen[label] or "unlabelled")] += probability
    return out


def test_logits(tiny_models, images, some_classes):
    name, chosen = some_classes
    source = semantic_source(str(tiny_models / "segformer"), name)
    labeller = source.load(CPU)
    found = [probability.numpy() for probability in labeller.probabilities(images)]
    inputs = labeller._process(images)
    with torch.no_grad():
        logits = labeller._model(**inputs).logits
    for one, few, (width, height) in zip(found, logits, SIZES):
        big = F.interpolate(few[None], (height, width), mode="bilinear", align_corners=False)
        expected = big[0].softmax(0).numpy()
        np.testing.assert_allclose(one, summed(expected, chosen), atol=1e-5)
    for (labels, confidence), one in zip(labeller.label(images), found):
        assert np.array_equal(labels, one.argmax(0))
        best = one.max(0)
        labelled = labels > 0
        assert np.abs(confidence[labelled] / 255 - best[labelled]).max() <= 0.5 / 255 + 1e-6
        assert not confidence[~labelled].any()
    assert any((labels == 0).any() for labels, _ in labeller.label(images))


@pytest.mark.parametrize("name", ["mask2former", "oneformer"])
def test_classes_of_masks(tiny_models, images, some_classes, name):
    path, chosen = some_classes
    labeller = semantic_source(str(tiny_models / name), path).load(CPU)
    found = [probability.numpy() for probability in labeller.probabilities(images)]
    inputs = labeller._process(images)
    with torch.no_grad():
        outputs = labeller._model(**inputs)
    height, width = inputs["pixel_values"].shape[-2:]
    padded = False
    for number, (one, size) in enumerate(zip(found, SIZES)):
        classes = outputs.class_queries_logits[number].softmax(-1)
        masks = outputs.masks_queries_logits[number].sigmoid()
        scores = sum(
            query[:-1, None, None] * mask[None] for query, mask in zip(classes, masks)
        )  # the last class is 'no object'
        inside = inputs["pixel_mask"][number].bool()
        rows, columns = int(inside[:, 0].sum()), int(inside[0].sum())
        whole = F.interpolate(scores[None], (height, width), mode="bilinear", align_corners=False)
        cut = whole[..., :rows, :columns]
        cut = F.interpolate(cut, size[::-1], mode="bilinear", align_corners=False)[0].numpy()
        expected = summed(cut, chosen) / np.maximum(cut.sum(0), 1)
        expected[0] += np.maximum(1 - cut.sum(0), 0)
        np.testing.assert_allclose(one, expected, atol=1e-4)
        np.testing.assert_allclose(one.sum(0), 1, atol=1e-4)
        assert one.std((1, 2)).max() > 0.01
        padded = padded or (rows, columns) != (height, width)
    assert padded


def test_cityscapes_is_named_whole():
    assert set(OCC3D.class_maps["cityscapes"]) == set(LABELS)
    full = full_class_map(dict(enumerate(LABELS)), read_class_map("cityscapes"), "x")
    ids = source_ids(dict(enumerate(LABELS)), full)
    assert [NAMES_2D[i] for i in ids[:2]] == ["driveable_surface", "sidewalk"]
    assert 0 not in ids


def test_labels_that_a_map_leaves_out_are_listed(tiny_models, some_classes):
    source = semantic_source(str(tiny_models / "segformer"), some_classes[0])
    (warning,) = source.warnings
    assert warning.endswith(
        "does not name 3 of the model's labels, which stay unlabelled: building, traffic light, "
        "motorcycle"
    )
    assert source.class_map == some_classes[1]
    assert not semantic_source(str(tiny_models / "segformer"), "cityscapes").warnings


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            '{"rode": "car"}',
            ClassMapError,
            r"no label 'rode' \(did you mean 'road'\?\), it has road,",
        ),
        ('{"zzzz": "car"}', ClassMapError, "no label 'zzzz', it has"),
        ('{"road": "street"}', PromptError, "'road': unknown class 'street'"),
        ('{"road": null}', ClassMapError, "maps no label to a class"),
        ('["road"]', ClassMapError, "holds a list"),
        ("{", ClassMapError, "cannot be read.*cityscapes or a JSON file"),
    ],
)
def test_a_wrong_map_is_one_line(tiny_models, tmp_path, content, error, words):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(error, match=words):
        semantic_source(str(tiny_models / "segformer"), str(path))


def test_a_map_that_is_not_there(tmp_path):
    with pytest.raises(ClassMapError, match=r"--class-map nothing cannot be read"):
        read_class_map("nothing")


def test_cityscapes_in_the_classes_of_another_taxonomy(tmp_path):
    other = read_taxonomy(DRIVING8_FILE)
    labels = dict(enumerate(LABELS))
    full = full_class_map(labels, read_class_map("cityscapes", other), "x")
    names = [other.names_2d[i] for i in source_ids(labels, full, other)]
    assert names[:2] == ["road", "path"]
    assert "unlabelled" not in names
    with pytest.raises(ClassMapError, match="name one of the taxonomy, which has none"):
        read_class_map("cityscapes", Taxonomy.of(DRIVING8))
