"""Labels made on a card, in float16 where that is safe, beside those of the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from minkocc.apis.pseudo_labels.generate import _memory_told
from minkocc.pseudo_labels.prompts import read_prompts
from minkocc.pseudo_labels.sources import detection_source, semantic_source
from minkocc.structures.errors import UserError

pytestmark = pytest.mark.gpu
IMAGES = [
    Image.fromarray(np.random.default_rng(i).integers(0, 255, (9, 16, 3), np.uint8)).resize(size)
    for i, size in enumerate([(160, 90), (60, 60)])
]


# In the CPU's own float16 0.99 of the tiny SAM's pixels are those of float32, 0.85 of the SAM 2's.
@pytest.mark.parametrize(("segmenter", "least"), [("sam", 0.95), ("sam2", 0.8)])
def test_masks_of_the_same_boxes(tiny_models, segmenter, least):
    """The tiny detector's scores are too close to each other for the order to be compared."""
    names = (str(tiny_models / name) for name in ("detector", segmenter))
    source = detection_source(*names, read_prompts(), 0.0)
    here, there = (source.load(torch.device(device)) for device in ("cuda", "cpu"))
    for image, found in zip(IMAGES, there._detector.detect(IMAGES)):
        masks, expected = (
            np.stack(list(each._segmenter.masks(image, found.boxes))) for each in (here, there)
        )
        assert 0.05 < np.mean(expected) < 0.95
        assert (masks == expected).mean() > least


def test_boxes_and_their_classes(tiny_models):
    names = (str(tiny_models / name) for name in ("detector", "sam"))
    source = detection_source(*names, read_prompts()[:1], -1.0)
    here, there = (source.load(torch.device(device)) for device in ("cuda", "cpu"))
    for one, expected in zip(here._detector.detect(IMAGES), there._detector.detect(IMAGES)):
        np.testing.assert_allclose(np.sort(one.scores), np.sort(expected.scores), atol=0.02)
        assert one.boxes.shape == expected.boxes.shape


@pytest.mark.parametrize("model", ["segformer", "mask2former", "oneformer"])
def test_probabilities_of_classes(tiny_models, model):
    source = semantic_source(str(tiny_models / model), "cityscapes")
    here, there = (source.load(torch.device(device)) for device in ("cuda", "cpu"))
    for one, expected in zip(here.probabilities(IMAGES), there.probabilities(IMAGES)):
        assert (one.cpu() - expected).abs().mean() < 0.02
    for (labels, _), (expected, _) in zip(here.label(IMAGES), there.label(IMAGES)):
        assert (labels == expected).mean() > 0.95


def test_a_card_that_is_too_small_is_told_in_a_line():
    job = SimpleNamespace(batch_size=4, device="cuda:0")
    told = pytest.raises(UserError, match="memory of cuda:0 is too small for --batch-size 4")
    with told, _memory_told(job):
        torch.empty(1 << 45, dtype=torch.uint8, device="cuda")
