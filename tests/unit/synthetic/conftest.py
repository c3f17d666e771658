"""The tiny data set as nuscenes-devkit sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from nuscenes.nuscenes import NuScenes

from minkocc.synthetic.writing.tables import VERSION


@pytest.fixture(scope="session")
def nusc(tiny_root: Path) -> NuScenes:
    """The tiny data set, loaded by nuscenes-devkit."""
    return NuScenes(version=VERSION, dataroot=str(tiny_root), verbose=False)
