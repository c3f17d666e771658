import pytest
from PIL import Image

from minkocc.apis.browse_dataset import browse_dataset
from minkocc.config import load_config
from minkocc.structures.phase import Phase
from tests.unit.config.test_load import MINI


@pytest.mark.parametrize(("phase", "frames"), [(Phase.WARM, 2), (Phase.WEAK, 3)])
def test_a_picture_for_each_frame_of_the_phase(synthetic_root, tmp_path, phase, frames):
    options = {"data_root": str(synthetic_root), "cache_root": str(tmp_path / "cache")}
    cfg = load_config(MINI, {**options, "image_size": [48, 88], "vote_weight": 1.0})
    paths = browse_dataset(cfg, tmp_path / "look", 3, phase)
    assert len(paths) == len(set(paths)) == frames  # two frames are labelled
    for path in paths:
        with Image.open(path) as image:
            assert image.size[0] == 1800


def test_without_labels_there_is_nothing_to_draw(synthetic_root, tmp_path):
    cfg = load_config(MINI, {"data_root": str(synthetic_root), "alpha": 0.0})
    assert browse_dataset(cfg, tmp_path, 3, Phase.WARM) == []
