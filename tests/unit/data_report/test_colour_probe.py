"""The probe on pixels whose colour decides, and on pixels whose colour says nothing."""

import numpy as np
import pytest

from minkocc.data_report.colour_probe import Pixels, colour_probe, draw_pixels, split_of_scenes
from minkocc.structures.taxonomy import PALETTE_2D, SKY_2D

CAR, ROAD = 5, 12
SHARES = {CAR: 0.1, ROAD: 0.6, SKY_2D: 0.3}


def pixels(seed, coloured):
    rng = np.random.default_rng(seed)
    ids = rng.choice(list(SHARES), 3000, p=list(SHARES.values())).astype(np.uint8)
    noise = rng.integers(0, 256, (len(ids), 3)).astype(np.uint8)
    return Pixels(PALETTE_2D[ids] // 2 + noise // 16 if coloured else noise, ids)


def test_colour_that_decides():
    found = colour_probe(pixels(0, True), pixels(1, True))
    for side, classes in (("with_sky", 3), ("without_sky", 2)):
        assert found[side]["accuracy"] > 0.99
        assert found[side]["balanced_accuracy"] > 0.99
        assert found[side]["familiar_accuracy"] > 0.99
        assert len(found[side]["classes"]) == classes
        assert found[side]["chance"] == 1 / classes
    assert found["with_sky"]["classes"]["car"]["recall"] > 0.99


def test_another_light_deceives_in_unknown_scenes_alone():
    first, second = pixels(0, True), pixels(1, True)
    bright = Pixels(np.minimum(second.rgb, 127) + 128, second.ids)
    found = colour_probe(first, bright)["with_sky"]
    assert found["accuracy"] < found["familiar_accuracy"] - 0.2


def test_colour_that_says_nothing():
    found = colour_probe(pixels(0, False), pixels(1, False))
    with_sky, without = found["with_sky"], found["without_sky"]
    assert with_sky["majority_share"] == pytest.approx(0.6, abs=0.03)
    assert with_sky["accuracy"] == pytest.approx(with_sky["majority_share"], abs=0.01)
    assert with_sky["balanced_accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert without["majority_share"] == pytest.approx(6 / 7, abs=0.03)
    assert without["accuracy"] == pytest.approx(without["majority_share"], abs=0.01)
    assert without["test_pixels"] < with_sky["test_pixels"] == 3000
    assert with_sky["classes"]["car"]["recall"] == 0
    assert sum(values["share"] for values in with_sky["classes"].values()) == pytest.approx(1)


def test_a_class_that_is_not_in_the_tested_scenes_is_in_no_mean():
    test = pixels(1, True)
    found = colour_probe(
        pixels(0, True), Pixels(test.rgb[test.ids != CAR], test.ids[test.ids != CAR])
    )
    assert "car" not in found["with_sky"]["classes"]
    assert found["with_sky"]["balanced_accuracy"] > 0.99


def test_one_class_cannot_be_probed():
    train = pixels(0, True)
    road = Pixels(train.rgb[train.ids == ROAD], train.ids[train.ids == ROAD])
    assert colour_probe(road, train) is None
    assert colour_probe(train, Pixels(train.rgb[:0], train.ids[:0])) is None


def test_drawn_pixels_belong_together_and_are_labelled():
    labels = np.random.default_rng(0).choice([0, CAR, ROAD], (2, 40, 60)).astype(np.uint8)
    drawn = draw_pixels(PALETTE_2D[labels], labels, 3000, np.random.default_rng(1))
    assert (drawn.rgb == PALETTE_2D[drawn.ids]).all()
    assert set(drawn.ids) == {CAR, ROAD}
    assert len(drawn.ids) == pytest.approx(2000, abs=100)
    again = draw_pixels(PALETTE_2D[labels], labels, 3000, np.random.default_rng(1))
    assert (again.ids == drawn.ids).all()


def test_scenes_are_on_one_side():
    names = ["c", "a", "b", "a", "e", "d"]
    train, test = split_of_scenes(names, 0)
    assert sorted(train + test) == ["a", "b", "c", "d", "e"]
    assert (len(train), len(test)) == (3, 2)
    assert split_of_scenes(names[::-1], 0) == (train, test)
    assert any(split_of_scenes(names, seed) != (train, test) for seed in range(1, 5))
    with pytest.raises(ValueError, match="needs 2 or more"):
        split_of_scenes(["a", "a"], 0)
