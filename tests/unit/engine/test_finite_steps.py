"""A loss, gradient or weight that is not finite ends training, and is never kept or loaded."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from minkocc.engine.finite_steps import FiniteStepHook, NotFiniteError, _bring_to_host
from minkocc.engine.safe_checkpoint import CheckpointError
from minkocc.files.checkpoints import read_checkpoint
from minkocc.structures.errors import UserError

NAN, INF = float("nan"), float("inf")
BAD = 3


class Sample(dict):
    """As much of a data sample as the message needs."""


class Poison(torch.autograd.Function):
    """The value itself, and a gradient as told."""

    @staticmethod
    def forward(ctx, value, factor):
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


class Model(BaseModel):
    """Two terms; what the batch says is put into its running mean, one of them, or a gradient."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, inputs, data_samples, mode):
        spoil, value = inputs["spoil"][0], inputs["value"][0]
        self.mean += 0.1 * (value if spoil == "loss_b" else 1.0)
        weight = Poison.apply(self.weight, value) if spoil == "gradient" else self.weight
        loss_b = weight.sum() * (value if spoil == "loss_b" else 1.0)
        return {"loss_a": self.weight.square().sum(), "loss_b": loss_b, "kept": weight.mean()}


class After(Hook):
    """Notes the weights after every iteration, or spoils them."""

    priority = "HIGH"

    def __init__(self, spoil=None):
        self.seen, self.spoil = [], spoil

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(runner.model.weight.detach().clone())
        if self.spoil is not None and runner.iter == BAD:
            runner.model.state_dict()[self.spoil].fill_(NAN)


def batches(spoil, value):
    rows = [
        {
            "inputs": {"spoil": spoil if i == BAD else "", "value": value if i == BAD else 1.0},
            "data_samples": Sample(token=f"frame-{i}"),
        }
        for i in range(6)
    ]
    return DataLoader(rows, batch_size=1, collate_fn=_collate)


def _collate(rows):
    (row,) = rows
    return {
        "inputs": {name: [value] for name, value in row["inputs"].items()},
        "data_samples": [row["data_samples"]],
    }


def runner_of(folder, spoil="", value=1.0, hooks=(), max_skips=0, **optim_wrapper):
    return Runner(
        Model(),
        work_dir=str(folder),
        train_dataloader=batches(spoil, value),
        train_cfg={"type": "ResumableTrainLoop", "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.1}, **optim_wrapper},
        default_hooks={
            "finite": {"type": "FiniteStepHook", "max_skips": max_skips},
            "checkpoint": {
                "type": "SafeCheckpointHook",
                "by_epoch": False,
                "interval": 1,
                "max_keep_ckpts": 1,
            },
        },
        custom_hooks=list(hooks),
        default_scope="minkocc",
        experiment_name=f"finite_{folder.name}",
        log_level="ERROR",
    )


SPOILT = {
    "a loss of nan": ("loss_b", NAN, "loss_b is nan"),
    "a loss of inf": ("loss_b", INF, "loss_b is inf"),
    "a gradient of nan": ("gradient", NAN, "the gradient of weight is not finite"),
    "a gradient of inf": ("gradient", INF, "the gradient of weight is not finite"),
    "a gradient that Adam cannot square": ("gradient", 1e25, "the gradients are so large"),
}


@pytest.mark.parametrize("clip", [None, {"max_norm": 1.0}], ids=["", "clipped"])
@pytest.mark.parametrize("case", SPOILT)
def test_training_ends_at_the_first_and_says_where(tmp_path, case, clip):
    spoil, value, words = SPOILT[case]
    after = After()
    runner = runner_of(tmp_path, spoil, value, [after], clip_grad=clip)
    with pytest.raises(NotFiniteError, match=f"iteration 3, frames frame-3: {words}") as caught:
        runner.train()
    assert "lower lr" in str(caught.value)
    assert "max_skips=10" in str(caught.value)
    assert len(after.seen) == BAD
    torch.testing.assert_close(runner.model.weight.detach(), after.seen[-1])  # no step was taken
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_3.pth"]
    saved = read_checkpoint(tmp_path / "iter_3.pth")["state_dict"]
    torch.testing.assert_close(saved["weight"], after.seen[-1])


@pytest.mark.parametrize("case", SPOILT)
def test_a_step_may_be_left_out_and_is_counted(tmp_path, case, monkeypatch):
    spoil, value, words = SPOILT[case]
    said = []
    monkeypatch.setattr(
        "minkocc.engine.finite_steps.print_log", lambda text, **_: said.append(text)
    )
    after = After()
    runner = runner_of(tmp_path, spoil, value, [after], max_skips=1)
    runner.train()
    assert len(after.seen) == 6
    assert torch.equal(after.seen[BAD], after.seen[BAD - 1])
    assert not torch.equal(after.seen[BAD + 1], after.seen[BAD])
    # Five forward passes count; the mean of the sixth is forgotten with its step.
    assert runner.model.mean.item() == pytest.approx(0.5)
    (line,) = said
    assert line.startswith(f"iteration 3, frames frame-3: {words}")
    assert line.endswith("; step 1 of at most 1 is left out")
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    last = [json.loads(line) for line in log.read_text().splitlines()][-1:]
    assert all(line.get("skipped_steps") == 1 for line in last)
    # The count goes on in a resumed run.
    hub = read_checkpoint(tmp_path / "iter_6.pth")["message_hub"]
    assert hub["runtime_info"]["skipped_steps"] == 1


def test_no_more_steps_are_left_out_than_allowed(tmp_path):
    runner = runner_of(tmp_path, "loss_b", NAN, max_skips=2)
    runner.message_hub.update_info("skipped_steps", 2)
    with pytest.raises(NotFiniteError, match=r"2 steps have been left out already.*max_skips=10"):
        runner.train()


def test_a_loss_amid_accumulated_gradients_ends_it_too(tmp_path):
    """The optimiser steps after iterations 2 and 5."""
    after = After()
    runner = runner_of(tmp_path, "loss_b", NAN, [after], accumulative_counts=3)
    with pytest.raises(NotFiniteError, match="iteration 3, frames frame-3: loss_b is nan"):
        runner.train()
    assert len(after.seen) == BAD


@pytest.mark.parametrize("name", ["weight", "mean"])
def test_weights_that_are_not_finite_are_not_saved_and_take_no_former_checkpoint(tmp_path, name):
    runner = runner_of(tmp_path, hooks=[After(spoil=name)])
    with pytest.raises(CheckpointError, match=rf"iteration 4: state_dict\.{name} .*not finite"):
        runner.train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_3.pth"]
    assert (tmp_path / "last_checkpoint").read_text().endswith("iter_3.pth")


def test_the_same_weights_with_and_without_the_hook(tmp_path):
    seen = []
    for name, hooks in (("with", []), ("without", None)):
        after = After()
        runner = runner_of(tmp_path / name, hooks=[after])
        if hooks is None:
            runner._hooks = [h for h in runner.hooks if not isinstance(h, FiniteStepHook)]
        runner.train()
        seen.append(torch.stack(after.seen))
    assert torch.equal(*seen)


@pytest.mark.parametrize("skips", [-1])
def test_a_negative_number_of_skips_is_refused(skips):
    with pytest.raises(ValueError, match="max_skips -1 is negative"):
        FiniteStepHook(skips)


def test_what_lies_on_the_host_stays_as_it_is():
    outputs = {"loss": torch.tensor(0.1, dtype=torch.float64), "note": "a"}
    before = dict(outputs)
    _bring_to_host(outputs)
    assert all(outputs[name] is value for name, value in before.items())


def test_what_lies_on_a_device_comes_in_one_copy(monkeypatch):
    copies = []

    class There(torch.Tensor):
        """Claims to be on a device."""

        device = SimpleNamespace(type="cuda")

    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (copies.append(self), self)[1])
    outputs = {
        "loss": torch.tensor(2.0).as_subclass(There),
        "n": torch.tensor(3).as_subclass(There),
    }
    _bring_to_host(outputs)
    assert len(copies) == 1
    assert {name: value.item() for name, value in outputs.items()} == {"loss": 2.0, "n": 3.0}


