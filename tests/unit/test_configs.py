from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from minkocc.config import ConfigError, grid_of, load_config
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
HEADLINE = Path(__file__).parents[2] / "configs" / "minkocc_semi_a10.py"
MINI = HEADLINE.with_name("minkocc_semi_a10_mini.py")


def test_the_recipes_are_there():
    assert {HEADLINE, MINI} <= set(CONFIGS)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipe_loads_builds_and_survives_a_dump(path, tmp_path):
    cfg = load_config(path, {"image_pretrained": None})
    assert "${" not in cfg.pretty_text
    init_default_scope("minkocc")
    model = MODELS.build(cfg.model)
    assert model.grid == grid_of(cfg)
    assert sum(p.numel() for p in model.parameters()) > 10_000
    dumped = tmp_path / path.name
    cfg.dump(str(dumped))
    again = Config.fromfile(str(dumped))
    assert again.to_dict() == cfg.to_dict()
    assert load_config(dumped).to_dict() == cfg.to_dict()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipe_differs_from_its_base_in_few_lines(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= (30 if path.stem.endswith("mini") else 10)


def write(folder, text):
    path = folder / "child.py"
    path.write_text(f"_base_ = [{str(MINI)!r}]\n{text}\n")
    return path


@pytest.mark.parametrize(
    ("key", "hint"),
    [("alhpa", "alpha"), ("voxle_size", "voxel_size"), ("optim_wraper", "optim_wrapper")],
)
def test_unknown_key_is_refused_with_the_nearest(tmp_path, key, hint):
    with pytest.raises(ConfigError, match=rf"unknown top-level key '{key}'.*'{hint}'"):
        load_config(MINI, {key: 1})
    with pytest.raises(ConfigError, match=rf"unknown top-level key '{key}'.*'{hint}'"):
        load_config(write(tmp_path, f"{key} = 1"))


def test_unknown_key_like_nothing_lists_the_knobs():
    with pytest.raises(ConfigError, match=r"known knobs: alpha, voxel_size"):
        load_config(MINI, {"zzzzzz": 1})


def test_reference_without_a_knob_is_refused(tmp_path):
    path = write(tmp_path, "model = dict(lambda_3d='${lambda}')")
    with pytest.raises(ConfigError, match=r"'\$\{lambda\}' names no knob"):
        load_config(path)


def test_reference_inside_a_text_is_filled_in(tmp_path):
    cfg = load_config(write(tmp_path, "work_dir = 'runs/a_${alpha}_s${seed}'"), {"alpha": 0.2})
    assert cfg.work_dir == "runs/a_0.2_s0"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"train_dataloader.sampler.alpha": 0.3}, r"train_dataloader\.sampler\.alpha = 0\.3"),
        ({"model.genunet.voxel_size": 0.2}, r"model\.genunet\.voxel_size = 0\.2"),
        ({"train_dataloader.batch_size": 7}, r"train_dataloader\.batch_size = 7"),
        ({"test_dataloader.dataset.data_root": "x"}, r"test_dataloader\.dataset\.data_root = 'x'"),
    ],
)
def test_contradiction_names_the_place_and_the_knob(options, place):
    knob = next(iter(options)).rpartition(".")[2]
    with pytest.raises(ConfigError, match=rf"{place} contradicts the knob {knob} = .*top-level"):
        load_config(MINI, options)


def test_contradiction_inside_a_pipeline_is_found(tmp_path):
    steps = (
        "[dict(type='LoadWeakOccupancy', point_cloud_range='${point_cloud_range}', voxel_size=0.2)]"
    )
    path = write(tmp_path, f"train_dataloader = dict(dataset=dict(pipeline={steps}))")
    with pytest.raises(ConfigError, match=r"pipeline\.0\.voxel_size = 0\.2 contradicts"):
        load_config(path)


def test_evaluation_may_have_its_own_batch_size_and_workers():
    cfg = load_config(MINI, {"val_dataloader.batch_size": 3, "test_dataloader.num_workers": 0})
    assert (cfg.val_dataloader.batch_size, cfg.test_dataloader.num_workers) == (3, 0)


@pytest.mark.parametrize("from_child", [False, True])
def test_a_knob_reaches_sampler_hook_dataset_and_grid(tmp_path, from_child):
    knobs = {"alpha": 0.25, "voxel_size": 0.2, "seed": 7, "data_root": "/d", "batch_size": 3}
    if from_child:
        text = "\n".join(f"{name} = {value!r}" for name, value in knobs.items())
        cfg = load_config(write(tmp_path, text))
    else:
        cfg = load_config(MINI, knobs)
    loader = cfg.train_dataloader
    assert cfg.default_hooks.warm_start.alpha == 0.25
    assert (loader.sampler.alpha, loader.dataset.alpha) == (0.25, 0.25)
    assert (loader.sampler.seed, loader.dataset.seed, cfg.randomness.seed) == (7, 7, 7)
    assert loader.batch_size == loader.sampler.batch_size == 3
    assert loader.dataset.data_root == cfg.test_dataloader.dataset.data_root == "/d"
    steps = {step.type: step for step in loader.dataset.pipeline}
    sized = ("LoadOccupancyLabel", "LoadWeakOccupancy", "AugmentScene")
    assert [steps[name].voxel_size for name in sized] == [0.2] * 3
    # Metrics stay on Occ3D's grid.
    test_steps = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert "voxel_size" not in test_steps["LoadOccupancyLabel"]
    assert cfg.model.pulsar_head.voxel_size == 0.2
    init_default_scope("minkocc")
    model = MODELS.build(cfg.model)
    assert model.grid.shape == (400, 400, 32)
    assert model.voxel_encoder.grid == model.grid == grid_of(cfg)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.7}, r"alpha 1\.7 is not a share"),
        ({"alpha": -0.1}, r"alpha -0\.1"),
        ({"voxel_size": 0.3}, r"voxel_size 0\.3 does not divide the labels' 0\.4"),
        ({"voxel_size": 0.8}, r"voxel_size 0\.8"),
        ({"voxel_size": 0}, r"voxel_size 0"),
        ({"point_cloud_range": [0, 0, 0, 1, 1]}, "point_cloud_range"),
        ({"train_mask": "lidar"}, "train_mask 'lidar'"),
    ],
)
def test_impossible_knobs_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        load_config(MINI, options)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.py is not a file"):
        load_config(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("alpha = = 1\n")
    with pytest.raises(ConfigError, match=r"broken\.py cannot be read"):
        load_config(tmp_path / "broken.py")


def test_options_are_not_changed_by_loading():
    options = {"model.genunet": {"blocks": 2}}
    load_config(MINI, options)
    assert options == {"model.genunet": {"blocks": 2}}


def test_pretrained_weights_that_are_not_there_name_the_knob(tmp_path):
    cfg = load_config(MINI, {"image_pretrained": str(tmp_path / "none.pth")})
    init_default_scope("minkocc")
    model = MODELS.build(cfg.model)
    with pytest.raises(UserError, match=r"image_pretrained = .*none\.pth"):
        model.init_weights()
