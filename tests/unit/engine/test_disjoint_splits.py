"""Frames that are trained on are not what a network is measured by."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from minkocc.config import load_config
from minkocc.engine import DisjointSplitsHook
from minkocc.engine.disjoint_splits import SplitError, count_trained
from tests.e2e.job import CONFIG

TRAIN = {"a": "scene-1", "b": "scene-1", "c": "scene-2"}
OVERLAPS = {
    "the same infos": (TRAIN, r"shares 3 frames with the training set \(a, b, c\)"),
    "one frame": ({"b": "scene-9"}, r"shares 1 frames with the training set \(b\)"),
    "other frames of a scene": ({"d": "scene-2"}, r"shares 1 scenes .*\(scene-2\)"),
}


def runner(val):
    loaders = [SimpleNamespace(dataset=SimpleNamespace(scene_of=each)) for each in (TRAIN, val)]
    return SimpleNamespace(
        train_dataloader=loaders[0], val_loop=SimpleNamespace(dataloader=loaders[1])
    )


@pytest.mark.parametrize("case", OVERLAPS)
def test_validation_on_what_is_trained_on_is_refused(case):
    val, words = OVERLAPS[case]
    with pytest.raises(SplitError, match=f"{words}.*--val-scenes.*disjoint_splits.allow=True"):
        DisjointSplitsHook().before_train(runner(val))


def test_where_it_is_meant_it_is_said(monkeypatch):
    told = []
    monkeypatch.setattr(
        "minkocc.engine.disjoint_splits.print_log",
        lambda text, logger, level: told.append((text, level)),
    )
    DisjointSplitsHook(allow=True).before_train(runner(TRAIN))
    DisjointSplitsHook().before_train(runner({"d": "scene-3"}))
    ((text, level),) = told
    assert "shares 3 frames" in text
    assert level == logging.WARNING


def test_other_data_sets_and_no_validation_are_no_matter():
    whole = runner(TRAIN)
    whole.val_loop = None
    DisjointSplitsHook().before_train(whole)
    DisjointSplitsHook().before_train(
        SimpleNamespace(
            train_dataloader=SimpleNamespace(dataset=[]),
            val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=[])),
        )
    )


def test_the_recipes_have_it():
    assert load_config(CONFIG).default_hooks.disjoint_splits.type == "DisjointSplitsHook"


def test_tested_frames_of_training_scenes_are_counted(synthetic_root):
    cfg = load_config(CONFIG, {"data_root": str(synthetic_root)})
    assert count_trained(cfg, ["scene-0001", "scene-0001", "nowhere"]) == 2
    assert count_trained(load_config(CONFIG, {"data_root": "nowhere"}), ["scene-0001"]) is None
    assert count_trained(Config({}), ["scene-0001"]) is None