CONTENT = {
    "state_dict": {"a": torch.ones(2), "n": torch.tensor(3)},
    "ema_state_dict": {"module.a": torch.ones(2)},
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
}


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("state_dict", "a"), "state_dict.a"),
        (("ema_state_dict", "module.a"), "ema_state_dict.module.a"),
        (("optimizer", "state", 0, "exp_avg"), "optimizer.state.0.exp_avg"),
        (("a",), "a"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_weights_that_are_not_finite_are_not_loaded(tmp_path, path, name, value):
    content = {"a": torch.ones(2)} if len(path) == 1 else _copy(CONTENT)
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]][1] = value
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=rf"bad\.pth: {name} .* not finite.*before it"):
        read_checkpoint(tmp_path / "bad.pth")


def test_a_log_may_hold_nan(tmp_path):
    """Figures that are undefined, and losses of steps that were left out."""
    content = {
        **CONTENT,
        "message_hub": {"log_scalars": {"val/x": [torch.tensor([NAN]), torch.ones(1)]}},
    }
    torch.save(content, tmp_path / "good.pth")
    assert read_checkpoint(tmp_path / "good.pth").keys() == content.keys()


def _copy(node):
    return {
        key: _copy(value)
        if isinstance(value, dict)
        else value.clone()
        if isinstance(value, torch.Tensor)
        else value
        for key, value in node.items()
    }


@pytest.mark.parametrize("elsewhere", [False, True])
def test_all_processes_leave_a_step_out_or_none(tmp_path, monkeypatch, elsewhere):
    """Another process tells of a loss that reached no gradient of this one."""
    flags = []

    def reduced(flag, op):
        assert op == "max"
        flags.append(flag.item())
        flag.fill_(float(elsewhere and len(flags) == BAD + 1))

    monkeypatch.setattr("minkocc.engine.finite_steps.get_world_size", lambda: 2)
    monkeypatch.setattr("minkocc.engine.finite_steps.all_reduce", reduced)
    after = After()
    runner_of(tmp_path, hooks=[after], max_skips=1).train()
    assert flags == [0.0] * 6
    assert torch.equal(after.seen[BAD], after.seen[BAD - 1]) == elsewhere
    assert not torch.equal(after.seen[BAD + 1], after.seen[BAD])
