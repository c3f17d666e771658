"""What stages take, on a clock that the test moves."""

from types import SimpleNamespace

import pytest
import torch

from minkocc.apis.benchmark import stage_times
from minkocc.apis.benchmark.stage_times import StageTimes, stages
from minkocc.structures.errors import UserError
from tests.unit.models.tiny_model import build


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(stage_times, "clock", lambda: self.now)

    def takes(self, seconds, then=None):
        def work(*_):
            self.now += seconds
            if then is not None:
                then(torch.zeros(1))
            return torch.zeros(1)

        return work


def module(work):
    layer = torch.nn.Identity()
    layer.forward = work
    return layer


def test_a_stage_does_not_count_what_runs_inside_it_and_all_add_up(monkeypatch):
    clock, times = Clock(monkeypatch), StageTimes()
    inner = module(clock.takes(3.0))
    outer = module(clock.takes(5.0, then=inner))
    times._watch("inner", inner)
    times._watch("outer", outer)
    runner = SimpleNamespace(message_hub=SimpleNamespace(get_info=lambda _: "weak"))
    times.before_train_epoch(runner)
    for _ in range(3):
        clock.now += 0.5  # the loader
        times.before_train_iter(runner)
        outer(torch.zeros(1))
        inner(torch.zeros(1))
        clock.now += 2.0
        times.after_train_iter(runner)
    expected = {"loading": 0.5, "outer": 5.0, "inner": 6.0, "rest": 2.0}
    assert times.medians(1) == {"weak": expected}
    assert [sum(lap.values()) for lap in times.laps["weak"]] == [13.5] * 3


def test_the_first_laps_are_left_out_where_there_are_more():
    times = StageTimes()
    times.laps = {"warm": [{"rest": 9.0}, {"rest": 1.0}, {"rest": 2.0, "more": 4.0}], "weak": [{}]}
    assert times.medians(1) == {"warm": {"rest": 1.5, "more": 2.0}, "weak": {}}


def test_every_learning_layer_of_the_network_belongs_to_a_stage():
    model = build()
    within = {p for _, module in stages(model) for p in module.parameters()}
    assert {p for p in model.parameters() if p not in within} <= set(
        model.pulsar_head.sphere.parameters()
    )


def test_another_model_is_refused():
    with pytest.raises(UserError, match=r"stages are those of a MinkOcc.*Identity"):
        StageTimes().before_run(SimpleNamespace(model=torch.nn.Identity()))
