from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from minkocc.config import KNOBS, ConfigError, load_config, recipe_of
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.registry import HOOKS, LOOPS, MODELS
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import Taxonomy
from minkocc.structures.voxel_grid import VoxelGrid

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.py"))
HEADLINE = Path(__file__).parents[3] / "configs" / "minkocc_semi_a10.py"
MINI = HEADLINE.with_name("minkocc_semi_a10_mini.py")


RECIPES = {
    "minkocc_semi_a10": {"alpha": 0.1, "voxel_size": 0.4},
    "minkocc_plus_a10": {
        "replay": 0.5,
        "vote_weight": 1.0,
        "weak_frames": [4, 4],
        "weak_see_through": 4.0,
        "unknown": "ignore",
        "model.carve_free": True,
    },
    "minkocc_self_a0": {"alpha": 0.0, "voxel_size": 0.4},
    "minkocc_strong_a100": {"alpha": 1.0, "voxel_size": 0.4},
    "minkocc_semi_a10_vox02": {"alpha": 0.1, "voxel_size": 0.2},
    "minkocc_semi_a10_vox01": {"alpha": 0.1, "voxel_size": 0.1},
    "minkocc_semi_a10_lidar": {
        "read_images": False,
        "image_pretrained": None,
        "model.image_encoder": None,
        "model.voxel_encoder.fusion": None,
    },
    "minkocc_semi_a10_no_render": {
        "weight_2d": 0.0,
        "depth_weight": 0.0,
        "model.pulsar_head": None,
    },
}
OWN = {
    "minkocc_plus_a10_mini": {"weight_2d": 1.0},
    "minkocc_strong_a100_mini": {
        "model.lambda_1": 2.0,
        "model.lambda_2": 2.5,
        "weight_2d": 0.25,
        "default_hooks.calibrate.unseen_weight": 0.15,
    },
}
"""What a recipe changes beside its knobs."""


def test_every_recipe_is_there_at_both_sizes():
    assert {path.stem for path in CONFIGS} == {
        name + size for name in RECIPES for size in ("", "_mini")
    }


