"""What the whole suite shares: one thread a process, and a small synthetic world."""

import os

# Two OpenMP teams on two cores spin against each other; and MinkowskiEngine's CPU convolution is
# bit-exact with one thread only. The tools that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

from minkocc.datasets.infos import create_infos
from minkocc.synthetic.writer import Settings, write_dataset

torch.set_num_threads(1)

# The same examples in every run; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

WORLD = Settings(train_scenes=3, val_scenes=1, keyframes=2, seed=0, image_size=(192, 108))


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    """A nuScenes root of four scenes with infos; tests that change files use ``linked_root``."""
    root = tmp_path_factory.mktemp("world") / "synthetic"
    write_dataset(root, WORLD, workers=1)
    create_infos(root, "v1.0-synthetic")
    return root


@pytest.fixture
def linked_root(synthetic_root, tmp_path):
    """The same world by links: replace a link by a file and nothing else changes."""
    root = tmp_path / "root"
    for path in sorted(synthetic_root.rglob("*")):
        copy = root / path.relative_to(synthetic_root)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif copy.parts[len(root.parts)] not in ("weak_occupancy", "label_budget"):
            copy.symlink_to(path)
    return root
