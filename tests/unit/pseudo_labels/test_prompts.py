"""Prompts are checked before an hour is spent on them, and their tokens are found by offsets."""

import json

import numpy as np
import pytest

from minkocc.config.classes import read_taxonomy
from minkocc.pseudo_labels.prompts import (
    PromptError,
    PromptGroup,
    parse_prompts,
    read_prompts,
    token_ids,
)
from minkocc.structures.taxonomy import NAMES_2D, Taxonomy
from tests.other_taxonomy import DRIVING8_FILE
from tests.unit.pseudo_labels.tiny_models import save_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_the_defaults_name_every_class_but_others():
    groups = read_prompts()
    named = {name for group in groups for _, name in group.phrases}
    assert named == set(NAMES_2D) - {"unlabelled", "others"}
    assert groups[-1].phrases == (("sky", "sky"),)


def test_the_caption_and_where_its_phrases_stand():
    group = PromptGroup((("sedan", "car"), ("traffic cone", "traffic_cone"), ("sky", "sky")))
    assert group.caption == "sedan. traffic cone. sky."
    found = [(group.caption[start:end], number) for start, end, number in group.spans()]
    assert found == [("sedan", 5), ("traffic cone", 9), ("sky", 18)]


def test_a_file_is_read_as_it_would_be_written(tmp_path):
    groups = read_prompts()
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([group.as_dict() for group in groups]))
    assert read_prompts(path) == groups
    path.write_text('[{"car": ["  Red   SEDAN "]}]')
    assert read_prompts(path)[0].caption == "red sedan."


@pytest.mark.parametrize("number", range(5))
def test_the_tokens_of_a_phrase_decode_to_it(tokenizer, number):
    group = read_prompts()[number]
    ids = token_ids(group, tokenizer, 256)
    tokens = tokenizer(group.caption)["input_ids"]
    assert len(ids) == len(tokens)
    words = {}
    for token, number in zip(tokens, ids):
        words.setdefault(number, []).append(token)
    for name, phrases in group.as_dict().items():
        assert tokenizer.decode(words.pop(NAMES_2D.index(name))) == " ".join(phrases)
    # What is left belongs to no phrase.
    assert set(words.pop(0)) == {101, 102, 1012}  # [CLS], [SEP] and the full stop
    assert not words


def test_a_word_of_several_tokens_is_one_phrase(tokenizer):
    group = parse_prompts([{"bicycle": ["bicyclist"], "car": ["car"]}], "test")[0]
    # [CLS] bicycl ##ist . car . [SEP]
    assert token_ids(group, tokenizer, 7).tolist() == [0, 3, 3, 0, 5, 0, 0]
    assert token_ids(group, tokenizer, 7).dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"car": ["car"]}, "x: expected a list of groups"),
        ([], "x: expected a list of groups"),
        ([{"car": ["car"]}, {}], r"x, group 2 is {}"),
        (["car"], "x, group 1 is 'car'"),
        ([{"cra": ["car"]}], r"unknown class 'cra' \(did you mean 'car'\?\), expected"),
        ([{"zzz": ["car"]}], "unknown class 'zzz', expected one of others, barrier"),
        ([{"unlabelled": ["car"]}], "unknown class 'unlabelled'"),
        ([{"car": "car"}], "car has 'car', expected a list"),
        ([{"car": []}], r"car has \[\], expected a list"),
        ([{"car": ["car", " "]}], "car has the phrase ' ', expected a noun"),
        ([{"car": [3]}], "car has the phrase 3"),
        ([{"car": ["a car. red"]}], "'a car. red', but the detector takes a full stop"),
        ([{"car": ["car?"]}], "question mark"),
        ([{"car": ["van"]}, {"truck": ["Van"]}], "x, group 2: truck has the phrase 'van', as has"),
    ],
)
def test_every_mistake_is_one_line(content, words):
    with pytest.raises(PromptError, match=words) as caught:
        parse_prompts(content, "x")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(PromptError, match=rf"--prompts {tmp_path}/none.json cannot be read"):
        read_prompts(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(PromptError, match=r"bad\.json cannot be read"):
        read_prompts(tmp_path / "bad.json")


def test_what_the_text_model_does_not_read_is_refused(tokenizer):
    group = parse_prompts([{"car": ["car", "sedan"]}], "test")[0]
    with pytest.raises(PromptError, match="the group of 'car' has 6 tokens, the detector reads 5"):
        token_ids(group, tokenizer, 5)
    invisible = parse_prompts([{"car": ["\u200b"]}], "test")[0]
    with pytest.raises(PromptError, match="holds nothing that the detector's text model reads"):
        token_ids(invisible, tokenizer, 50)


def test_a_taxonomy_has_prompts_of_its_own(tmp_path):
    other = read_taxonomy(DRIVING8_FILE)
    groups = read_prompts(taxonomy=other)
    assert [group.as_dict() for group in groups] == list(other.prompts)
    ids = {number for group in groups for _, _, number in group.spans()}
    assert ids == {*range(1, 9), 18}
    with pytest.raises(PromptError, match=r"unknown class 'car'.*, expected one of road, path"):
        parse_prompts([{"car": ["car"]}], "x", other)
    silent = Taxonomy.of({"classes": ["road"], "colours": {"road": "#000000"}})
    with pytest.raises(PromptError, match="the taxonomy has no prompts"):
        read_prompts(taxonomy=silent)
    (tmp_path / "p.json").write_text('[{"road": ["road"]}]')
    assert read_prompts(tmp_path / "p.json", silent)[0].phrases == (("road", "road"),)
