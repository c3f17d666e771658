import numpy as np
import pytest
from PIL import Image

from minkocc.study.charts import WITHOUT_PROMPT, _class_means, _mean_of, draw_study, reliability
from minkocc.study.definition import Study
from minkocc.study.table import by_arm
from tests.unit.study.results import result


def test_every_picture_is_drawn(tmp_path):
    results = [
        result("a", 0, 10.0, curve=[(10, 9.0), (20, 11.0)]),
        result("a", 1, 12.0, curve=[(10, 8.0), (20, 12.0)]),
        result("b", 0, 30.0, curve=[(10, 20.0), (20, 30.0)], alpha=1.0),
    ]
    study = Study("s", "d", (), bars=("a", "b", "c"), series={"alpha": ("alpha", ("a", "b", "c"))})
    pictures = draw_study(study, by_arm(results), tmp_path)
    names = {"learning_curves", "classes", "prompts", "reliability", "alpha"}
    assert {path.stem for path in pictures} == names
    for path in pictures:
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert draw_study(Study("s", "d", ()), {}, tmp_path) == []


def test_reliability_adds_up_the_seeds():
    """Below one half nothing is occupied, above it everything: as sure as can be."""
    said, found = reliability([result("a", 0, 1.0), result("a", 1, 1.0)], bins=4)
    assert said == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert found == pytest.approx([0.0, 0.0, 1.0, 1.0])


def test_who_is_right_about_his_chances_lies_on_the_diagonal():
    """Most candidates are nearly impossible: their bin's middle would say five times as much."""
    chances = (np.arange(100) + 0.5) / 100
    voxels = np.round(1e6 * np.exp(-60 * chances)).astype(int) + 1000
    right = result("a", 0, 1.0)
    occupied = np.round(voxels * chances).astype(int)
    sweep = {"occupied": occupied.tolist(), "free": (voxels - occupied).tolist()}
    right["final"]["pruning"]["sweep"] = [sweep]
    said, found = reliability([right])
    assert found == pytest.approx(said, abs=2e-3)
    assert said[0] < 0.02


def test_a_class_that_is_in_no_label_counts_in_no_mean():
    means = _class_means([result("a", 0, 12.0)])
    assert means["bus"] is None
    assert _mean_of([means[name] for name in ("bus", "car")]) == 12.0
    assert WITHOUT_PROMPT == ("others",)
