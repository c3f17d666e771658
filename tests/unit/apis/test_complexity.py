"""Counts held against the sum over layers, worked out from their shapes."""

import pytest
from torch import nn

from minkocc.apis import complexity
from minkocc.apis.complexity import complexity_table, measure_complexity
from minkocc.apis.inference import init_model
from minkocc.config import load_config
from tests.unit.config.test_load import MINI


@pytest.fixture
def cfg(synthetic_root):
    return load_config(MINI, {"data_root": str(synthetic_root), "image_size": [48, 88]})


def test_images_cost_what_their_layers_shapes_say(cfg, monkeypatch):
    products = []

    def note(layer, inputs, output):
        each = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        products.append(output.numel() * each)

    def watched(*arguments, **keywords):
        model = init_model(*arguments, **keywords)
        for layer in model.image_encoder.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(note)
        return model

    monkeypatch.setattr(complexity, "init_model", watched)
    figures = measure_complexity(cfg)
    found = figures["modules"]
    assert found["image_encoder"]["gmacs"] == pytest.approx(sum(products) / 1e9)
    assert found["genunet"]["gmacs"] > 0
    parts = [part for name, part in found.items() if name != "all"]
    for what in ("parameters", "gmacs"):
        assert sum(part[what] for part in parts) == pytest.approx(found["all"][what])
    assert f"| all           | {found['all']['parameters']:>10,} |" in complexity_table(figures)