@pytest.mark.parametrize("size", ["", "_mini"])
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_the_headline_but_for_its_knobs(name, size):
    cfg = load_config(HEADLINE.with_name(f"{name}{size}.py"))
    changes = {**RECIPES[name], **OWN.get(name + size, {})}
    base = load_config(HEADLINE.with_name(f"minkocc_semi_a10{size}.py"), changes)
    assert cfg.to_dict() == base.to_dict()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipe_loads_builds_and_survives_a_dump(path, tmp_path):
    cfg = load_config(path, {"image_pretrained": None})
    assert "${" not in cfg.pretty_text
    init_default_scope("minkocc")
    model = MODELS.build(cfg.model)
    assert model.grid == VoxelGrid(cfg.point_cloud_range, cfg.voxel_size)
    assert sum(p.numel() for p in model.parameters()) > 10_000
    dumped = tmp_path / path.name
    cfg.dump(str(dumped))
    again = Config.fromfile(str(dumped))
    assert again.to_dict() == cfg.to_dict()
    assert load_config(dumped).to_dict() == cfg.to_dict()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipe_differs_from_its_base_in_few_lines(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= (32 if path == MINI else 10)


# Where each knob has to arrive, and a value that no recipe has.
DESTINATIONS = {
    "alpha": (
        0.35,
        "train_dataloader.sampler.alpha train_dataloader.dataset.alpha "
        "default_hooks.warm_start.alpha",
    ),
    "warm_share": (
        0.6,
        "train_dataloader.sampler.warm_share default_hooks.warm_start.warm_share",
    ),
    "replay": (0.25, "train_dataloader.sampler.replay"),
    "voxel_size": (
        0.08,
        "model.voxel_encoder.voxel_size model.genunet.voxel_size model.pulsar_head.voxel_size "
        "train_dataloader.dataset.pipeline.2.voxel_size "
        "train_dataloader.dataset.pipeline.6.voxel_size "
        "train_dataloader.dataset.pipeline.7.voxel_size "
        "train_dataloader.dataset.pipeline.8.voxel_size",
    ),
    "seed": (
        17,
        "train_dataloader.sampler.seed train_dataloader.dataset.seed randomness.seed",
    ),
    "data_root": (
        "some/where",
        "train_dataloader.dataset.data_root val_dataloader.dataset.data_root "
        "test_dataloader.dataset.data_root",
    ),
    "paths_leave_root": (
        True,
        "train_dataloader.dataset.paths_leave_root val_dataloader.dataset.paths_leave_root "
        "test_dataloader.dataset.paths_leave_root",
    ),
    "pseudo_labels": (
        "other/labels",
        "train_dataloader.dataset.pipeline.3.folder "
        "train_dataloader.dataset.pipeline.6.pseudo_labels "
        "train_dataloader.dataset.pipeline.7.pseudo_labels",
    ),
    "cache_by_content": (True, "train_dataloader.dataset.cache_by_content"),
    "cache_root": ("some/cache", "train_dataloader.dataset.cache_root"),
    "image_pretrained": (
        "torchvision://resnet34",
        "model.image_encoder.image_pretrained test_evaluator.training.image_pretrained",
    ),
    "sweeps": (
        3,
        "train_dataloader.dataset.pipeline.0.sweeps test_dataloader.dataset.pipeline.0.sweeps",
    ),
    "weak_frames": (
        [4, 2],
        "train_dataloader.dataset.weak_frames test_dataloader.dataset.weak_frames",
    ),
    "weak_min_hits": (2, "train_dataloader.dataset.pipeline.6.min_hits"),
    "weak_see_through": (3.0, "train_dataloader.dataset.pipeline.6.see_through"),
    "weak_sky": (True, "train_dataloader.dataset.pipeline.6.sky"),
    "train_mask": (
        None,
        "model.train_mask default_hooks.warm_start.train_mask test_evaluator.training.train_mask",
    ),
    "outside": ("free", "model.outside test_evaluator.training.outside"),
    "unknown": ("ignore", "model.unknown test_evaluator.training.unknown"),
    "unknown_weight": (0.7, "model.unknown_weight test_evaluator.training.unknown_weight"),
    "weight_2d": (
        0.6,
        "model.pulsar_head.weight_2d train_dataloader.dataset.pipeline.3.weight_2d",
    ),
    "shader_weight": (
        0.2,
        "model.pulsar_head.shader_weight train_dataloader.dataset.pipeline.3.shader_weight",
    ),
    "tied_weight": (
        0.1,
        "model.pulsar_head.tied_weight train_dataloader.dataset.pipeline.3.tied_weight",
    ),
    "warm_shader": (
        False,
        "model.pulsar_head.warm_shader train_dataloader.dataset.pipeline.3.warm_shader",
    ),
    "depth_weight": (0.6, "model.pulsar_head.depth_weight"),
    "lift_weight": (
        0.3,
        "model.lift_weight train_dataloader.dataset.pipeline.3.lift_weight "
        "train_dataloader.dataset.pipeline.4.lift_weight",
    ),
    "vote_weight": (0.4, "model.vote_weight train_dataloader.dataset.pipeline.7.vote_weight"),
    "renderer": ("voxels", "model.pulsar_head.renderer"),
    "render_stride": (
        4,
        "model.pulsar_head.render_stride train_dataloader.dataset.pipeline.5.render_stride",
    ),
    "max_epochs": (
        7,
        "train_cfg.max_epochs train_cfg.val_interval param_scheduler.0.T_max param_scheduler.0.end",
    ),
    "batch_size": (5, "train_dataloader.batch_size train_dataloader.sampler.batch_size"),
    "image_size": (
        [64, 96],
        "train_dataloader.dataset.pipeline.9.image_size "
        "test_dataloader.dataset.pipeline.3.image_size",
    ),
    "num_workers": (
        3,
        "train_dataloader.num_workers val_dataloader.num_workers test_dataloader.num_workers",
    ),
    "taxonomy": (
        Taxonomy.of(
            {
                "classes": ["bicycle", "motorcycle"],
                "colours": {"bicycle": "#010203", "motorcycle": "#040506"},
            }
        ).meaning(),
        "train_dataloader.dataset.taxonomy val_dataloader.dataset.taxonomy "
        "test_dataloader.dataset.taxonomy "
        "model.semantic_head.taxonomy model.pulsar_head.taxonomy "
        "val_evaluator.taxonomy test_evaluator.taxonomy",
    ),
    "class_groups": (
        {"rider": ["bicycle", "motorcycle"]},
        "model.semantic_head.class_groups model.pulsar_head.class_groups "
        "val_evaluator.class_groups test_evaluator.class_groups",
    ),
    "lr": (0.5, "optim_wrapper.optimizer.lr"),
}


def at(node, trail):
    for key in trail.split("."):
        node = node[int(key)] if key.isdigit() else node[key]
    return node


def test_every_knob_has_its_destinations():
    # The range has one possible value: that of the labels and of every metric. Images are left
    # unread by networks alone that have no use for them.
    assert set(DESTINATIONS) == set(KNOBS) - {"point_cloud_range", "read_images"}


def test_images_are_read_or_nobody_looks_at_them():
    cfg = load_config(HEADLINE.with_name("minkocc_semi_a10_lidar.py"))
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        (step,) = (s for s in cfg[loader].dataset.pipeline if s.type == "LoadImages")
        assert step.read_images is False
    with pytest.raises(ConfigError, match=r"model\.image_encoder would see black images"):
        load_config(MINI, {"read_images": False})
    with pytest.raises(
        ConfigError, match=r"image_pretrained 'x\.pth', and model\.image_encoder is"
    ):
        load_config(MINI, {"image_pretrained": "x.pth", "model.image_encoder": None})


def test_a_2d_term_needs_its_head():
    with pytest.raises(ConfigError, match=r"weight_2d 4\.0, and model\.pulsar_head is None"):
        load_config(MINI, {"model.pulsar_head": None})


@pytest.mark.parametrize("way", ["child config", "cfg options"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_knob_of_every_recipe_arrives_both_ways(tmp_path, path, way):
    own = RECIPES[path.stem.removesuffix("_mini")]
    gone = [part for part, set_to in own.items() if set_to is None and part not in KNOBS]
    # A recipe that does without a part fixes the knobs of it.
    moved = {k: v for k, v in DESTINATIONS.items() if not (gone and k in own)}
    values = {knob: value for knob, (value, _) in moved.items()}
    if way == "cfg options":
        cfg = load_config(path, values)
    else:
        # mmengine adds to a base's dict, or is told to put another in its place.
        written = {
            k: {**v, "_delete_": True} if isinstance(v, dict) else v for k, v in values.items()
        }
        lines = [f"{knob} = {value!r}" for knob, value in written.items()]
        cfg = load_config(write(tmp_path, "\n".join(lines), base=path))
    for knob, (value, destinations) in moved.items():
        assert cfg[knob] == value
        for place in destinations.split():
            if any(place.startswith(f"{part}.") for part in gone):
                continue  # a part that this recipe does without
            assert at(cfg, place) == value, f"{knob} at {place}"


def test_groups_of_an_option_take_the_place_of_the_recipes(tmp_path):
    child = write(tmp_path, "class_groups = dict(rider=['bicycle', 'motorcycle'])", base=MINI)
    other = {"vehicle": ["car", "truck"]}
    assert load_config(child, {"class_groups": other}).class_groups == other
    plain = load_config(child, {"class_groups": {}})
    assert plain.class_groups == plain.model.semantic_head.class_groups == {}


@pytest.mark.parametrize("name", ["data_root", "cache_root", "pseudo_labels", "image_pretrained"])
def test_the_home_folder_is_written_as_in_a_shell(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    cfg = load_config(HEADLINE, {name: "~/some"})
    assert cfg[name] == str(tmp_path / "some")
    assert "~" not in cfg.pretty_text
    assert recipe_of(HEADLINE, {name: "~/some"})[name] == "~/some"


def test_a_home_that_is_nobodys_is_told():
    with pytest.raises(ConfigError, match=r"data_root '~nobody-here/data'.*no such user"):
        load_config(HEADLINE, {"data_root": "~nobody-here/data"})


def test_data_may_lie_beside_the_recipe(tmp_path):
    for name in ("child", "grandchild"):
        (tmp_path / name).mkdir()
    child = tmp_path / "child" / "mine.py"
    child.write_text(f"_base_ = [{str(HEADLINE)!r}]\ndata_root = '{{{{ fileDirname }}}}/data'\n")
    assert load_config(child).train_dataloader.dataset.data_root == f"{tmp_path}/child/data"
    grandchild = tmp_path / "grandchild" / "other.py"
    grandchild.write_text("_base_ = ['../child/mine.py']\n")
    assert load_config(grandchild).data_root == f"{tmp_path}/child/data"


def test_the_recipe_with_references_serves_for_another_run(tmp_path):
    """What a work dir keeps: the same run, and, with one knob changed, a consistent other one."""
    options = {"alpha": 0.2, "model.genunet.max_voxels": 777}
    kept = tmp_path / "recipe.py"
    kept.write_text(recipe_of(MINI, options).pretty_text)
    assert "${alpha}" in kept.read_text()
    assert load_config(kept).to_dict() == load_config(MINI, options).to_dict()
    other = load_config(kept, {"alpha": 0.5})
    assert other.train_dataloader.sampler.alpha == other.default_hooks.warm_start.alpha == 0.5
    assert other.model.genunet.max_voxels == 777


def write(folder, text, base=MINI):
    path = folder / "child.py"
    path.write_text(f"_base_ = [{str(base)!r}]\n{text}\n")
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
    with pytest.raises(ConfigError, match=r"known knobs: alpha, warm_share, replay, voxel_size"):
        load_config(MINI, {"zzzzzz": 1})


def test_reference_without_a_knob_is_refused(tmp_path):
    path = write(tmp_path, "model = dict(lambda_1='${lambda}')")
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
    assert (
        model.voxel_encoder.grid == model.grid == VoxelGrid(cfg.point_cloud_range, cfg.voxel_size)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.7}, r"alpha 1\.7 is not a share"),
        ({"alpha": -0.1}, r"alpha -0\.1"),
        ({"voxel_size": 0.3}, r"voxel_size 0\.3 does not divide the labels' 0\.4"),
        ({"voxel_size": 0.8}, r"voxel_size 0\.8"),
        ({"voxel_size": 0}, r"voxel_size 0"),
        ({"point_cloud_range": [0, 0, 0, 1, 1]}, "point_cloud_range"),
        ({"point_cloud_range": [-20, -20, -1, 20, 20, 5.4]}, "grids cover different ranges"),
        ({"train_mask": "lidar"}, "train_mask 'lidar' is not 'camera' or None"),
        ({"outside": "empty"}, "outside 'empty' is not 'label', 'free' or 'ignore'"),
        ({"unknown": "occupied"}, "unknown 'occupied' is not 'free' or 'ignore'"),
        ({"unknown_weight": 0}, "unknown_weight 0 is not a weight in"),
        ({"unknown_weight": 2}, "unknown_weight 2 is not a weight in"),
        ({"alpha": "much"}, "alpha 'much' is not a share"),
        ({"seed": -1}, "seed -1 is not a whole number"),
        ({"batch_size": 0}, "batch_size 0 is not a whole number from 1"),
        ({"max_epochs": 1.5}, r"max_epochs 1\.5"),
        ({"weak_frames": [8]}, r"weak_frames \[8\] is not two whole numbers"),
        ({"image_size": 256}, "image_size 256"),
        ({"lr": 0}, "lr 0 is not a number above 0"),
        ({"lr": float("inf")}, "lr inf is not a number above 0"),
        ({"lr": float("nan")}, "lr nan is not a number above 0"),
        ({"alpha": float("nan")}, "alpha nan is not a share"),
        ({"voxel_size": float("inf")}, "voxel_size inf is not a number of metres"),
        ({"weight_2d": float("inf")}, "weight_2d inf is not a weight"),
        ({"model.lambda_1": float("nan")}, r"model\.lambda_1 = nan is no number"),
        ({"param_scheduler.0.eta_min": float("nan")}, r"param_scheduler\.0\.eta_min = nan"),
        ({"weight_2d": float("nan")}, "weight_2d nan is not a weight"),
        ({"lift_weight": float("inf")}, "lift_weight inf is not a weight"),
        ({"sweeps": 100}, "sweeps 100 is not a whole number from 0 to 10, which is what infos"),
        ({"paths_leave_root": "yes"}, "paths_leave_root 'yes' is not True or False"),
        ({"cache_by_content": 1}, "cache_by_content 1 is not True or False"),
        ({"data_root": None}, "data_root None"),
        ({"class_groups": ["car", "bus"]}, r"class_groups \['car', 'bus'\] is not classes by"),
        ({"class_groups": {"a": ["lorry"]}}, "unknown class 'lorry': expected one of others"),
        ({"class_groups": {"a": ["car"], "b": ["car"]}}, "'car' is in 'a' and in 'b'"),
        ({"class_groups": {"car": ["bus"]}}, "'car' is the name of a class"),
    ],
)
def test_impossible_knobs_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        load_config(MINI, options)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"train_cfg.val_interval": 0}, "val_interval 0"),
        ({"train_cfg.val_interval": -1}, "val_interval -1"),
        ({"train_cfg.val_interval": 1.5}, r"val_interval 1\.5"),
        ({"train_cfg.val_interval": None}, "val_interval None"),
        ({"train_cfg.dynamic_intervals": [(2, 1), (5, 0)]}, r"dynamic_intervals\.1 0"),
    ],
)
def test_validation_every_so_often_is_checked_before_an_epoch_is_trained(options, place):
    with pytest.raises(ConfigError, match=rf"train_cfg\.{place} is not a whole number of epochs"):
        load_config(MINI, options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model.genunet.max_voxel": 9}, "genunet: MinkGenUNet takes no 'max_voxel'.*'max_voxels'"),
        ({"model.genunet.type": "MinkGenUnet"}, "genunet: there is no model .*'MinkGenUNet'"),
        (
            {"model.image_encoder.backbone.type": "mmdet.ResNt"},
            r"backbone: there is no model 'mmdet\.ResNt'.*'mmdet\.ResNet'",
        ),
        ({"model.image_encoder.backbone.dept": 18}, r"mmdet\.ResNet takes no 'dept'.*'depth'"),
        (
            {"train_dataloader.dataset.pipeline.8.fip": 0.5},
            r"pipeline\.8: AugmentScene takes no 'fip'.*'flip'",
        ),
        ({"train_dataloader.dataset.ann_fil": "x"}, "dataset: Occ3DNuScenesDataset .*'ann_file'"),
        ({"train_dataloader.pin_memry": True}, "train_dataloader takes no .*'pin_memory'"),
        ({"default_hooks.logger.intervall": 3}, "LoggerHook takes no 'intervall'.*'interval'"),
        ({"default_hooks.checkpoint.intervall": 2}, "SafeCheckpointHook takes no .*'interval'"),
        ({"default_hooks.checkpoint.max_keep_ckpt": 2}, "takes no .*'max_keep_ckpts'"),
        ({"param_scheduler.0.T_maxx": 2}, "CosineAnnealingLR takes no 'T_maxx'.*'T_max'"),
        (
            {"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.accumulative_count": 2},
            "AmpOptimWrapper takes no .*'accumulative_counts'",
        ),
        ({"train_pipeline": []}, "'train_pipeline'.*ends with `del train_pipeline`"),
        ({"train_cfg.val_intervall": 3}, "ResumableTrainLoop takes no .*'val_interval'"),
        ({"optim_wrapper.optimizer.lrr": 3}, "Adam takes no 'lrr'.*'lr'"),
        ({"test_evaluator.protocol": "x"}, "OccupancyMetric takes no 'protocol'.*'protocols'"),
        ({"custom_hooks": [{"type": "EMAHok"}]}, r"custom_hooks\.0: there is no hook .*'EMAHook'"),
    ],
)
def test_unknown_components_and_keywords_are_refused_with_the_nearest(options, words):
    with pytest.raises(ConfigError, match=words):
        load_config(MINI, options)


