"""Statistics of batch norm against sums by hand, and on the network after overfitting."""

import copy
from types import SimpleNamespace

import torch
from mmengine.hooks import EMAHook
from torch import nn

from minkocc.engine.calibrate import CalibrateHook
from minkocc.engine.inference_statistics import (
    inference_statistics,
    learning_layers,
    set_statistics,
)
from minkocc.structures.phase import Phase
from tests.unit.engine.test_calibrate import OneFrame, overfit
from tests.unit.models.tiny_model import build


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm1d(2)
        self.frozen = nn.BatchNorm1d(2)
        self.second = nn.BatchNorm2d(2)
        nn.init.constant_(self.first.weight, 3.0)
        nn.init.constant_(self.first.bias, -1.0)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x, mode):
        assert mode == "tensor"
        return self.second(self.frozen(self.first(x))[..., None, None])


def test_statistics_are_the_mean_over_batches_of_what_each_layer_gets():
    torch.manual_seed(0)
    net = TwoLayers().train()
    layers = learning_layers(net)
    assert layers == ["first", "second"]
    net.eval()
    # Far from the running statistics: what the second layer gets must not depend on those.
    batches = [{"x": torch.randn(n, 2) * 50 + 7} for n in (5, 9)]
    found = inference_statistics(net, layers, [*batches, {"x": torch.zeros(1, 2)}])
    means, variances = [], []
    for batch in batches:
        x = batch["x"].double()
        means.append(x.mean(0))
        variances.append(x.var(0, unbiased=False))
        y = (x - x.mean(0)) / x.var(0, unbiased=False).add(net.first.eps).sqrt() * 3 - 1
        y = y / (1 + net.frozen.eps) ** 0.5
        means.append(y.mean(0))
        variances.append(y.var(0, unbiased=False))
    for i, name in enumerate(layers):
        mean, var = (sum(each[i::2]) / 2 for each in (means, variances))
        torch.testing.assert_close(found[name][0].double(), mean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found[name][1].double(), var, atol=1e-4, rtol=1e-4)
    assert net.first.running_mean.tolist() == [0, 0]
    set_statistics(net, found)
    torch.testing.assert_close(net.second.running_var, found["second"][1])
    # The layers are themselves again.
    x = batches[0]["x"]
    expected = (x - found["first"][0]) / (found["first"][1] + net.first.eps).sqrt() * 3 - 1
    torch.testing.assert_close(net.first(x), expected, atol=1e-4, rtol=1e-4)


def test_a_layer_that_never_had_two_rows_keeps_what_it_has():
    net = TwoLayers().train()
    layers = learning_layers(net)
    found = inference_statistics(net.eval(), layers, [{"x": torch.zeros(1, 2)}])
    assert found == {}


def test_one_frame_is_predicted_with_the_statistics_it_has_at_inference():
    """In training targets survive every level; the network's own choice has other statistics."""
    frame = OneFrame(Phase.WARM)
    model = build().train()
    overfit(model, frame, 20)
    layers = learning_layers(model.train())
    model.eval()
    hook = CalibrateHook()
    set_statistics(model, hook.statistics(model, frame, layers))
    seen = {}

    def watch(name):
        def hook(layer, inputs, output):
            seen[name] = inputs[0].transpose(0, 1).flatten(1).mean(1)

        return hook

    for name in layers:
        model.get_submodule(name).register_forward_hook(watch(name))
    data = model.data_preprocessor(frame.batch())
    model(**data, mode="tensor")
    for name in layers:
        layer = model.get_submodule(name)
        torch.testing.assert_close(seen[name], layer.running_mean, atol=1e-3, rtol=1e-3)


def test_with_averaged_weights_those_are_what_is_calibrated():
    frame = OneFrame(Phase.WARM)
    model = overfit(build().train(), frame, 20).train()
    first = copy.deepcopy(model)
    average = EMAHook(momentum=0.5)
    dataloader = SimpleNamespace(dataset=frame)
    runner = SimpleNamespace(model=model, hooks=[average], train_dataloader=dataloader)
    average.before_run(runner)
    overfit(model, frame, 5).train()
    trained = {name: value.clone() for name, value in model.named_parameters()}
    CalibrateHook()._calibrate(runner)
    averaged = average.ema_model.module
    for name, value in model.named_parameters():
        assert torch.equal(value, trained[name]), name
    layers = learning_layers(first)
    # The average has not moved from the first weights yet.
    expected = CalibrateHook().statistics(first.eval(), frame, layers)
    for each in (model, averaged):
        for name in layers:
            layer = each.get_submodule(name)
            torch.testing.assert_close(layer.running_mean, expected[name][0])
            torch.testing.assert_close(layer.running_var, expected[name][1])
        assert torch.equal(each.genunet.thresholds, averaged.genunet.thresholds)
