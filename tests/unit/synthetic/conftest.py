"""One tiny data set, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from nuscenes.nuscenes import NuScenes

from minkocc.synthetic.tables import VERSION
from minkocc.synthetic.writer import Settings, write_dataset

TINY = Settings(
    train_scenes=1, val_scenes=1, keyframes=2, seed=3, image_size=(320, 180),
    clean_pseudo_labels=True,
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> Settings:
    """What the tiny data set holds."""
    return TINY


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of two scenes of two keyframes with clean pseudo-labels, written by one process."""
    root = tmp_path_factory.mktemp("synthetic") / "one"
    write_dataset(root, TINY, workers=1)
    return root


@pytest.fixture(scope="session")
def nusc(tiny_root: Path) -> NuScenes:
    """The tiny data set, loaded by nuscenes-devkit."""
    return NuScenes(version=VERSION, dataroot=str(tiny_root), verbose=False)
