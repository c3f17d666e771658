"""What the warm start's hook leaves of a recipe's own settings, and which loops it refuses."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from minkocc.config import ConfigError, load_config
from minkocc.datasets.label_budget import LabelBudget
from minkocc.engine import launch
from minkocc.engine.train_loop import ResumableTrainLoop
from minkocc.engine.warm_start import WarmStartHook
from minkocc.files.occupancy import LabelBudgetError
from minkocc.registry import LOOPS
from minkocc.structures.phase import Phase
from tests.unit.config.test_load import MINI

ALPHA, ITERATIONS, WINDOW = 0.5, 20, 3
INSIDE, OUTSIDE = 9, 2


def runner_with(clip_grad):
    """A runner before its first iteration, as the hook sees it."""
    parameter = torch.nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=0.1), clip_grad=clip_grad)
    sampler = SimpleNamespace(batch_size=1, world_size=1, phase=lambda _: Phase.WARM)
    return SimpleNamespace(
        optim_wrapper=wrapper,
        train_dataloader=SimpleNamespace(sampler=sampler),
        message_hub=SimpleNamespace(update_info=lambda *_: None),
        model=SimpleNamespace(set_render_ramp=lambda _: None),
        max_iters=ITERATIONS,
        iter=0,
    )


def clipping(clip_grad, iteration, max_norm=10.0):
    """What is in force in an iteration: (function, arguments)."""
    runner = runner_with(clip_grad)
    hook = WarmStartHook(ALPHA, clip_window=WINDOW, max_norm=max_norm)
    hook._note_own_clipping(runner.optim_wrapper)
    runner.iter = iteration
    hook.before_train_iter(runner, 0)
    return runner.optim_wrapper.clip_func, runner.optim_wrapper.clip_grad_kwargs


NORM, VALUE = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_


@pytest.mark.parametrize(
    ("own", "iteration", "function", "expected"),
    [
        (None, OUTSIDE, NORM, None),
        (None, INSIDE, NORM, {"max_norm": 10.0}),
        ({"max_norm": 35.0}, OUTSIDE, NORM, {"max_norm": 35.0}),
        ({"max_norm": 35.0}, INSIDE, NORM, {"max_norm": 10.0}),
        ({"max_norm": 1.0}, INSIDE, NORM, {"max_norm": 1.0}),
        (
            {"max_norm": 35.0, "norm_type": 1.0},
            INSIDE,
            NORM,
            {"max_norm": 10.0, "norm_type": 1.0},
        ),
        ({"type": "value", "clip_value": 0.5}, OUTSIDE, VALUE, {"clip_value": 0.5}),
        ({"type": "value", "clip_value": 0.5}, INSIDE, VALUE, {"clip_value": 0.5}),
    ],
)
def test_a_recipes_own_clipping_stays(own, iteration, function, expected):
    own = None if own is None else dict(own)
    assert clipping(own, iteration) == (function, expected)


def test_no_norm_of_the_hook_leaves_the_recipes():
    for iteration in (INSIDE, OUTSIDE):
        found = clipping({"max_norm": 2.0}, iteration, max_norm=None)
        assert found == (NORM, {"max_norm": 2.0})


@pytest.mark.parametrize(
    "train_cfg",
    [
        {"type": "IterBasedTrainLoop", "max_iters": 12},
        {"type": "mmengine.IterBasedTrainLoop", "max_iters": 12},
        {"type": IterBasedTrainLoop, "max_iters": 12},
        {"by_epoch": False, "max_iters": 12},
    ],
    ids=["ours", "mmengine's", "class", "by_epoch"],
)
def test_a_loop_of_iterations_is_refused(train_cfg):
    """It began the sampler anew at every pass: 9 of 12 iterations were dense where 3 are due."""
    init_default_scope("minkocc")
    cfg = load_config(MINI)
    cfg.train_cfg = train_cfg
    with pytest.raises(ConfigError, match=r"IterBasedTrainLoop begins .*ResumableTrainLoop"):
        launch.train(cfg, Config())


@pytest.mark.parametrize(
    "train_cfg",
    [
        {"type": "ResumableTrainLoop", "max_epochs": 2},
        {"type": ResumableTrainLoop, "max_epochs": 2},
        {"by_epoch": True, "max_epochs": 2},
        {"max_epochs": 2},
        {"type": "EpochBasedTrainLoop", "max_epochs": 2},
        {"type": "mmengine.EpochBasedTrainLoop", "max_epochs": 2},
        {"type": EpochBasedTrainLoop, "max_epochs": 2},
    ],
)
def test_a_loop_of_epochs_is_the_one_that_resumes_exactly(train_cfg):
    init_default_scope("minkocc")
    cfg = load_config(MINI)
    cfg.train_cfg = train_cfg
    launch._settle_loop(cfg)
    kind = cfg.train_cfg.type
    assert (LOOPS.get(kind) if isinstance(kind, str) else kind) is ResumableTrainLoop
    assert set(cfg.train_cfg) == {"type", "max_epochs"}


def test_loops_of_other_samplers_are_their_own():
    cfg = load_config(MINI)
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler"}
    cfg.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": 12}
    launch._settle_loop(cfg)
    assert cfg.train_cfg == {"type": "IterBasedTrainLoop", "max_iters": 12}


def resumed(scenes, former, resume=True):
    """A resumed runner whose infos give these scenes, and the meta of the checkpoint."""
    budget = LabelBudget(0.5, 0, frozenset(scenes))
    loader = SimpleNamespace(dataset=SimpleNamespace(label_budget=budget))
    checkpoint = {"meta": {} if former is None else {"labelled_scenes": former}}
    WarmStartHook(0.5).after_load_checkpoint(
        SimpleNamespace(train_dataloader=loader, _resume=resume), checkpoint
    )


@pytest.mark.parametrize(
    ("scenes", "former", "words"),
    [
        (["a", "c"], ["a", "b"], "of 2 scenes, .* give it 2: new are c, gone are b"),
        (["a", "b", "c"], ["a", "b"], "give it 3: new are c, gone are none"),
        (["a"], ["a", "b"], "give it 1: new are none, gone are b"),
        ([], ["a"], "give it 0: new are none, gone are a"),
        (["a"], [], "of 0 scenes, .* give it 1: new are a"),
    ],
)
def test_a_resumed_run_keeps_the_scenes_of_its_budget(scenes, former, words):
    with pytest.raises(LabelBudgetError, match=words):
        resumed(scenes, former)
    resumed(scenes, former, resume=False)  # a new run from these weights has its own budget


@pytest.mark.parametrize("former", [["b", "a"], None], ids=["the same", "of an older version"])
def test_the_same_scenes_go_on(former):
    resumed(["a", "b"], former)


def test_a_checkpoint_holds_the_scenes_of_the_budget():
    budget = LabelBudget(0.5, 0, frozenset({"b", "a"}))
    loader = SimpleNamespace(dataset=SimpleNamespace(label_budget=budget))
    checkpoint = {"meta": {}}
    WarmStartHook(0.5).before_save_checkpoint(SimpleNamespace(train_dataloader=loader), checkpoint)
    assert checkpoint["meta"] == {"labelled_scenes": ["a", "b"]}
