"""The examples of docs/components.md train: written down as the page says, on a small world."""

import copy
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from minkocc.config import load_config
from minkocc.registry import DATASETS, MODELS
from minkocc.structures.phase import Phase, TrainIndex

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "components.md").read_text()
FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
# What each example is about, and where it stands.
EXAMPLES = {
    "configs/my_swin.py": ("SwinTransformer", lambda model, data: model.image_encoder.backbone),
    "configs/my_hard_vfe.py": ("HardVFE", lambda model, data: model.voxel_encoder.encoder),
    "configs/my_points.py": ("LoadPointsFromFile", lambda model, data: data.pipeline.transforms[0]),
    "configs/my_classes.py": ("SemanticHead", lambda model, data: model.semantic_head),
    "configs/my_focal.py": ("FocalHead", lambda model, data: model.semantic_head),
}
TAXONOMY = "configs/own_semi_a10.py"  # trained in tests/e2e/test_other_taxonomy.py, on its own data
SMALL = {"image_size": [96, 160], "alpha": 0.5, "num_workers": 0}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with the page's files, from which Python imports."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for recipe in ROOT.glob("configs/**/*.py"):
        copied = tmp_path / recipe.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.symlink_to(recipe)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_parts")]:
        del sys.modules[name]
    MODELS.module_dict.pop("FocalHead", None)


def test_every_example_is_tried():
    assert {name for name in FILES if name.startswith("configs/")} == {*EXAMPLES, TAXONOMY}


def test_the_example_of_a_taxonomy_takes_its_classes(written):
    cfg = load_config(written / TAXONOMY, {"image_pretrained": None})
    init_default_scope("minkocc")
    assert MODELS.build(cfg.model.semantic_head).mlp[-1].out_features == 8


@pytest.mark.parametrize("recipe", EXAMPLES)
def test_the_example_trains_in_both_phases(recipe, written, synthetic_root):
    cfg = load_config(written / recipe, {**SMALL, "data_root": str(synthetic_root)})
    init_default_scope("minkocc")
    torch.manual_seed(0)
    dataset, model = DATASETS.build(cfg.train_dataloader.dataset), MODELS.build(cfg.model).train()
    model.init_weights()
    kind, part = EXAMPLES[recipe]
    assert type(part(model, dataset)).__name__ == kind
    labelled = dataset.labelled_indices()[0]
    for phase, term in ((Phase.WARM, "loss_3d_ce"), (Phase.WEAK, "loss_2d_ce_tied")):
        batch = pseudo_collate([dataset[TrainIndex(labelled, 0, phase)]])
        batch = model.data_preprocessor(copy.deepcopy(batch), training=True)
        losses = {k: v for k, v in model(**batch, mode="loss").items() if "loss" in k}
        assert losses[term] > 0
        sum(losses.values()).backward()
    classes = {"configs/my_classes.py": 7}.get(recipe, 17)
    assert model.semantic_head.mlp[-1].out_features == classes
    for part in (model.image_encoder, model.voxel_encoder, model.semantic_head):
        grads = [parameter.grad for parameter in part.parameters()]
        assert all(grad is not None and grad.isfinite().all() for grad in grads)
