"""A checkpoint keeps the settings it was trained under, whatever recipe it is used with."""

import json
import re
import shlex
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from minkocc.apis import test as measure_checkpoint
from minkocc.config import load_config
from minkocc.engine import checkpoint_fit, run_settings
from minkocc.engine.checkpoint_fit import check_state, check_weights, load_weights
from minkocc.engine.run_settings import run_settings as settings_of
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.evaluation.metrics import OccupancyMetric
from minkocc.models.group_index import group_index
from minkocc.structures.errors import UserError
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.config.test_load import MINI

OTHER = {
    "alpha": (0.1, 0.4),
    "seed": (0, 5),
    "train_mask": ("camera", None),
    "outside": ("label", "free"),
    "unknown": ("free", "ignore"),
    "unknown_weight": (0.1, 0.3),
    "image_pretrained": (None, "/weights/r50.pth"),
    "sweeps": (4, 2),
    "lr": (2e-3, 1e-3),
    "image_size": ([192, 352], [64, 112]),
}
"""What the mini says of a knob, and what it is changed to."""


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(run_settings, "print_log", lambda text, **_: lines.append(text))
    return lines


def trained(**changes):
    """A checkpoint of the mini, trained with these knobs."""
    cfg = load_config(MINI, {"image_pretrained": None, **changes})
    checkpoint = {
        "meta": {"iter": 3},
        "state_dict": {"weight": torch.ones(1)},
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
    }
    SafeCheckpointHook().before_save_checkpoint(SimpleNamespace(cfg=cfg), checkpoint)
    return json.loads(json.dumps(checkpoint["meta"])) | {"plain": True}


@pytest.mark.parametrize("knob", OTHER)
def test_the_checkpoints_own_settings_are_reported_and_a_difference_is_named(said, knob):
    was, now = OTHER[knob]
    content = {"meta": trained(**{knob: was})}
    cfg = load_config(MINI, {knob: now})
    settings = run_settings.reported_settings(cfg, content, "c.pth")
    assert settings[knob] == was
    assert run_settings.differences(cfg, content) == {knob: {"checkpoint": was, "recipe": now}}
    assert said == [
        f"the recipe says {knob} {now}, checkpoint c.pth was trained with {was}, which is what is "
        "reported"
    ]


def test_the_same_settings_are_not_remarked_upon(said):
    content = {"meta": trained()}
    cfg = load_config(MINI, {"data_root": "/elsewhere", "num_workers": 3, "cache_root": "/c"})
    settings = run_settings.reported_settings(cfg, content, "c.pth")
    assert (settings.alpha, settings.data_root, said) == (0.1, "/elsewhere", [])
    assert run_settings.differences(cfg, content) == {}


@pytest.mark.parametrize("meta", [None, {}, {"run": 3}, [1]], ids=str)
def test_weights_that_say_nothing_are_reported_under_the_recipe(said, meta):
    content = {"state_dict": {}} if meta is None else {"meta": meta}
    cfg = load_config(MINI, {"alpha": 0.3})
    assert run_settings.reported_settings(cfg, content, "c.pth").alpha == 0.3
    assert said == ["checkpoint c.pth says nothing of how it was trained: reported is the recipe"]


def test_an_untrained_network_is_reported_under_the_recipe(said):
    assert run_settings.reported_settings(load_config(MINI), None, "").alpha == 0.1
    assert said == []


class Gridded(torch.nn.Module):
    """A model of one weight on a grid."""

    def __init__(self, voxel_size, bounds=(-40, -40, -1, 40, 40, 5.4)):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.grid = VoxelGrid(bounds, voxel_size)


@pytest.mark.parametrize("use", [check_weights, load_weights])
@pytest.mark.parametrize(("was", "now"), [(0.4, 0.2), (0.2, 0.4), (0.4, 0.1)])
def test_weights_of_other_voxels_are_refused(use, was, now):
    content = {"meta": trained(voxel_size=was), "state_dict": {"weight": torch.ones(1)}}
    words = rf"c\.pth was trained with voxel_size {was}, the recipe says {now}.*voxel_size={was}"
    with pytest.raises(UserError, match=words):
        use(Gridded(now), content, "c.pth")
    use(Gridded(was), content, "c.pth")


def test_weights_of_another_range_are_refused():
    content = {"meta": trained(), "state_dict": {"weight": torch.ones(1)}}
    with pytest.raises(UserError, match=r"point_cloud_range \[-40\.0, .*=\[-40\.0,-40\.0,-1\.0"):
        check_weights(Gridded(0.4, (-20, -20, -1, 20, 20, 5.4)), content, "c.pth")


class Classed(torch.nn.Linear):
    def __init__(self, class_groups):
        super().__init__(1, 1, bias=False)
        self.classes = group_index(class_groups)


RIDERS, TWO_WHEELS = {"rider": ["bicycle", "motorcycle"]}, {"rider": ["pedestrian", "bicycle"]}


