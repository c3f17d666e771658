import shutil
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

from minkocc.apis.prepare_weak_occupancy import prepare_weak_occupancy
from minkocc.config import ConfigError, load_config
from minkocc.registry import DATASETS
from minkocc.structures.phase import Phase, TrainIndex

MINI = Path(__file__).parents[3] / "configs" / "minkocc_semi_a10_mini.py"


def recipe(root, cache, **more):
    options = {"data_root": str(root), "cache_root": str(cache), "image_size": [48, 88], **more}
    return load_config(MINI, options)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.npz")}


@pytest.fixture(scope="module")
def prepared(synthetic_root, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    assert prepare_weak_occupancy(recipe(synthetic_root, cache))[:2] == (6, 6)
    return cache


def test_what_is_prepared_is_what_training_computes(synthetic_root, prepared, tmp_path):
    init_default_scope("minkocc")
    dataset = DATASETS.build(recipe(synthetic_root, tmp_path).train_dataloader.dataset)
    for index in range(len(dataset)):
        dataset[TrainIndex(index, 0, Phase.WEAK)]
    assert files(tmp_path) == files(prepared)
    assert len(files(prepared)) == 6


def test_what_is_there_stays(synthetic_root, prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "cache")
    first, *_ = sorted((tmp_path / "cache").rglob("*.npz"))
    first.unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    assert prepare_weak_occupancy(recipe(synthetic_root, tmp_path / "cache"))[:2] == (6, 1)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert files(tmp_path / "cache") == files(prepared)


def test_a_recipe_without_weak_occupancy_has_nothing_to_prepare(synthetic_root, tmp_path):
    cfg = recipe(synthetic_root, tmp_path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [s for s in pipeline if s.type != "LoadWeakOccupancy"]
    with pytest.raises(ConfigError, match="there is nothing to prepare"):
        prepare_weak_occupancy(cfg)