@pytest.mark.parametrize(
    "options",
    [
        {"model.image_encoder.backbone.norm_cfg": {"type": "BN", "requires_grad": True}},
        {"custom_hooks": [{"type": "EMAHook", "momentum": 0.1, "priority": "LOW"}]},
        {"test_evaluator": [{"type": "OccupancyMetric", "protocols": ["selfsup15"]}]},
        {
            "test_evaluator": {"type": "Evaluator", "metrics": [{"type": "OccupancyMetric"}]},
        },
        {"train_dataloader.dataset.pipeline": [{"type": "mmdet3d.LoadPointsFromFile",
                                                "coord_type": "LIDAR"}]},
        {"model.image_encoder.neck": {"_delete_": True, "type": "mmdet.FocalLoss", "alpha": 0.25}},
        {"train_dataloader.collate_fn": {"type": "pseudo_collate"}},
        {"model.genunet.backend": {"type": "mmdet.AnchorGenerator", "strides": [8]}},
        {"default_hooks.checkpoint": {"type": "CheckpointHook", "interval": 2}},
        {"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.loss_scale": 512.0},
        {"optim_wrapper": {"type": "OptimWrapper", "constructor": "DefaultOptimWrapperConstructor",
                           "optimizer": {"type": "SGD", "lr": "${lr}", "momentum": 0.9},
                           "paramwise_cfg": {"norm_decay_mult": 0.0}}},
        {"optim_wrapper.clip_grad": {"max_norm": 1.0}, "optim_wrapper.accumulative_counts": 2},
        {"optim_wrapper.clip_grad": {"max_norm": float("inf")}},
        {"param_scheduler": [{"type": "LinearLR", "start_factor": 0.1, "end": 5}]},
        {"train_cfg.dynamic_intervals": [(2, 1)]},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_what_mmengine_takes_is_not_refused(options):
    load_config(MINI, options)


def test_names_that_mmdet3d_users_write_give_our_hook_and_loop():
    """Their own would write checkpoints that are refused, and resume inexactly."""
    assert HOOKS.get("CheckpointHook") is HOOKS.get("SafeCheckpointHook") is SafeCheckpointHook
    assert LOOPS.get("EpochBasedTrainLoop") is LOOPS.get("ResumableTrainLoop")


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.py is not a file"):
        load_config(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("alpha = = 1\n")
    with pytest.raises(ConfigError, match=r"broken\.py cannot be read"):
        load_config(tmp_path / "broken.py")
    (tmp_path / "unknown.py").write_text("alpha = lapha\n")
    with pytest.raises(ConfigError, match=r"unknown\.py cannot be read: NameError: .*lapha"):
        load_config(tmp_path / "unknown.py")
    with pytest.raises(ConfigError, match=r"option model\.genunet\.blocks\.x=1 does not fit"):
        load_config(MINI, {"model.genunet.blocks.x": 1})


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


@pytest.mark.parametrize("path", [HEADLINE, MINI], ids=lambda path: path.stem)
def test_the_learning_rate_is_that_of_the_batch_it_is_scaled_from(path):
    cfg = load_config(path)
    assert cfg.auto_scale_lr == {"enable": False, "base_batch_size": cfg.batch_size}