@pytest.mark.parametrize(
    ("was", "now"), [(RIDERS, TWO_WHEELS), ({}, RIDERS), (RIDERS, {}), (None, RIDERS)]
)
def test_weights_of_other_classes_are_refused(was, now):
    run = trained(**({} if was is None else {"class_groups": was}))
    if was is None:  # a checkpoint of before there were groups
        del run["run"]["class_groups"]
    content = {"meta": run, "state_dict": {"weight": torch.ones(1, 1)}}
    with pytest.raises(
        UserError, match=r"c\.pth was trained with class_groups .*, the recipe says"
    ):
        check_weights(Classed(now), content, "c.pth")
    check_weights(Classed(was), content, "c.pth")


def test_a_checkpoint_of_groups_is_read_without_running_code(tmp_path):
    run = settings_of(load_config(MINI, {"class_groups": RIDERS}))
    assert type(run["class_groups"]) is dict
    torch.save({"meta": {"run": run}, "state_dict": {}}, tmp_path / "c.pth")
    read = torch.load(tmp_path / "c.pth", weights_only=True)
    assert read["meta"]["run"]["class_groups"] == RIDERS


def test_the_remedy_can_be_pasted_into_a_shell():
    content = {"meta": trained(class_groups=RIDERS), "state_dict": {"weight": torch.ones(1, 1)}}
    with pytest.raises(UserError) as told:
        check_weights(Classed({}), content, "c.pth")
    option = re.search(r"--cfg-options (.*), or with the config", str(told.value))[1]
    (word,) = shlex.split(option)
    assert word == "class_groups={'rider':['bicycle','motorcycle']}"


@pytest.mark.parametrize("damaged", [None, 3, {"a": 3}, {"a": ["lorry"]}])
def test_classes_that_a_checkpoint_cannot_mean_are_refused(damaged):
    meta = trained()
    meta["run"]["class_groups"] = damaged
    content = {"meta": meta, "state_dict": {"weight": torch.ones(1, 1)}}
    with pytest.raises(UserError, match=r"c\.pth was trained with class_groups"):
        check_weights(Classed({}), content, "c.pth")


def test_weights_to_begin_with_may_be_of_other_classes_and_it_is_said(monkeypatch):
    lines = []
    monkeypatch.setattr(checkpoint_fit, "print_log", lambda text, **_: lines.append(text))
    content = {"meta": trained(class_groups=RIDERS), "state_dict": {"weight": torch.ones(1, 1)}}
    checkpoint_fit.check_overlap(Classed(TWO_WHEELS), content, "c.pth")
    assert len(lines) == 1
    assert "trained with class_groups {'rider': ['bicycle', 'motorcycle']}" in lines[0]


def test_the_order_of_groups_says_nothing(said):
    turned = {"rider": ["motorcycle", "bicycle"]}
    content = {"meta": trained(class_groups=turned), "state_dict": {"weight": torch.ones(1, 1)}}
    check_weights(Classed(RIDERS), content, "c.pth")
    run_settings.check_resumed(load_config(MINI, {"class_groups": RIDERS}), content, "c.pth")
    assert said == []


def test_a_run_does_not_go_on_with_other_classes(said):
    cfg, content = load_config(MINI, {"class_groups": RIDERS}), {"meta": trained()}
    with pytest.raises(UserError, match=r"trained with class_groups \{\}, the recipe says .*rider"):
        run_settings.check_resumed(cfg, content, "c.pth")


@pytest.mark.parametrize("knob", ["alpha", "seed"])
def test_a_run_does_not_go_on_with_another_budget(said, knob):
    was, now = OTHER[knob]
    cfg = load_config(MINI, {knob: now})
    with pytest.raises(UserError, match=f"trained with {knob} {was}, the recipe says {now}"):
        run_settings.check_resumed(cfg, {"meta": trained(**{knob: was})}, "c.pth")
    assert said == []


def test_a_learning_rate_that_the_state_would_replace_is_refused(said):
    cfg, content = load_config(MINI, {"lr": 1e-3}), {"meta": trained()}
    words = r"trained with lr 0\.002, the recipe says 0\.001: .*goes on.*Resume with lr=0\.002"
    with pytest.raises(UserError, match=words):
        run_settings.check_resumed(cfg, content, "c.pth")


def test_of_more_epochs_it_is_said_what_stays(said):
    run_settings.check_resumed(load_config(MINI, {"max_epochs": 20}), {"meta": trained()}, "c.pth")
    (line,) = said
    assert line.startswith("resumed with max_epochs 20, the checkpoint was trained with 10")
    assert "schedule" in line


def test_a_run_does_not_go_on_with_another_optimiser(said):
    cfg = load_config(MINI, {"optim_wrapper.optimizer.type": "AdamW"})
    content = {"meta": trained()}
    with pytest.raises(UserError, match=r"holds the state of Adam, .* optimiser is AdamW,"):
        run_settings.check_resumed(cfg, content, "c.pth")
    assert run_settings.differences(cfg, content) == {}  # and tests as any other


