"""The notebook's way to a prediction, held against the tool's."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from minkocc.apis.inference import init_model, predict
from minkocc.config import load_config
from minkocc.files.infos import read_infos
from minkocc.registry import DATASETS
from minkocc.structures.errors import UserError
from tests.unit.config.test_load import MINI


def recipe(root, **knobs):
    small = {"genunet.channels": [8, 8, 8, 8, 8], "genunet.in_channels": 24}
    options = {f"model.{name}": value for name, value in small.items()}
    options |= {"model.semantic_head.channels": 8, "model.pulsar_head.channels": 8}
    small = {"data_root": str(root), "image_size": [48, 88], "num_workers": 0}
    loaders = {f"{name}_dataloader.persistent_workers": False for name in ("train", "val", "test")}
    return load_config(MINI, {**small, **loaders, **options, **knobs})


@pytest.fixture
def saved(synthetic_root, tmp_path):
    """A recipe, and the file of a network of it that keeps every candidate."""
    cfg = recipe(synthetic_root)
    torch.manual_seed(3)
    model = init_model(cfg, device="cpu")
    model.genunet.set_thresholds([0.04] * 4)  # an untrained network says 0.047
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    return cfg, tmp_path / "weights.pth"


FOREIGN = {"type": "mmdet3d.LoadPointsFromFile", "coord_type": "LIDAR", "load_dim": 5}


@pytest.mark.parametrize("foreign", [False, True])
def test_a_frame_is_predicted_as_the_test_set_is(saved, synthetic_root, foreign):
    cfg, weights = saved
    if foreign:
        steps = cfg.test_dataloader.dataset.pipeline
        steps[:1] = [{**FOREIGN, "use_dim": 4}, {"type": "PointsToEgo"}]
    model = init_model(cfg, weights, device="cpu", render=True)
    frames = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    got = predict(model, frames[1], synthetic_root)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    (expected,) = model.predict(**model.data_preprocessor(pseudo_collate([dataset[1]])))
    assert got.token == frames[1]["token"]
    assert (got.pred_semantics < 17).sum() > 1000
    for name in ("pred_semantics", "rendered_tied", "rendered_shader"):
        assert torch.equal(got.get(name), expected.get(name))


def test_no_ground_truth_is_read(saved, linked_root):
    cfg, weights = saved
    frames = read_infos(linked_root / "minkocc_infos_val.pkl")["data_list"]
    for path in (*linked_root.rglob("labels.npz"), *linked_root.glob("pseudo_labels/*/*/*.png")):
        path.unlink()
    sample = predict(init_model(cfg, weights, device="cpu"), frames[0], linked_root)
    assert "voxel_semantics" not in sample
    assert sample.pred_semantics.numpy().dtype == np.uint8


def test_weights_of_another_model_are_refused(synthetic_root, tmp_path):
    torch.save({"state_dict": {"x": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="of another model"):
        init_model(recipe(synthetic_root), tmp_path / "other.pth")


def test_a_network_of_lidar_alone_needs_no_image(linked_root):
    cfg = load_config(MINI.with_name("minkocc_semi_a10_lidar_mini.py"), {"image_size": [48, 88]})
    model = init_model(cfg, device="cpu")
    frames = read_infos(linked_root / "minkocc_infos_val.pkl")["data_list"]
    for path in (linked_root / "samples").glob("CAM_*/*.jpg"):
        path.unlink()
    sample = predict(model, frames[0], linked_root)
    assert sample.pred_semantics.shape == (200, 200, 16)
