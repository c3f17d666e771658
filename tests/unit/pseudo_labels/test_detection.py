"""Boxes as the library's post-processor has them; classes by the tokens of a phrase."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from minkocc.pseudo_labels.detection import Detector
from minkocc.pseudo_labels.pretrained import find
from minkocc.pseudo_labels.prompts import PromptError, parse_prompts, read_prompts
from minkocc.structures.taxonomy import NAMES_2D

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def found(tiny_models):
    return find("--detector", str(tiny_models / "detector"), ["grounding-dino"], "a detector")


@pytest.fixture(scope="module")
def model(found):
    return found.load("AutoModelForZeroShotObjectDetection", CPU)


@pytest.fixture(scope="module")
def parts(found, model):
    return model, found.image_processor(), found.tokenizer()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (9, 16, 3), dtype=np.uint8) for _ in range(2)]
    return [Image.fromarray(image).resize((160, 90)) for image in small]


def test_boxes_are_the_post_processors_and_classes_those_of_the_best_token(parts, images):
    model, image_processor, tokenizer = parts
    groups = read_prompts()[:1]
    found = Detector(model, image_processor, tokenizer, groups, threshold=-1.0).detect(images)

    from transformers import GroundingDinoProcessor

    processor = GroundingDinoProcessor(image_processor, tokenizer)
    caption = groups[0].caption
    inputs = processor(images=images, text=[caption] * 2, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    expected = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=-1.0, target_sizes=[(90, 160)] * 2
    )
    for number, one in enumerate(found):
        boxes = expected[number]["boxes"].clamp(min=0).minimum(torch.tensor([160, 90, 160, 90]))
        assert one.boxes.shape == (12, 4)
        np.testing.assert_allclose(one.boxes, boxes, atol=1e-4)
        # Token by token, as the caption reads.
        tokens = tokenizer(caption, return_offsets_mapping=True)["offset_mapping"]
        for box in range(12):
            best, name = max(
                (outputs.logits[number][box, i].item(), name)
                for i, (start, end) in enumerate(tokens)
                for name in [phrase_at(groups[0], start, end)]
                if name
            )
            assert one.scores[box] == pytest.approx(1 / (1 + math.exp(-best)), abs=1e-6)
            assert NAMES_2D[one.ids[box]] == name


def phrase_at(group, start, end):
    """The class of the phrase that holds these characters."""
    place = 0
    for phrase, name in group.phrases:
        if place <= start < end <= place + len(phrase):
            return name
        place += len(phrase) + 2
    return None


def test_a_batch_finds_what_its_images_find_alone(parts, images):
    detector = Detector(*parts, read_prompts(), threshold=0.25)
    together = detector.detect(images)
    for image, expected in zip(images, together):
        (alone,) = detector.detect([image])
        assert alone.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(alone.scores, expected.scores, atol=1e-5)
    assert all(len(one.ids) for one in together)


def test_groups_come_in_order_and_low_scores_are_dropped(parts, images):
    every = Detector(*parts, read_prompts(), threshold=-1.0).detect(images)[0]
    assert len(every.ids) == 5 * 12
    assert set(every.ids[-12:]) == {NAMES_2D.index("sky")}
    few = Detector(*parts, read_prompts(), threshold=0.9).detect(images)[0]
    assert 0 < len(few.ids) < len(every.ids)
    kept = every.scores > 0.9
    assert few.scores.tolist() == every.scores[kept].tolist()
    assert few.ids.tolist() == every.ids[kept].tolist()


class Answer(torch.nn.Module):
    """A model that has found two boxes: tokens are [CLS] traffic light . cone . [SEP]."""

    def __init__(self):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.config = type("Config", (), {"max_text_len": 8})()

    def forward(self, **_):
        logits = torch.full((1, 2, 8), -torch.inf)
        logits[0, 0, :7] = torch.tensor([9.0, -1.0, 0.5, 9.0, 0.0, 9.0, 9.0])
        logits[0, 1, :7] = torch.tensor([9.0, -3.0, -2.0, 9.0, -1.0, 9.0, 9.0])
        boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [1.0, 0.0, 0.5, 0.5]]])
        return type("Found", (), {"logits": logits, "pred_boxes": boxes})()


def test_only_tokens_of_phrases_count_and_boxes_end_at_the_image(parts):
    _, image_processor, tokenizer = parts
    groups = parse_prompts([{"manmade": ["traffic light"], "traffic_cone": ["cone"]}], "test")
    image = Image.new("RGB", (100, 50))
    (found,) = Detector(Answer(), image_processor, tokenizer, groups, 0.25).detect([image])
    assert [NAMES_2D[i] for i in found.ids] == ["manmade", "traffic_cone"]
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-0.5, 1.0])), atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[40, 15, 60, 35], [75, 0, 100, 12.5]], atol=1e-4)


def test_a_caption_longer_than_the_model_reads_is_refused(parts):
    with pytest.raises(PromptError, match="tokens, the detector reads 48"):
        Detector(*parts, parse_prompts([{"car": [f"{i}" for i in range(30)]}], "test"), 0.25)