@pytest.mark.parametrize("knob", ["sweeps", "train_mask"])
def test_what_else_changes_on_resuming_is_named(said, knob):
    was, now = OTHER[knob]
    run_settings.check_resumed(
        load_config(MINI, {knob: now}), {"meta": trained(**{knob: was})}, "c.pth"
    )
    (line,) = said
    assert line.startswith(f"resumed with {knob} {now}, the checkpoint was trained with {was}")


def test_weights_to_begin_with_are_no_matter_of_a_run_that_goes_on(said):
    cfg = load_config(MINI, {"image_pretrained": "/weights/r50.pth"})
    run_settings.check_resumed(cfg, {"meta": trained()}, "c.pth")
    assert said == []


def test_metrics_print_what_the_weights_were_trained_under():
    metric = OccupancyMetric(training={"train_mask": None, "outside": "free", "note": "mine"})
    settings = Config({"train_mask": "camera", "outside": "label", "alpha": 0.1})
    measure_checkpoint.tell_training([metric, SimpleNamespace(training=True), object()], settings)
    assert metric.training == {"train_mask": "camera", "outside": "label", "note": "mine"}


@pytest.mark.parametrize(
    "weight",
    [
        torch.ones(1, dtype=torch.int8),
        torch.ones(1, dtype=torch.bool),
        torch.ones(1, dtype=torch.complex64),
        torch.ones(1, 1),
        3.0,
        "x",
        None,
    ],
    ids=str,
)
def test_what_would_become_another_weight_is_refused(weight):
    """torch rounds numbers of another kind into place without a word."""
    content = {"meta": trained(), "state_dict": {"weight": weight, 7: torch.ones(1)}}
    with pytest.raises(UserError, match=r"c\.pth is of another model"):
        load_weights(Gridded(0.4), content, "c.pth")
    del content["state_dict"][7]
    with pytest.raises(UserError, match=r"differs in 1 tensors \(weight"):
        load_weights(Gridded(0.4), content, "c.pth")


def test_half_precision_is_no_other_kind():
    content = {"state_dict": {"weight": torch.full((1,), 1.5, dtype=torch.float16)}}
    model = Gridded(0.4)
    load_weights(model, content, "c.pth")
    assert model.weight.item() == 1.5


@pytest.mark.parametrize("optimizer", [1.5, [], "param_groups", None])
def test_a_state_that_is_none_is_said(optimizer):
    content = {"meta": {"iter": 1, "epoch": 1}, "message_hub": {}, "optimizer": optimizer}
    with pytest.raises(UserError, match=r"c\.pth lacks the optimiser's state"):
        check_state(Config({}), content, "c.pth")


ROADS = {"classes": ["road", "person"], "colours": {"road": "#000000", "person": "#010101"}}


def test_a_run_does_not_go_on_with_another_taxonomy():
    words = r"trained with taxonomy of Occ3D-nuScenes, the recipe says of road, person: its outputs"
    content = {"meta": trained(taxonomy=None)}
    with pytest.raises(UserError, match=words) as told:
        run_settings.check_resumed(load_config(MINI, {"taxonomy": ROADS}), content, "c.pth")
    assert "Resume with taxonomy=None" in str(told.value)
    content = {"meta": trained(taxonomy=ROADS)}
    with pytest.raises(
        UserError, match="taxonomy of road, person, the recipe says of Occ3D-nuScenes:"
    ):
        run_settings.check_resumed(load_config(MINI), content, "c.pth")


def test_colours_are_no_other_taxonomy(said):
    painted = {**ROADS, "colours": {"road": "#090909", "person": "#080808"}}
    content = {"meta": trained(taxonomy=painted)}
    run_settings.check_resumed(load_config(MINI, {"taxonomy": ROADS}), content, "c.pth")
    assert said == []


@pytest.mark.parametrize("was", [None, ROADS])
def test_weights_of_another_taxonomy_are_refused(was):
    content = {"meta": trained(taxonomy=was), "state_dict": {"weight": torch.ones(1, 1)}}
    other = {"classes": ["road", "tree"], "colours": {"road": "#000000", "tree": "#010101"}}
    model = torch.nn.Linear(1, 1, bias=False)
    model.classes = group_index({}, other)
    with pytest.raises(UserError, match=r"trained with taxonomy of .*recipe says of road, tree:"):
        check_weights(model, content, "c.pth")
    model.classes = group_index({}, was)
    check_weights(model, content, "c.pth")


def test_weights_of_before_there_were_taxonomies_are_of_occ3ds_classes():
    content = {"meta": trained(), "state_dict": {"weight": torch.ones(1, 1)}}
    del content["meta"]["run"]["taxonomy"]
    check_weights(Classed({}), content, "c.pth")
    model = torch.nn.Linear(1, 1, bias=False)
    model.classes = group_index({}, ROADS)
    with pytest.raises(UserError, match=r"taxonomy of Occ3D-nuScenes, the recipe says of road, "):
        check_weights(model, content, "c.pth")
