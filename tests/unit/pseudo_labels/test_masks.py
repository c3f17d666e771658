"""Masks in chunks from one embedding are those of the library's own path."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from minkocc.pseudo_labels.masks import BOXES_AT_ONCE, KINDS, load_segmenter
from minkocc.pseudo_labels.pretrained import find

CPU = torch.device("cpu")
SIZE = (160, 90)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8)).resize(SIZE)


@pytest.fixture(scope="module")
def boxes():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 1, (BOXES_AT_ONCE + 3, 2, 2))
    corners = np.concatenate([corners.min(1), corners.max(1)], 1)
    return (corners * [*SIZE, *SIZE]).astype(np.float32)


def loaded(folder):
    found = find("--segmenter", str(folder), KINDS, "a SAM")
    return load_segmenter(found, CPU)


def test_sam(tiny_models, image, boxes):
    segmenter = loaded(tiny_models / "sam")
    masks = np.stack(list(segmenter.masks(image, boxes)))
    assert masks.shape == (len(boxes), 90, 160)
    assert masks.dtype == bool
    assert 0.01 < masks.mean() < 0.99

    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    processor = SamProcessor(SamImageProcessorPil.from_pretrained(tiny_models / "sam"))
    inputs = processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    with torch.no_grad():
        found = SamModel.from_pretrained(tiny_models / "sam")(**inputs, multimask_output=False)
    (expected,) = processor.post_process_masks(found.pred_masks, *sizes)
    assert (masks == expected[:, 0].numpy()).mean() > 0.9999  # a last bit may decide a pixel


def test_sam2_which_the_hub_calls_a_video_model(tiny_models, image, boxes):
    segmenter = loaded(tiny_models / "sam2")
    masks = np.stack(list(segmenter.masks(image, boxes)))
    assert masks.shape == (len(boxes), 90, 160)
    assert 0.01 < masks.mean() < 0.99

    from transformers import Sam2Model

    # Stretched to a square and normalised; the logits stretched back.
    small = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)) / 255.0
    pixels = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    scaled = boxes * np.array([64 / 160, 64 / 90] * 2)
    with torch.no_grad():
        found = Sam2Model.from_pretrained(tiny_models / "sam2")(
            pixel_values=torch.from_numpy(pixels).float().permute(2, 0, 1)[None],
            input_boxes=torch.from_numpy(scaled).float()[None],
            multimask_output=False,
        )
    expected = F.interpolate(found.pred_masks[0], (90, 160), mode="bilinear") > 0
    assert (masks == expected[:, 0].numpy()).mean() > 0.9999


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_each_mask_belongs_to_its_box(tiny_models, image, boxes, name):
    segmenter = loaded(tiny_models / name)
    forwards = np.stack(list(segmenter.masks(image, boxes)))
    backwards = np.stack(list(segmenter.masks(image, boxes[::-1].copy())))
    assert (forwards == backwards[::-1]).mean() > 0.9999
    assert any((forwards[0] != other).any() for other in forwards[1:])


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_without_boxes_the_model_is_not_asked(tiny_models, image, monkeypatch, name):
    segmenter = loaded(tiny_models / name)
    monkeypatch.setattr(segmenter, "_model", None)
    assert list(segmenter.masks(image, np.zeros((0, 4), np.float32))) == []
